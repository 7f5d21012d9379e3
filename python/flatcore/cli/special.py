"""Options of ``flatcore run`` that do something else than run, or change how its arguments are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from flatcore.session import SessionResult

_Command = TypeVar("_Command", bound=Callable[..., Any])


def arrange(command: click.RichCommand, panels: Mapping[str, Collection[str]]) -> None:
    """Group a command's options in its help; panels come in their order."""
    titles = {name: title for title, names in panels.items() for name in names}
    for title in panels:
        click.option_panel(title)(command)
    for parameter in command.params:
        if isinstance(parameter, click.RichOption) and parameter.opts[0] in titles:
            parameter.panel = titles[parameter.opts[0]]


def hide(command: click.Command, advanced: Collection[str]) -> None:
    """Leave advanced options out of the usual help; ``--xhelp`` shows them."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name in advanced:
            parameter.hidden = True


def _print_all_help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        for parameter in ctx.command.params:
            if isinstance(parameter, click.Option):
                parameter.hidden = False
        click.echo(ctx.get_help())
        ctx.exit()


xhelp_option = click.option(
    "--xhelp", is_flag=True, is_eager=True, expose_value=False, callback=_print_all_help,
    help="Show all options, the advanced ones too, and exit.",
)  # fmt: skip


def _print_info(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        names = (option.opts[0] for option in ctx.command.params if isinstance(option, click.Option))
        click.echo(f"Usage: {ctx.command_path} {' '.join(ctx.command.collect_usage_pieces(ctx))}")
        click.echo(ctx.command.get_short_help_str(200))
        click.echo("Options: " + " ".join(sorted(names)))
        ctx.exit()


info_option = click.option(
    "--info", is_flag=True, is_eager=True, expose_value=False, callback=_print_info,
    help="Show usage and the options' names, and exit.",
)  # fmt: skip


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from flatcore.version import VERSION, VERSION_DATE  # noqa: PLC0415 - keeps help instant

        click.echo(f"flatcore run {VERSION} ({VERSION_DATE})")
        ctx.exit()


version_option = click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip


def _read_run_file(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value and not ctx.resilient_parsing:
        from flatcore.cli.runfile import defaults_from  # noqa: PLC0415 - keeps help instant

        ctx.default_map = {**(ctx.default_map or {}), **defaults_from(value, ctx.command)}


run_file_option = click.option(
    "--crunfile", metavar="FILE", is_eager=True, expose_value=False, callback=_read_run_file,
    help="Run file with defaults for these options: TOML, or INI with a [run] section.",
)  # fmt: skip


def interact(outcome: SessionResult) -> None:
    """End in IPython, or pdb where it is not installed, with the result in scope as ``result``."""
    result = outcome.night
    try:
        from IPython import embed  # noqa: PLC0415 - optional
    except ImportError:
        import bdb  # noqa: PLC0415 - what the option is for
        import pdb  # noqa: PLC0415

        click.echo(f"result is the night {result.obs_dir if result else 'that was skipped'}; q leaves", err=True)
        # To leave it is no error.
        with contextlib.suppress(bdb.BdbQuit):
            pdb.set_trace()
    else:
        embed(user_ns={"result": result, "outcome": outcome}, colors="neutral")
