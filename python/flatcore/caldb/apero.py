"""Taking in the calibration table of an APERO installation: SQLite, or text dumped from MySQL."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.database import CalibrationDatabase
from flatcore.caldb.keys import KEYS, PER_FIBER, fiber_of_key, iso_utc, same_key
from flatcore.errors import InputError, UsageError

COLUMNS = ("KEYNAME", "FIBER", "REFCAL", "FILENAME", "HUMANTIME", "UNIXTIME", "PID", "PDATE", "USED")

_NULLS = frozenset({"", "none", "null", "nan", "\\n"})
_BOOLEANS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_SQLITE_START = b"SQLite format 3\x00"
# Names in one message; the rest is counted.
_NAMED = 10


@dataclass(frozen=True)
class Skipped:
    """A row that was not taken.

    Attributes
    ----------
    row
        Its number in the table, from 1.
    keyname, filename
        As the table has them.
    reason
        Why.
    """

    row: int
    keyname: str
    filename: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """What came of a table: the records made, and the rows left out because they were allowed to be."""

    records: tuple[CalibrationRecord, ...]
    skipped: tuple[Skipped, ...]


def import_table(
    database: CalibrationDatabase,
    table: Path,
    *,
    files: Path | None = None,
    skip_unknown: bool = False,
    skip_missing: bool = False,
    replace: bool = False,
) -> Imported:
    """Take in the calibrations of an APERO table with their files: all of them or, on any error, none.

    Parameters
    ----------
    table
        An SQLite file with a table of the columns :data:`COLUMNS`, or text with commas, semicolons or tabs between
        the values: the names in the first line, or exactly these columns in this order without names. NULL, None,
        MySQL's backslash-N and nothing are no value; True, False, 1 and 0 are understood.
    files
        Folder of the files; the table's own where none is given.
    skip_unknown
        Leave out rows of keys that flatcore does not use, in place of refusing the table.
    skip_missing
        Leave out rows whose file is not in the folder, in place of refusing the table.
    replace
        As in :meth:`~flatcore.caldb.CalibrationDatabase.add_files`.

    Returns
    -------
    Imported
        Records in the order of the table; rows of the same key, fibre, reference mark and file are one, the last.

    Raises
    ------
    InputError
        The table cannot be read, a row is not one of a calibration, or its key or file is unknown; all are named.
    OutputError
        The store or the database cannot be written.
    """
    folder = files if files is not None else table.parent
    rows = read_table(table)
    strangers = [
        Skipped(number, row["KEYNAME"], row["FILENAME"], "unknown key")
        for number, row in enumerate(rows, 1)
        if same_key(row["KEYNAME"]) not in KEYS
    ]
    if strangers and not skip_unknown:
        names = sorted({row.keyname or "(none)" for row in strangers})
        raise InputError(
            f"{table}: {_count(strangers)} of keys that flatcore does not use: {_listed(names)}; known keys are "
            f"{', '.join(KEYS)}; leave them out with --skip-unknown"
        )
    outside = {row.row for row in strangers}
    found = {
        number: _record(row, f"{table}: row {number}") for number, row in enumerate(rows, 1) if number not in outside
    }
    lost = [
        Skipped(number, record.keyname, record.filename, "file missing")
        for number, record in found.items()
        if not (folder / record.filename).is_file()
    ]
    if lost and not skip_missing:
        names = sorted({row.filename for row in lost})
        raise InputError(
            f"{folder}: {_count(names, 'file')} of {table.name} missing: {_listed(names)}; say where they are with "
            "--files, or leave them out with --skip-missing"
        )
    for row in lost:
        del found[row.row]
    unique = {(r.keyname, r.fiber, r.reference, r.filename): r for r in found.values()}
    records = database.take_in([folder / r.filename for r in unique.values()], list(unique.values()), replace=replace)
    return Imported(tuple(records), tuple(sorted([*strangers, *lost], key=lambda row: row.row)))


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of an APERO table as text by column; no value is the empty text.

    Raises
    ------
    InputError
        The file cannot be read, or has no table with the columns.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE_START))
        rows = _sqlite_rows(path) if start == _SQLITE_START else _text_rows(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        raise InputError(f"{path}: cannot be read as a calibration table: {error}") from error
    return [{column: _text(row[column]) for column in COLUMNS} for row in rows]


def _sqlite_rows(path: Path) -> list[Mapping[str, object]]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            cursor = connection.execute(f"SELECT * FROM {quoted}")
            columns = [str(column[0]).upper() for column in cursor.description]
            if set(COLUMNS) <= set(columns):
                return [dict(zip(columns, row, strict=True)) for row in cursor]
    raise InputError(f"{path}: no table has the columns {', '.join(COLUMNS)}; tables: {', '.join(names) or 'none'}")


def _text_rows(path: Path) -> list[Mapping[str, object]]:
    text = path.read_text(encoding="utf-8-sig")
    first = text.partition("\n")[0]
    separator = max("\t,;", key=first.count)
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if any(line)]
    columns = [name.strip().upper() for name in lines[0]] if lines else []
    if set(COLUMNS) <= set(columns):
        del lines[0]
    elif len(columns) == len(COLUMNS) and columns[-1].lower() in _BOOLEANS:
        columns = list(COLUMNS)
    else:
        lacking = [name for name in COLUMNS if name not in columns]
        raise InputError(f"{path}: its first line lacks the columns {', '.join(lacking)}")
    for number, line in enumerate(lines, 1):
        if len(line) != len(columns):
            raise InputError(f"{path}: row {number} has {len(line)} values, expected {len(columns)}")
    return [dict(zip(columns, line, strict=True)) for line in lines]


def _text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _NULLS else text


def _record(row: Mapping[str, str], where: str) -> CalibrationRecord:
    key = same_key(row["KEYNAME"])
    fiber = fiber_of_key(key, row["FIBER"])
    if key in PER_FIBER and not fiber:
        raise InputError(f"{where}: FIBER has no value; a {key} file is of one fibre")
    if not row["FILENAME"]:
        raise InputError(f"{where}: FILENAME has no value")
    unixtime = _unixtime(row, where)
    return CalibrationRecord(
        keyname=key,
        fiber=fiber,
        reference=_boolean(row, "REFCAL", where),
        filename=Path(row["FILENAME"]).name,
        humantime=iso_utc(unixtime),
        unixtime=unixtime,
        pid=row["PID"],
        pdate=row["PDATE"].replace(" ", "T"),
        used=_boolean(row, "USED", where),
        sha256="",
    )


def _unixtime(row: Mapping[str, str], where: str) -> float:
    """Give UNIXTIME or, where it has no value, HUMANTIME [s since 1970-01-01 UTC]."""
    column = "UNIXTIME" if row["UNIXTIME"] else "HUMANTIME"
    try:
        if column == "UNIXTIME":
            unixtime = float(row["UNIXTIME"])
        else:
            moment = datetime.fromisoformat(row["HUMANTIME"])
            unixtime = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        iso_utc(unixtime)
    except (ValueError, UsageError) as error:
        raise InputError(f"{where}: {column} = {row[column]!r} is not a time") from error
    return unixtime


def _boolean(row: Mapping[str, str], column: str, where: str) -> bool:
    value = _BOOLEANS.get(row[column].lower())
    if value is None:
        raise InputError(f"{where}: {column} = {row[column]!r}: expected 1 or 0, True or False")
    return value


def _count(things: Sequence[object], noun: str = "row") -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    rest = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
