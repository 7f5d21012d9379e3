"""Bringing a database's tables to the version that this flatcore knows; the only module that needs Alembic."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql
from alembic import command
from alembic.config import Config

from flatcore.caldb import schema
from flatcore.errors import OutputError

MIGRATIONS = Path(__file__).parent / "migrations"


def config_for(connection: sql.Connection) -> Config:
    """Tell Alembic where the migrations are, and the connection on which ``migrations/env.py`` runs them."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: sql.Connection, name: str) -> None:
    """Apply the migrations that a database misses, within the caller's transaction; its rows stay.

    A database from before versions is adopted: its table of calibrations is what the first migration makes.

    Parameters
    ----------
    connection
        With a transaction under the write lock.
    name
        The database, for messages.

    Raises
    ------
    OutputError
        The database has a table of one of our names that is not ours.
    """
    tables = schema.tables_in(connection)
    config = config_for(connection)
    if schema.VERSION_TABLE not in tables:
        adopted = {schema.CALIBRATIONS.name} if _has_calibrations(connection, tables) else set()
        strangers = tables & schema.METADATA.tables.keys() - adopted
        if strangers:
            raise OutputError(
                f"{name}: cannot write the calibration database: its table {min(strangers)} is not flatcore's; "
                "give flatcore a database of its own"
            )
        if adopted:
            command.stamp(config, schema.ADOPTED)
    command.upgrade(config, "head")


def _has_calibrations(connection: sql.Connection, tables: set[str]) -> bool:
    """Tell whether a database without a version has the table of calibrations as it was then."""
    if schema.CALIBRATIONS.name not in tables:
        return False
    found = {column["name"] for column in sql.inspect(connection).get_columns(schema.CALIBRATIONS.name)}
    return found == set(schema.CALIBRATIONS.columns.keys())
