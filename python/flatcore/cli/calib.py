"""`flatcore calib`: add to, list and look into the calibration database."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord

_EXAMPLES = """\b
Examples:
  flatcore calib add night/*_ref.fits --data-root data
  flatcore calib list --data-root data
  flatcore calib show LOC --data-root data
"""
_ADD_EXAMPLES = """\b
Keys, one file for all fibres: DARKREF BADPIX BKGRDMAP SHAPEX SHAPEY SHAPEL
Keys, one file per fibre:      LOC ORDER_PROFILE FLAT BLAZE

\b
Examples:
  flatcore calib add night/*.fits --data-root data
  flatcore calib add trace.fits --key LOC --fiber AB --ref --data-root data
"""
_LIST_EXAMPLES = """\b
Examples:
  flatcore calib list --data-root data
  flatcore calib list --key LOC --fiber AB --json --data-root data
"""
_SHOW_EXAMPLES = """\b
State of the file in calib, which is read for it:
  intact   it has the bytes that were added
  changed  it has others
  missing  it is gone

\b
Examples:
  flatcore calib show 2490101_pp_loco_AB.fits --data-root data
  flatcore calib show LOC --json --data-root data
"""

_Command = TypeVar("_Command", bound=Callable[..., Any])

# Wider than any table: what is piped to a file or a program is never folded.
_PIPED_WIDTH = 10_000


class _Database(click.Path):
    """A data root, as its calibration database."""

    name = "directory"

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from flatcore.caldb import CalibrationDatabase  # noqa: PLC0415 - keeps help instant

        return CalibrationDatabase.open(Path(str(super().convert(value, param, ctx))))


def _data_root(function: _Command) -> _Command:
    return click.option(
        "--data-root",
        "database",
        type=_Database(),
        envvar="FLATCORE_DATA",
        show_envvar=True,
        required=True,
        help="Folder that holds calib.",
    )(function)


@click.group("calib", epilog=_EXAMPLES)
def command() -> None:
    """Add to, list and look into the calibration database.

    It lies in calib/flatcore.db of the data root, beside the files.
    """


@command.command("add", short_help="Copy calibration files into the database.", epilog=_ADD_EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", help="What the files are, in place of their headers' KEYNAME or DRSOUTID.")
@click.option("--fiber", help="The fibre they are of, in place of their headers' FIBER.")
@click.option("--ref", "reference", is_flag=True, help="Record as reference: never too old to be chosen.")
@click.option("--replace", is_flag=True, help="Replace different files of the same names.")
@_data_root
def add(
    *,
    files: tuple[Path, ...],
    key: str | None,
    fiber: str | None,
    reference: bool,
    replace: bool,
    database: CalibrationDatabase,
) -> None:
    """Copy calibration files into the database: all of them or, on any error, none."""
    added = database.add_files(files, keyname=key, fiber=fiber, reference=reference, replace=replace)
    _print_table(added)
    click.echo(f"added {_count(added)} to {database.name}")


@command.command("list", epilog=_LIST_EXAMPLES)
@click.option("--key", help="Only this key.")
@click.option("--fiber", help="Only this fibre.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_data_root
def list_(key: str | None, fiber: str | None, as_json: bool, database: CalibrationDatabase) -> None:
    """List the calibrations by key, fibre and time."""
    from flatcore.caldb.keys import known_key  # noqa: PLC0415 - keeps help instant

    records = database.records(None if key is None else known_key(key), fiber)
    if as_json:
        _print_json(database, map(dataclasses.asdict, records))
        return
    if records:
        _print_table(records)
    click.echo(f"{_count(records)} in {database.name}")


@command.command("show", short_help="Show all that is known of a file, or of all with one key.", epilog=_SHOW_EXAMPLES)
@click.argument("name", metavar="FILENAME|KEY")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_data_root
def show(name: str, as_json: bool, database: CalibrationDatabase) -> None:
    """Show all that is known of a calibration file, or of all with one key."""
    descriptions = [_described(database, record) for record in _matching(database, name)]
    if as_json:
        _print_json(database, descriptions)
    else:
        _print_descriptions(descriptions)


def _matching(database: CalibrationDatabase, name: str) -> list[CalibrationRecord]:
    """Find the records of a file name, or else of a key."""
    from flatcore.caldb.keys import same_key  # noqa: PLC0415 - keeps help instant
    from flatcore.errors import CalibrationError  # noqa: PLC0415 - keeps help instant

    records = database.records()
    found = [record for record in records if record.filename == Path(name).name]
    found = found or [record for record in records if record.keyname == same_key(name)]
    if not found:
        names = sorted({record.filename for record in records} | {record.keyname for record in records})
        close = difflib.get_close_matches(name, names, 1) or difflib.get_close_matches(name.upper(), names, 1)
        hint = f"did you mean {close[0]}?" if close else "see: flatcore calib list"
        raise CalibrationError(f"{database.name}: has no file and no key named {name}; {hint}")
    return found


def _described(database: CalibrationDatabase, record: CalibrationRecord) -> dict[str, Any]:
    return dataclasses.asdict(record) | {
        "path": str(database.store / record.filename),
        "state": database.state_of(record),
    }


def _count(records: Sequence[object]) -> str:
    return f"{len(records)} calibration{'' if len(records) == 1 else 's'}"


def _print_json(database: CalibrationDatabase, calibrations: Iterable[dict[str, Any]]) -> None:
    click.echo(json.dumps({"database": database.name, "calibrations": list(calibrations)}, indent=2))


def _print_table(records: Sequence[CalibrationRecord]) -> None:
    from rich import box  # noqa: PLC0415 - keeps help instant
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("key", "fibre", "time (UTC)"):
        table.add_column(heading, no_wrap=True)
    # Only names fold, and only where the terminal is too narrow for them.
    table.add_column("file", overflow="fold")
    marks = [_mark(record) for record in records]
    if any(marks):
        table.add_column("", no_wrap=True)
    for record, mark in zip(records, marks, strict=True):
        time = record.humantime.replace("T", " ")[: len("2020-08-31 16:48:30")]
        _add_row(table, record.keyname, record.fiber or "-", time, record.filename, *([mark] if any(marks) else []))
    _print_rich(table)


def _print_descriptions(descriptions: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - keeps help instant

    for number, known in enumerate(descriptions):
        if number:
            click.echo()
        click.echo(f"{known['keyname']} {known['fiber']}".rstrip())
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        _add_row(table, "  file", known["path"])
        _add_row(table, "  state", known["state"])
        _add_row(table, "  time", f"{known['humantime']} UTC ({known['unixtime']:.3f} s)")
        _add_row(table, "  reference", _yes(known["reference"]))
        _add_row(table, "  used", _yes(known["used"]))
        _add_row(table, "  added", f"{known['pdate']} UTC")
        _add_row(table, "  run", known["pid"] or "-")
        _add_row(table, "  sha256", known["sha256"])
        _print_rich(table)


def _mark(record: CalibrationRecord) -> str:
    return "unused" if not record.used else "ref" if record.reference else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _add_row(table: Any, *cells: str) -> None:
    """Add cells as plain text: brackets in file names are not markup."""
    from rich.text import Text  # noqa: PLC0415 - keeps help instant

    table.add_row(*(Text(cell) for cell in cells))


def _print_rich(table: Any) -> None:
    from rich.console import Console  # noqa: PLC0415 - keeps help instant

    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    with console.capture() as printed:
        console.print(table)
    # Tables pad their last column; lines that end where their text ends are better to pipe and to copy.
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
