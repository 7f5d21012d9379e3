"""The table of calibrations: SQLite in one file, or PostgreSQL by URL.

SQLite keeps its plain journal: write-ahead logging would fail on read-only data roots and on network file systems,
and whoever waits its turn for some milliseconds loses nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flatcore.caldb.choice import CalibrationRecord
from flatcore.errors import CalibrationError, OutputError, UsageError

# How long a process waits for others that write. Transactions take milliseconds: only a stuck one reaches this.
BUSY_TIMEOUT_S = 60.0

HOW_TO_ADD = "add files with: flatcore calib add FILE"

_UNIQUE = ("KEYNAME", "FIBER", "REFCAL", "FILENAME")
_TABLE = sql.Table(
    "calibrations",
    sql.MetaData(),
    sql.Column("ID", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("KEYNAME", sql.String, nullable=False),
    sql.Column("FIBER", sql.String, nullable=False),
    sql.Column("REFCAL", sql.Integer, nullable=False),
    sql.Column("FILENAME", sql.String, nullable=False),
    sql.Column("HUMANTIME", sql.String, nullable=False),
    sql.Column("UNIXTIME", sql.Double, nullable=False),
    sql.Column("PID", sql.String, nullable=False),
    sql.Column("PDATE", sql.String, nullable=False),
    sql.Column("USED", sql.Integer, nullable=False),
    sql.Column("SHA256", sql.String, nullable=False),
    sql.UniqueConstraint(*_UNIQUE),
)
_INSERT: dict[str, Callable[[sql.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True)
class CalibrationTable:
    """Rows of the calibration database, wherever it is.

    Attributes
    ----------
    url
        SQLite with a file, or PostgreSQL.
    """

    url: sql.URL

    @classmethod
    def in_file(cls, path: Path) -> CalibrationTable:
        """Name a table in an SQLite file; nothing is read or created yet."""
        return cls(sql.URL.create("sqlite", database=str(path)))

    @classmethod
    def at(cls, url: str) -> CalibrationTable:
        """Name a table by the database's URL; nothing is read or created yet.

        Raises
        ------
        UsageError
            The URL is not one, is of another kind of database, or needs a driver that is not installed.
        """
        try:
            parsed = sql.make_url(url)
            backend = parsed.get_backend_name()
            sql.create_engine(parsed, poolclass=NullPool)
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
            raise UsageError(f"calibration database: its URL cannot be used: {error}") from error
        if backend not in _INSERT:
            raise UsageError(f"calibration database: {backend} is not supported: expected sqlite or postgresql")
        if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise UsageError("calibration database: in memory it would be lost; give a file, sqlite:///FILE")
        return cls(parsed)

    @property
    def name(self) -> str:
        """The table's database as messages show it: the file, or the URL without its password."""
        return str(self._file) if self._file else self.url.render_as_string(hide_password=True)

    def read(self, keyname: str | None, fiber: str | None) -> list[CalibrationRecord]:
        """Give the records, of one key or fibre if asked, in no particular order.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        conditions = [] if keyname is None else [_TABLE.c["KEYNAME"] == keyname]
        conditions += [] if fiber is None else [_TABLE.c["FIBER"] == fiber]
        missing = CalibrationError(f"no calibration database at {self.name}; {HOW_TO_ADD}")
        try:
            if self._file is not None and not self._file.exists():
                raise missing
            with self._engine("rw").connect() as connection:
                # A database without the table is one whose first file is being added.
                if not sql.inspect(connection).has_table(_TABLE.name):
                    raise missing
                return [_record(row) for row in connection.execute(sql.select(_TABLE).where(*conditions)).mappings()]
        except (OSError, SQLAlchemyError) as error:
            raise CalibrationError(f"{self.name}: cannot read the calibration database: {_reason(error)}") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[CalibrationRecord], None]]:
        """Give, within one transaction, the function that writes a record.

        A record of the same key, fibre, reference mark and file name is renewed. Other records of the file name are
        retired if they are of other contents.

        Raises
        ------
        OutputError
            The database cannot be written; nothing of the transaction is.
        """
        engine = self._engine("rwc")
        if self._file is not None:
            # Taking the write lock at once: one taken later, after a read, can fail however long it waits.
            sql.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            with engine.begin() as connection:
                _TABLE.metadata.create_all(connection)
                yield lambda record: _write(connection, record)
        except SQLAlchemyError as error:
            raise OutputError(f"{self.name}: cannot write the calibration database: {_reason(error)}") from error

    @property
    def _file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None

    def _engine(self, mode: Literal["rw", "rwc"]) -> sql.Engine:
        """Make an engine that keeps no connection open; with SQLite, 'rw' never creates the file."""
        if self._file is None:
            return sql.create_engine(self.url, poolclass=NullPool)
        address = f"{self._file.resolve().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

        return sql.create_engine("sqlite://", poolclass=NullPool, creator=connect)


def _write(connection: sql.Connection, record: CalibrationRecord) -> None:
    row = _row(record)
    insert = _INSERT[connection.dialect.name](_TABLE).values(row)
    renewed = {name: value for name, value in row.items() if name not in _UNIQUE}
    connection.execute(insert.on_conflict_do_update(index_elements=_UNIQUE, set_=renewed))
    of_former_contents = (_TABLE.c["FILENAME"] == record.filename) & (_TABLE.c["SHA256"] != record.sha256)
    connection.execute(sql.update(_TABLE).where(of_former_contents).values(USED=0))


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


def _reason(error: Exception) -> str:
    """Give the driver's own words, without SQLAlchemy's statement and link."""
    return str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
