"""`flatcore calib`: the calibration database and its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from flatcore.cli.calib_import import import_
from flatcore.cli.calib_select import select
from flatcore.cli.calib_upkeep import remove, verify
from flatcore.cli.database import count, json_option, matching, on_calibrations, print_calibrations, print_json
from flatcore.cli.helpful import Group

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord

_EXAMPLES = """\b
Examples:
  flatcore calib add night/*_ref.fits --data-root data
  flatcore calib list --data-root data
  flatcore calib select night/2510100f_pp.fits --data-root data
  flatcore calib verify --data-root data
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
  flatcore calib list --database-url postgresql://me@host/spirou --data-root data
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


@click.group("calib", cls=Group, epilog=_EXAMPLES)
def command() -> None:
    """Add to, look into and keep in order the calibration database.

    The files lie in calib of the data root; what each of them is, in calib/flatcore.db beside them, or in the
    PostgreSQL database of --database-url.
    """


@command.command("add", short_help="Copy calibration files into the database.", epilog=_ADD_EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", help="What the files are, in place of their headers' KEYNAME or DRSOUTID.")
@click.option("--fiber", help="The fibre they are of, in place of their headers' FIBER.")
@click.option("--ref", "reference", is_flag=True, help="Record as reference: never too old to be chosen.")
@click.option("--replace", is_flag=True, help="Replace different files of the same names.")
@json_option
@on_calibrations
def add(
    *,
    files: tuple[Path, ...],
    key: str | None,
    fiber: str | None,
    reference: bool,
    replace: bool,
    as_json: bool,
    database: CalibrationDatabase,
) -> None:
    """Copy calibration files into the database: all of them or, on any error, none."""
    added = database.add_files(files, keyname=key, fiber=fiber, reference=reference, replace=replace)
    if as_json:
        print_json(database, map(dataclasses.asdict, added))
        return
    print_calibrations(added)
    click.echo(f"added {count(added)} to {database.name}")


@command.command("list", epilog=_LIST_EXAMPLES)
@click.option("--key", help="Only this key.")
@click.option("--fiber", help="Only this fibre.")
@json_option
@on_calibrations
def list_(*, key: str | None, fiber: str | None, as_json: bool, database: CalibrationDatabase) -> None:
    """List the calibrations by key, fibre and time."""
    from flatcore.caldb.keys import known_key  # noqa: PLC0415 - keeps help instant

    records = database.records(None if key is None else known_key(key), fiber)
    if as_json:
        print_json(database, map(dataclasses.asdict, records))
        return
    print_calibrations(records)
    click.echo(f"{count(records)} in {database.name}")


@command.command("show", short_help="Show all that is known of a file, or of all with one key.", epilog=_SHOW_EXAMPLES)
@click.argument("name", metavar="FILENAME|KEY")
@json_option
@on_calibrations
def show(*, name: str, as_json: bool, database: CalibrationDatabase) -> None:
    """Show all that is known of a calibration file, or of all with one key."""
    descriptions = [_described(database, record) for record in matching(database, name)]
    if as_json:
        print_json(database, descriptions)
    else:
        _print_descriptions(descriptions)


for _subcommand in (select, verify, remove, import_):
    command.add_command(_subcommand)


def _described(database: CalibrationDatabase, record: CalibrationRecord) -> dict[str, Any]:
    return dataclasses.asdict(record) | {
        "path": str(database.store / record.filename),
        "state": database.state_of(record),
    }


def _print_descriptions(descriptions: Sequence[dict[str, Any]]) -> None:
    from flatcore.cli.tables import Facts  # noqa: PLC0415 - keeps help instant

    for number, known in enumerate(descriptions):
        if number:
            click.echo()
        click.echo(f"{known['keyname']} {known['fiber']}".rstrip())
        facts = Facts()
        facts.add("file", known["path"])
        facts.add("state", known["state"])
        facts.add("time", f"{known['humantime']} UTC ({known['unixtime']:.3f} s)")
        facts.add("reference", _yes(known["reference"]))
        facts.add("used", _yes(known["used"]))
        facts.add("added", f"{known['pdate']} UTC")
        facts.add("run", known["pid"] or "-")
        facts.add("sha256", known["sha256"])
        facts.print()


def _yes(value: bool) -> str:
    return "yes" if value else "no"
