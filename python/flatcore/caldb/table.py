"""The table of calibrations: its rows as records, read and written."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.engine import Backend
from flatcore.caldb.schema import CALIBRATIONS, UNIQUE
from flatcore.caldb.source import HOW_TO_ADD


def insert_of(dialect: str) -> Callable[[sql.Table], Any]:
    """Give the INSERT of a dialect, which can renew rows.

    Only the dialect in use is imported: the drivers that come with another take longer than a night's query.
    """
    insert: Callable[[sql.Table], Any] = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert
    return insert


@dataclass(frozen=True)
class CalibrationTable:
    """Rows of the calibration database, wherever it is.

    Attributes
    ----------
    backend
        The database.
    """

    backend: Backend

    @property
    def name(self) -> str:
        """The table's database as messages show it: the file, or the URL without its password."""
        return self.backend.name

    def read(self, keyname: str | None, fiber: str | None) -> list[CalibrationRecord]:
        """Give the records, of one key or fibre if asked, in no particular order.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        conditions = [] if keyname is None else [CALIBRATIONS.c["KEYNAME"] == keyname]
        conditions += [] if fiber is None else [CALIBRATIONS.c["FIBER"] == fiber]
        query = sql.select(CALIBRATIONS).where(*conditions)
        return [_record(row) for row in self.backend.rows(CALIBRATIONS, query, HOW_TO_ADD)]

    def of_files(self, filenames: Collection[str]) -> list[CalibrationRecord]:
        """Give the records of some files, in no particular order.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        query = sql.select(CALIBRATIONS).where(CALIBRATIONS.c["FILENAME"].in_(filenames))
        return [_record(row) for row in self.backend.rows(CALIBRATIONS, query, HOW_TO_ADD)]

    @contextlib.contextmanager
    def writing(self) -> Iterator[Rows]:
        """Give, within one transaction and while no other process writes, what changes the rows.

        Raises
        ------
        OutputError
            The database cannot be written; nothing of the transaction is.
        """
        with self.backend.writing() as connection:
            yield Rows(connection)


@dataclass(frozen=True)
class Rows:
    """The rows within a transaction."""

    connection: sql.Connection

    def write(self, record: CalibrationRecord) -> None:
        """Write a record.

        A record of the same key, fibre, reference mark and file name is renewed. Other records of the file name are
        retired if they are of other contents.
        """
        row = _row(record)
        insert = insert_of(self.connection.dialect.name)(CALIBRATIONS).values(row)
        renewed = {name: value for name, value in row.items() if name not in UNIQUE}
        self.connection.execute(insert.on_conflict_do_update(index_elements=UNIQUE, set_=renewed))
        of_former_contents = _of_file(record.filename) & (CALIBRATIONS.c["SHA256"] != record.sha256)
        self.connection.execute(sql.update(CALIBRATIONS).where(of_former_contents).values(USED=0))

    def delete(self, record: CalibrationRecord) -> bool:
        """Delete a record, and tell whether it was there as it is given: one that was renewed since stays."""
        same = [CALIBRATIONS.c[name] == value for name, value in _row(record).items()]
        return self.connection.execute(sql.delete(CALIBRATIONS).where(*same)).rowcount > 0

    def has_file(self, filename: str) -> bool:
        """Tell whether any record is of this file name."""
        query = sql.select(sql.literal(True)).select_from(CALIBRATIONS).where(_of_file(filename)).limit(1)
        return self.connection.execute(query).first() is not None

    def hashes_in_use(self, filename: str) -> set[str]:
        """Give the SHA-256 that the records in use have of a file."""
        query = sql.select(CALIBRATIONS.c["SHA256"]).where(_of_file(filename) & (CALIBRATIONS.c["USED"] != 0))
        return set(self.connection.execute(query).scalars())


def _of_file(filename: str) -> sql.ColumnElement[bool]:
    return CALIBRATIONS.c["FILENAME"] == filename


def _row(record: CalibrationRecord) -> dict[str, str | int | float]:
    return {
        "KEYNAME": record.keyname,
        "FIBER": record.fiber,
        "REFCAL": int(record.reference),
        "FILENAME": record.filename,
        "HUMANTIME": record.humantime,
        "UNIXTIME": record.unixtime,
        "PID": record.pid,
        "PDATE": record.pdate,
        "USED": int(record.used),
        "SHA256": record.sha256,
    }


def _record(row: sql.RowMapping) -> CalibrationRecord:
    return CalibrationRecord(
        keyname=row["KEYNAME"],
        fiber=row["FIBER"],
        reference=bool(row["REFCAL"]),
        filename=row["FILENAME"],
        humantime=row["HUMANTIME"],
        unixtime=row["UNIXTIME"],
        pid=row["PID"],
        pdate=row["PDATE"],
        used=bool(row["USED"]),
        sha256=row["SHA256"],
    )
