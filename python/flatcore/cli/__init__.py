"""The command line: parsing, printing and exit status; no science.

Commands live one per module and are imported only when asked for, so that help is instant; their own help is grouped
by rich-click, which the list of commands does without.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import traceback

import click
from click.exceptions import Exit

from flatcore.tuning import settle_process

# Name, module that holds `command`, and the line shown by `flatcore --help`.
COMMANDS = {
    "init": "Draft an instrument profile from FITS files never seen before.",
    "run": "Make flat, blaze and extracted products from a night's lamp flats.",
    "bootstrap": "Make all calibrations of a night from its frames alone.",
    "darkref": "Make the dark reference of a night.",
    "badpix": "Make the map of bad pixels.",
    "unlit": "Make the map of unlit pixels, on which the background is measured.",
    "locate": "Find and trace the orders in the flats alone.",
    "orderprofile": "Make the profiles of the orders across the dispersion.",
    "shape": "Make the maps that straighten the orders.",
    "process": "Run every night that is new or has changed, on one machine or a cluster.",
    "watch": "Follow a data root, and run every night once when its flats are complete.",
    "calib": "Add to, look into and keep in order the calibration database.",
    "runs": "List past runs, and show what went into one and came out of it.",
    "report": "Write a page that explains a run, or an index of all runs with trends.",
    "simulate": "Write a simulated night with known truth.",
}

# Modules that go by another name than their command.
MODULES = {"report": "pages"}


class LazyCommands(click.Group):
    """A group that knows its commands' names and one-line help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and give the command."""
        if cmd_name not in COMMANDS:
            return None
        settle_process()
        command: click.Command = importlib.import_module(f"flatcore.cli.{MODULES.get(cmd_name, cmd_name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - keeps help instant

        click.echo(f"flatcore {version('flatcore')}")
        ctx.exit()


@click.command(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: flatcore simulate demo && flatcore run 2020-08-31 --data-root demo",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
def cli() -> None:
    """Flat field and blaze of fibre-fed échelle spectrographs."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its status: 0 done, 1 internal error, 2 usage, 3 input, 4 failed QC."""
    status = _status(args)
    if args is None:
        # The process ends: to look through hundreds of thousands of objects for garbage once more would only take time.
        gc.freeze()
    sys.exit(status)


def _status(args: list[str] | None) -> int:
    from flatcore.errors import FlatcoreError  # noqa: PLC0415 - keeps help instant

    try:
        result = cli.main(args, prog_name="flatcore", standalone_mode=False)
    except Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except FlatcoreError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_status
    except (KeyboardInterrupt, click.Abort) as interrupt:
        # click hands a signal on as the cause of its own exception.
        cause = interrupt.__cause__ or interrupt
        click.echo(": ".join(["interrupted", *getattr(cause, "__notes__", ())]), err=True)
        return 128 + int(getattr(cause, "number", signal.SIGINT))
    except Exception:
        traceback.print_exc()
        click.echo("error: internal error; please report the lines above", err=True)
        return 1
    return result if isinstance(result, int) else 0
