"""`flatcore calib verify` and `flatcore calib remove`: the store and its records kept in order."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from flatcore.cli.database import count, json_option, matching, on_calibrations, print_calibrations, print_json
from flatcore.cli.helpful import Command

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord
    from flatcore.caldb.integrity import StoredFile

_VERIFY_EXAMPLES = """\b
State of a file:
  intact   it has the bytes that were recorded
  changed  it has others
  missing  it is recorded, but not in calib
  unknown  it is in calib, but not recorded

\b
Exit status: 0 all intact; 3 otherwise.

\b
Examples:
  flatcore calib verify --data-root data
  flatcore calib verify --json --data-root data > state.json
"""
_REMOVE_EXAMPLES = """\b
Examples:
  flatcore calib remove 2490101_pp_loco_AB.fits --data-root data
  flatcore calib remove FLAT BLAZE --unused-only --yes --data-root data
  flatcore calib remove BADPIX --keep-file --data-root data
"""


@click.command("verify", cls=Command, short_help="Hash every file again and compare.", epilog=_VERIFY_EXAMPLES)
@json_option
@on_calibrations
def verify(*, as_json: bool, database: CalibrationDatabase) -> int:
    """Hash every file of the database again, and tell which are changed, missing or unknown."""
    from flatcore.caldb.integrity import verify as verify_files  # noqa: PLC0415 - keeps help instant

    files = verify_files(database)
    if as_json:
        print_json(database, [], files=[_plain(file) for file in files])
    else:
        _print_files(files)
        states = Counter(file.state for file in files)
        said = [f"{states[state]} {state}" for state in ("intact", "changed", "missing", "unknown") if states[state]]
        click.echo(f"{count(files, 'file')} in {database.store}: {', '.join(said) or 'nothing to verify'}")
    return 0 if all(file.state == "intact" for file in files) else 3


def _plain(file: StoredFile) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "state": file.state,
        "sha256": file.sha256,
        "calibrations": [dataclasses.asdict(record) for record in file.records],
    }


def _print_files(files: Sequence[StoredFile]) -> None:
    """Print the files that are not intact, and what they are recorded as."""
    from flatcore.cli.tables import Listing  # noqa: PLC0415 - keeps help instant

    listing = Listing("state", "recorded as", "file")
    for file in files:
        if file.state != "intact":
            names = dict.fromkeys(f"{record.keyname} {record.fiber}".rstrip() for record in file.records)
            listing.add(file.state, ", ".join(names) or "-", file.filename)
    listing.print()


@click.command("remove", cls=Command, short_help="Remove calibrations and their files.", epilog=_REMOVE_EXAMPLES)
@click.argument("names", metavar="FILENAME|KEY...", nargs=-1, required=True)
@click.option("--keep-file", is_flag=True, help="Remove from the database only; the files stay in calib.")
@click.option("--unused-only", is_flag=True, help="Only calibrations that are not used any more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@on_calibrations
def remove(
    *,
    names: tuple[str, ...],
    keep_file: bool,
    unused_only: bool,
    yes: bool,
    as_json: bool,
    database: CalibrationDatabase,
) -> None:
    """Remove calibrations, by file name or key, and their files unless other calibrations are of the same file."""
    found = list(dict.fromkeys(record for name in names for record in matching(database, name)))
    records = [record for record in found if not (unused_only and record.used)]
    if not as_json:
        print_calibrations(records)
    if records and not yes:
        _confirm(records, keep_file)
    paths = database.remove(records, keep_files=keep_file)
    if as_json:
        print_json(database, map(dataclasses.asdict, records), deleted_files=[str(path) for path in paths])
    else:
        click.echo(f"removed {count(records)} and {count(paths, 'file')} from {database.name}")


def _confirm(records: Sequence[CalibrationRecord], keep_file: bool) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{count(records)} would be removed, and there is no terminal to ask on; give --yes")
    files = "; the files stay" if keep_file else " and the files that no other is of"
    click.confirm(f"Remove {count(records)}{files}?", abort=True, err=True)
