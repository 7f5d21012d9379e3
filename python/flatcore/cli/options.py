"""Options that several commands share."""

from __future__ import annotations

import os
from typing import Any

import rich_click as click
from click.core import ParameterSource


class LocalFolder(click.Path):
    """A folder of this machine; a URL is refused before its slashes are taken for those of a path.

    Parameters
    ----------
    hint
        What to say to who has given a URL.
    **checks
        As of :class:`click.Path`.
    """

    def __init__(self, hint: str = "flatcore process reads from an object storage", **checks: Any) -> None:
        super().__init__(**{"readable": False} | checks)
        self._hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Give the path.

        Raises
        ------
        UsageError
            It is a URL.
        """
        text = os.fspath(value)
        if "://" in text:
            from flatcore.errors import UsageError  # noqa: PLC0415 - keeps help instant

            such_as = f", such as {text.removeprefix('file://')}" if text.startswith("file:///") else ""
            words = f"{_given(param, ctx)}{text}: {_needing(ctx)} a local folder{such_as}, and found a URL"
            raise UsageError(f"{words}; {self._hint}" if self._hint else words)
        return super().convert(value, param, ctx)


def _given(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Name what a value was given by: the environment, the option, or the argument."""
    if param is None:
        return ""
    if ctx is not None and ctx.get_parameter_source(str(param.name)) == ParameterSource.ENVIRONMENT:
        return f"{param.envvar}="
    return f"{param.opts[0] if isinstance(param, click.Option) else param.human_readable_name} "


def _needing(ctx: click.Context | None) -> str:
    return "expected" if ctx is None else f"{ctx.command_path} needs"


data_root_option = click.option(
    "--data-root",
    type=LocalFolder(),
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

in_dir_option = click.option(
    "--force_indir",
    type=LocalFolder(),
    metavar="DIR",
    help="Folder of the observation directories, in place of tmp.",
)

out_dir_option = click.option(
    "--force_outdir",
    type=LocalFolder(),
    metavar="DIR",
    help="Folder of the products' directories, in place of red.",
)
