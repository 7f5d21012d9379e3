"""The tables as this flatcore knows them, and the version of those that a database has.

A change of the tables is a migration in ``migrations/versions`` and the same change here; a test holds the two to
each other. A database from before versions has the table of calibrations alone, as the first migration makes it.
"""

from __future__ import annotations

import sqlalchemy as sql

METADATA = sql.MetaData()

UNIQUE = ("KEYNAME", "FIBER", "REFCAL", "FILENAME")
CALIBRATIONS = sql.Table(
    "calibrations",
    METADATA,
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
    sql.UniqueConstraint(*UNIQUE),
)

RUNS = sql.Table(
    "runs",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("pid", sql.Text, nullable=False, unique=True),
    sql.Column("obs_dir", sql.Text, nullable=False, index=True),
    sql.Column("instrument", sql.Text, nullable=False),
    sql.Column("started", sql.Text, nullable=False),
    sql.Column("finished", sql.Text),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("exit_status", sql.Integer),
    sql.Column("program", sql.Text, nullable=False),
    sql.Column("shortname", sql.Text, nullable=False),
    sql.Column("recipe_kind", sql.Text, nullable=False),
    sql.Column("host", sql.Text, nullable=False),
    sql.Column("os_pid", sql.Integer, nullable=False),
    sql.Column("os_started", sql.Text, nullable=False),
    sql.Column("record", sql.Text, nullable=False),
)

# Not Alembic's usual name: other programs may share a PostgreSQL database with this one.
VERSION_TABLE = "flatcore_schema"
_VERSION = sql.table(VERSION_TABLE, sql.column("version_num", sql.String))

# Every version there has been, the oldest first.
REVISIONS = ("0001", "0002")
ADOPTED, HEAD = REVISIONS[0], REVISIONS[-1]


def tables_in(connection: sql.Connection) -> set[str]:
    """Name the tables of a database."""
    return set(sql.inspect(connection).get_table_names())


def version_in(connection: sql.Connection, tables: set[str]) -> str | None:
    """Give the version of the tables of a database.

    Parameters
    ----------
    tables
        What :func:`tables_in` gives.

    Returns
    -------
    str or None
        The recorded one; the first one for a database from before versions; none where there is nothing of flatcore.
    """
    if VERSION_TABLE in tables:
        version: str | None = connection.execute(sql.select(_VERSION.c.version_num)).scalar_one_or_none()
        return version
    return ADOPTED if CALIBRATIONS.name in tables else None


def why_unknown(version: str | None) -> str:
    """Say why a database of this version cannot be used; empty where it can."""
    if version is None or version in REVISIONS:
        return ""
    return f"it is of a newer flatcore (tables of version {version}, known up to {HEAD}); update flatcore"
