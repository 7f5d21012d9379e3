"""Where the tables are: SQLite in one file, or PostgreSQL by URL; how they are read, and written under one lock.

SQLite keeps its plain journal: write-ahead logging would fail on read-only data roots and on network file systems,
and whoever waits its turn for some milliseconds loses nothing.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flatcore.caldb import schema
from flatcore.errors import CalibrationError, OutputError, UsageError
from flatcore.interrupts import held_back

# How long a process waits for others that write. Transactions take milliseconds: only a stuck one reaches this.
BUSY_TIMEOUT_S = 60.0

# How long a PostgreSQL server may take to answer at all, where the URL says nothing of it.
CONNECT_TIMEOUT_S = 10

# Writers of one PostgreSQL database take turns by this lock: any number, as long as it is always the same.
_WRITE_LOCK = 0x666C6174636F7265  # "flatcore"

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True)
class Backend:
    """A database, wherever it is; nothing is open between two calls.

    Attributes
    ----------
    url
        SQLite with a file, or PostgreSQL.
    """

    url: sql.URL

    @classmethod
    def of(cls, data_root: str | Path, url: str | None = None) -> Backend:
        """Name a data root's database; nothing is read or created yet.

        Parameters
        ----------
        data_root
            The folder that holds ``calib``, and in it ``flatcore.db``.
        url
            Of a database elsewhere, as SQLAlchemy writes it: ``postgresql://user@host/name``, ``sqlite:///FILE``.

        Raises
        ------
        UsageError
            The URL is not one, is of another kind of database, or needs a driver that is not installed.
        """
        if not url:
            return cls(sql.URL.create("sqlite", database=str(Path(data_root) / "calib" / "flatcore.db")))
        try:
            parsed = sql.make_url(url)
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                "database URL cannot be used: expected postgresql://user@host/name or sqlite:///FILE"
            ) from error
        driver = _DRIVERS.get(parsed.drivername)
        if driver is None:
            raise UsageError(f"database URL: {parsed.drivername} is not supported: expected postgresql or sqlite")
        if driver == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise UsageError("database URL: in memory it would be lost; give a file, sqlite:///FILE")
        parsed = parsed.set(drivername=driver)
        try:
            sql.create_engine(parsed, poolclass=NullPool)
        except (ImportError, NoSuchModuleError) as error:
            raise UsageError(
                f"database URL: PostgreSQL needs a driver that is not installed ({error}): "
                "pip install 'flatcore[postgresql]'"
            ) from error
        return cls(parsed)

    @property
    def name(self) -> str:
        """The database as messages show it: the file, or the URL without driver and password."""
        if self.file is not None:
            return str(self.file)
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None

    @property
    def exists(self) -> bool:
        """Whether there is a database; one that is not a file is taken to be there."""
        return self.file is None or self.file.is_file()

    def rows(self, table: sql.Table, query: sql.Select[Any], how_to_make: str) -> Sequence[sql.RowMapping]:
        """Give what a query of one table finds.

        A database with the tables of an older flatcore is read as it is; a table that it does not have yet is empty.

        Parameters
        ----------
        how_to_make
            What a user can do if there is no database, for the message.

        Raises
        ------
        CalibrationError
            There is no database, it is of a newer flatcore, or it cannot be read.
        """
        missing = CalibrationError(f"no calibration database at {self.name}; {how_to_make}")
        try:
            if self.file is not None and not self.file.exists():
                raise missing
            with held_back(), _engine(self.url, "rw").connect() as connection:
                tables = schema.tables_in(connection)
                version = schema.version_in(connection, tables)
                if version is None:
                    # Nothing is in it yet: its first writer is at work.
                    raise missing
                if problem := schema.why_unknown(version):
                    raise CalibrationError(f"{self.name}: cannot read the calibration database: {problem}")
                return connection.execute(query).mappings().all() if table.name in tables else ()
        except (OSError, SQLAlchemyError) as error:
            raise CalibrationError(f"{self.name}: cannot read the calibration database: {_reason(error)}") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Give a connection within one transaction, while no other process writes; new or older tables are upgraded.

        Raises
        ------
        OutputError
            The database cannot be written, or is of a newer flatcore; nothing of the transaction is.
        """
        try:
            if self.file is not None:
                self.file.parent.mkdir(exist_ok=True)
            with held_back(), _engine(self.url, "rwc").begin() as connection:
                self._lock(connection)
                self._bring_up_to_date(connection)
                yield connection
        except SQLAlchemyError as error:
            raise OutputError(f"{self.name}: cannot write the calibration database: {_reason(error)}") from error
        except FileNotFoundError as error:
            raise OutputError(f"{self.name}: cannot write the calibration database: no folder to hold it") from error

    def _lock(self, connection: sql.Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_WRITE_LOCK)))

    def _bring_up_to_date(self, connection: sql.Connection) -> None:
        version = schema.version_in(connection, schema.tables_in(connection))
        if problem := schema.why_unknown(version):
            raise OutputError(f"{self.name}: cannot write the calibration database: {problem}")
        if version != schema.HEAD:
            from flatcore.caldb.migrate import upgrade  # noqa: PLC0415 - Alembic takes longer than most commands

            upgrade(connection, self.name)


@functools.lru_cache(maxsize=16)
def _engine(url: sql.URL, mode: Literal["rw", "rwc"]) -> sql.Engine:
    """Make an engine that keeps no connection open; with SQLite, 'rw' never creates the file."""
    if url.get_backend_name() != "sqlite":
        timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
        return sql.create_engine(url, poolclass=NullPool, connect_args=timeout)

    def connect() -> sqlite3.Connection:
        address = f"{Path(str(url.database)).resolve().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    engine = sql.create_engine("sqlite://", poolclass=NullPool, creator=connect)
    if mode == "rwc":
        # Taking the write lock at once: one taken later, after a read, can fail however long it waits.
        sql.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _reason(error: Exception) -> str:
    """Give the driver's own words, without SQLAlchemy's statement and link."""
    words = str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
    return " ".join(words.split())
