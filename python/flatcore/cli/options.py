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
    metavar="URL",
    help="Calibration database, such as postgresql+psycopg://user@host/name; also by FLATCORE_DATABASE. "
    "By default SQLite in <data root>/calib.",
)
