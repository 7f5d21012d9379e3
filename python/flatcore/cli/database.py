"""What the commands on the database share: its options, names that are found in it, and how it is shown."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context

from flatcore.cli.options import LocalFolder, database_url_option

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord

Command = Callable[..., Any]

_DATA_ROOT = click.option(
    "--data-root",
    type=LocalFolder(exists=True, file_okay=False, path_type=Path),
    envvar="FLATCORE_DATA",
    show_envvar=True,
    required=True,
    help="Folder that holds calib.",
)
# Runs are in the database alone: with --database-url nothing is read below the data root, which may be a storage.
_DATA_ROOT_OF_RUNS = click.option(
    "--data-root",
    metavar="DIRECTORY",
    envvar="FLATCORE_DATA",
    show_envvar=True,
    help="Folder that holds calib, and in it the database; not needed with --database-url.",
)
_FOLDER_OF_RUNS = LocalFolder(
    "the runs of a storage are in the database that --database-url names", exists=True, file_okay=False
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def on_calibrations(function: Command) -> Command:
    """Give a command --data-root and --database-url, and the calibration database of the two as ``database``."""

    @functools.wraps(function)
    def command(*, data_root: Path, database_url: str | None, **options: Any) -> Any:
        from flatcore.caldb import CalibrationDatabase  # noqa: PLC0415 - keeps help instant

        return function(database=CalibrationDatabase.open(data_root, database_url), **options)

    return _DATA_ROOT(database_url_option(command))


def on_runs(function: Command) -> Command:
    """Give a command --data-root and --database-url, and the log of runs that they name as ``runs``."""

    @functools.wraps(function)
    def command(*, data_root: str | None, database_url: str | None, **options: Any) -> Any:
        from flatcore.caldb import RunLog  # noqa: PLC0415 - keeps help instant

        folder = "" if database_url else _folder_of_runs(data_root)
        return function(runs=RunLog.open(folder, database_url), **options)

    return _DATA_ROOT_OF_RUNS(database_url_option(command))


def _folder_of_runs(data_root: str | None) -> Path:
    context = get_current_context()
    option = next(parameter for parameter in context.command.params if parameter.name == "data_root")
    if data_root is None:
        raise click.MissingParameter(ctx=context, param=option)
    return Path(_FOLDER_OF_RUNS.convert(data_root, option, context))


def matching(database: CalibrationDatabase, name: str) -> list[CalibrationRecord]:
    """Find the records of a file name, or else of a key.

    Raises
    ------
    CalibrationError
        There are none; the message names the closest. Or the database cannot be read.
    """
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


def count(things: Sequence[object], noun: str = "calibration") -> str:
    """Say how many there are: '1 file', '2 files'."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def print_json(database: CalibrationDatabase, calibrations: Iterable[dict[str, Any]], **more: Any) -> None:
    """Print calibrations, and what there is to say beside them, as one JSON object."""
    click.echo(json.dumps({"database": database.name, "calibrations": list(calibrations), **more}, indent=2))


def print_calibrations(records: Sequence[CalibrationRecord]) -> None:
    """Print calibrations as a table: key, fibre, time, file, and a mark for references and those out of use."""
    from flatcore.cli.tables import Listing  # noqa: PLC0415 - keeps help instant

    listing = Listing("key", "fibre", "time (UTC)", "file", "")
    for record in records:
        mark = "unused" if not record.used else "ref" if record.reference else ""
        listing.add(record.keyname, record.fiber or "-", short_time(record.humantime), record.filename, mark)
    listing.print()


def short_time(iso: str) -> str:
    """Write an ISO time for a table: to the second, with a blank in place of the T."""
    return iso.replace("T", " ")[: len("2020-08-31 16:48:30")]
