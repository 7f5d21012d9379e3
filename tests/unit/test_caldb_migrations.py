"""Versions of the tables: made, adopted, upgraded, refused; on both engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from flatcore.caldb import CalibrationDatabase, RunLog, schema
from flatcore.caldb.engine import Backend
from flatcore.caldb.migrate import config_for
from flatcore.errors import CalibrationError, FlatcoreError, OutputError
from tests.engines import database_url
from tests.unit.test_caldb import NOON, execute, write_calibration

__all__ = ["database_url"]  # a fixture


@pytest.fixture
def database(tmp_path: Path, database_url: str | None) -> CalibrationDatabase:
    return CalibrationDatabase.open(tmp_path, database_url)


@pytest.fixture
def backend(database: CalibrationDatabase) -> Backend:
    return database.table.backend


@pytest.fixture
def bare(backend: Backend, tmp_path: Path) -> Callable[[str], None]:
    """Runs SQL without a look at the versions, as an older flatcore would."""

    def executing(*statements: str) -> None:
        (tmp_path / "calib").mkdir(exist_ok=True)
        engine = sqlalchemy.create_engine(backend.url, poolclass=sqlalchemy.pool.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return executing


@pytest.fixture
def unversioned(bare: Callable[..., None], backend: Backend) -> None:
    """A database as flatcore made it before its tables had versions, with one row."""
    number = "INTEGER" if backend.file else "SERIAL"
    bare(
        f"""CREATE TABLE calibrations ("ID" {number} NOT NULL PRIMARY KEY, "KEYNAME" VARCHAR NOT NULL,
        "FIBER" VARCHAR NOT NULL, "REFCAL" INTEGER NOT NULL, "FILENAME" VARCHAR NOT NULL,
        "HUMANTIME" VARCHAR NOT NULL, "UNIXTIME" DOUBLE PRECISION NOT NULL, "PID" VARCHAR NOT NULL,
        "PDATE" VARCHAR NOT NULL, "USED" INTEGER NOT NULL, "SHA256" VARCHAR NOT NULL,
        UNIQUE ("KEYNAME", "FIBER", "REFCAL", "FILENAME"))""",
        f"""INSERT INTO calibrations ("KEYNAME", "FIBER", "REFCAL", "FILENAME", "HUMANTIME", "UNIXTIME", "PID",
        "PDATE", "USED", "SHA256") VALUES ('BADPIX', '', 1, 'old.fits', '2020-08-31T12:00:00.000', {NOON}, 'PID-1',
        '2021-01-01T00:00:00', 1, 'abc')""",
    )


def version_of(backend: Backend) -> str | None:
    with backend.writing() as connection:
        return schema.version_in(connection, schema.tables_in(connection))


def test_revisions_are_the_migrations(backend: Backend) -> None:
    with backend.writing() as connection:
        revisions = ScriptDirectory.from_config(config_for(connection)).walk_revisions()
        assert tuple(revision.revision for revision in revisions)[::-1] == schema.REVISIONS


def test_migrations_make_the_tables_as_they_are_described(backend: Backend) -> None:
    with backend.writing() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), schema.METADATA) == []
        assert schema.tables_in(connection) == {*schema.METADATA.tables, schema.VERSION_TABLE}


def test_new_database_has_the_latest_version(database: CalibrationDatabase, backend: Backend, tmp_path: Path) -> None:
    database.add(write_calibration(tmp_path / "a.fits"))
    assert version_of(backend) == schema.HEAD


@pytest.mark.usefixtures("unversioned")
class TestAdoption:
    def test_reading_does_not_touch_it(self, database: CalibrationDatabase, backend: Backend) -> None:
        (record,) = database.records()
        assert (record.keyname, record.reference, record.unixtime) == ("BADPIX", True, NOON)
        assert RunLog(backend).records() == []
        assert RunLog(backend).count() == 0
        with pytest.raises(FlatcoreError, match="has no run 1; it has none at all"):
            RunLog(backend).get(1)
        engine = sqlalchemy.create_engine(backend.url, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            assert schema.tables_in(connection) == {"calibrations"}

    def test_writing_keeps_its_rows(self, database: CalibrationDatabase, backend: Backend, tmp_path: Path) -> None:
        (before,) = database.records()
        added = database.add(write_calibration(tmp_path / "a.fits"))
        assert database.records() == [added, before]
        assert version_of(backend) == schema.HEAD
        numbers = [row["ID"] for row in execute(database, 'SELECT "ID" FROM calibrations ORDER BY "ID"')]
        assert numbers == [1, 2]

    def test_a_run_upgrades_it_too(self, database: CalibrationDatabase, backend: Backend) -> None:
        runs = RunLog(backend)
        runs.start(obs_dir="night", instrument="SMALL")
        assert runs.count() == 1
        assert len(database.records()) == 1

    def test_an_upgrade_that_fails_leaves_it_as_it_was(
        self, database: CalibrationDatabase, backend: Backend, bare: Callable[..., None], tmp_path: Path
    ) -> None:
        before = database.records()
        bare("CREATE TABLE runs (x INTEGER)")
        with pytest.raises(OutputError, match=r"its table runs is not flatcore's; give flatcore a database of its own"):
            database.add(write_calibration(tmp_path / "a.fits"))
        assert database.records() == before
        bare("DROP TABLE runs", "CREATE TABLE other (x INTEGER)", "CREATE INDEX ix_runs_obs_dir ON other (x)")
        with pytest.raises(OutputError, match=r"cannot write the calibration database: .*ix_runs_obs_dir"):
            database.add(write_calibration(tmp_path / "b.fits"))
        engine = sqlalchemy.create_engine(backend.url, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            assert schema.tables_in(connection) == {"calibrations", "other"}
        assert database.records() == before


def test_table_of_another_program(database: CalibrationDatabase, bare: Callable[..., None], tmp_path: Path) -> None:
    bare("CREATE TABLE calibrations (x INTEGER)")
    with pytest.raises(OutputError, match=r"its table calibrations is not flatcore's"):
        database.add(write_calibration(tmp_path / "a.fits"))
    assert [path.name for path in (tmp_path / "calib").iterdir() if path.suffix == ".fits"] == []


class TestNewer:
    @pytest.fixture(autouse=True)
    def _newer(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        database.add(write_calibration(tmp_path / "a.fits"))
        execute(database, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")

    def test_refused(self, database: CalibrationDatabase, backend: Backend, tmp_path: Path) -> None:
        why = rf"database: it is of a newer flatcore \(tables of version 9999, known up to {schema.HEAD}\); update fl"
        with pytest.raises(CalibrationError, match=f"cannot read the calibration {why}"):
            database.records()
        with pytest.raises(CalibrationError, match=why):
            RunLog(backend).records()
        with pytest.raises(OutputError, match=f"cannot write the calibration {why}"):
            database.add(write_calibration(tmp_path / "b.fits"))
        with pytest.raises(OutputError, match=why):
            RunLog(backend).start(obs_dir="night", instrument="SMALL")


def test_alembic_is_not_imported_for_a_database_that_is_up_to_date(tmp_path: Path) -> None:
    database = CalibrationDatabase.open(tmp_path)
    database.add(write_calibration(tmp_path / "a.fits"))
    write_calibration(tmp_path / "b.fits")
    program = (
        "import sys; from flatcore.caldb import CalibrationDatabase, RunLog;"
        f"database = CalibrationDatabase.open({str(tmp_path)!r}); runs = RunLog.open({str(tmp_path)!r});"
        f"database.add({str(tmp_path / 'b.fits')!r}); database.records();"
        "runs.finish(runs.start(obs_dir='night', instrument='SMALL'), 'done', 0, {}); runs.records();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_log_of_runs_needs_no_fits_reader(tmp_path: Path) -> None:
    program = (
        "import sys; from flatcore.caldb import RunLog; RunLog.open('x');"
        "sys.exit(bool({'astropy', 'numpy', 'alembic', 'psycopg'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path).returncode == 0
