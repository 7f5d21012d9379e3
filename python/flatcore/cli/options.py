"""Options that several commands share."""

from __future__ import annotations

import rich_click as click

data_root_option = click.option(
    "--data-root",
    envvar="FLATCORE_DATA",
    required=True,
    metavar="DIR",
    help="Folder that holds tmp/, calib/ and red/; also by the environment variable FLATCORE_DATA.",
)

database_url_option = click.option(
    "--database-url",
    envvar="FLATCORE_DATABASE",
    show_envvar=True,
    metavar="URL",
    help="Database, such as postgresql://user@host/name; by default SQLite, calib/flatcore.db of the data root.",
)
