"""Whether the store holds what the database says: every file hashed again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.database import CalibrationDatabase
from flatcore.errors import CalibrationError
from flatcore.fitsio import sha256_of

FileState = Literal["intact", "changed", "missing", "unknown"]

# What SQLite keeps beside its file while it writes.
_DATABASE_COMPANIONS = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True)
class StoredFile:
    """A file of the store, or of the records, or of both.

    Attributes
    ----------
    filename
        Name in the store.
    state
        intact: it has the bytes that were recorded; changed: it has others; missing: it is recorded but not there;
        unknown: it is there but not recorded.
    records
        The records of the file; none where it is unknown.
    sha256
        Of the bytes that are there now; empty where it is missing or unknown.
    """

    filename: str
    state: FileState
    records: tuple[CalibrationRecord, ...]
    sha256: str


def verify(database: CalibrationDatabase) -> list[StoredFile]:
    """Hash every recorded file again, and look for files that no record knows; sorted by name.

    Records that are out of use because another file took the name do not make a file changed. Hidden files, folders
    and the database's own file are not looked at. What other processes add or remove meanwhile is no fault.

    Raises
    ------
    CalibrationError
        The database or a file cannot be read.
    """
    seen = [_state(database, name, records) for name, records in _everything(database).items()]
    doubtful = {file.filename for file in seen if file.state != "intact"}
    if doubtful:
        again = _everything(database)
        seen = [file for file in seen if file.filename not in doubtful]
        seen += [_state(database, name, again[name]) for name in doubtful if name in again]
    return sorted(seen, key=lambda file: file.filename)


def _everything(database: CalibrationDatabase) -> Mapping[str, Sequence[CalibrationRecord]]:
    """Give the records by file name, and none for the names that only the store has."""
    there = _filenames(database)
    by_name: defaultdict[str, list[CalibrationRecord]] = defaultdict(list)
    for record in database.records():
        by_name[record.filename].append(record)
    return {name: [] for name in there} | by_name


def _filenames(database: CalibrationDatabase) -> list[str]:
    own_file = database.table.backend.file
    own = {(own_file.parent / f"{own_file.name}{end}").resolve() for end in _DATABASE_COMPANIONS} if own_file else set()
    if not database.store.is_dir():
        return []
    try:
        found = [path for path in database.store.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise CalibrationError(f"{database.store}: cannot be read: {error.strerror or error}") from error
    return [path.name for path in found if path.resolve() not in own]


def _state(database: CalibrationDatabase, name: str, records: Sequence[CalibrationRecord]) -> StoredFile:
    path: Path = database.store / name
    if not records:
        return StoredFile(name, "unknown", (), "")
    try:
        sha256 = sha256_of(path)
    except FileNotFoundError:
        return StoredFile(name, "missing", tuple(records), "")
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror or error}") from error
    meant = [record for record in records if record.used] or records
    state: FileState = "intact" if all(record.sha256 == sha256 for record in meant) else "changed"
    return StoredFile(name, state, tuple(records), sha256)
