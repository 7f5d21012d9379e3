"""The calibration database: adding, choosing, and what goes wrong."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
from astropy.io import fits

from flatcore.caldb import CalibrationDatabase, CalibrationRecord, engine
from flatcore.caldb import store as calstore
from flatcore.caldb import table as caltable
from flatcore.caldb.engine import Backend
from flatcore.caldb.keys import KEYS, PER_FIBER, iso_utc, known_key, same_key, unix_of_mjd
from flatcore.errors import CalibrationError, InputError, OutputError, UsageError
from tests.engines import database_url, fresh_postgresql

__all__ = ["database_url"]  # a fixture

SHARED = Path(__file__).parents[2].parent / "shared"

MJD = 59092.5
NOON = unix_of_mjd(MJD)
DAY = 86_400.0


def write_calibration(path: Path, pixel: float = 1.0, /, **cards: object) -> Path:
    """A small calibration file; a card given as None is left out."""
    header = {"DRSOUTID": "BADPIX", "MJDMID": MJD} | cards
    primary = fits.PrimaryHDU()
    primary.header.update({keyword: value for keyword, value in header.items() if value is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, fits.ImageHDU(np.full((2, 3), pixel, dtype=np.float32))]).writeto(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data root #1?%"  # names that a URL would misread
    folder.mkdir()
    return folder


@pytest.fixture
def database(root: Path, database_url: str | None) -> CalibrationDatabase:
    return CalibrationDatabase.open(root, database_url)


def execute(database: CalibrationDatabase, statement: str) -> list[dict[str, object]]:
    """Runs SQL as another program would, and gives the rows it finds."""
    with database.table.backend.writing() as connection:
        result = connection.exec_driver_sql(statement)
        return [dict(row) for row in result.mappings()] if result.returns_rows else []


@pytest.fixture
def add(database: CalibrationDatabase, tmp_path: Path) -> Callable[..., CalibrationRecord]:
    """Adds a file some days from noon."""

    def adding(
        name: str, days: float = 0.0, outid: str = "BADPIX", fiber: str | None = None, **options: object
    ) -> CalibrationRecord:
        path = write_calibration(tmp_path / "made" / name, days, DRSOUTID=outid, FIBER=fiber, MJDMID=MJD + days)
        return database.add(path, **options)  # type: ignore[arg-type]

    return adding


def stored_names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "calib").iterdir() if path.name != "flatcore.db")


class TestKeys:
    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("DARKREF", "DARKREF"),
            ("DARK_REF", "DARKREF"),
            ("DARKM", "DARKREF"),
            ("DARKM_FP", "DARKREF"),
            ("darkm", "DARKREF"),
            ("BADPIX", "BADPIX"),
            ("BADPIX_MAP", "BADPIX"),
            ("BKGRD_MAP", "BKGRDMAP"),
            ("BKGRDMAP", "BKGRDMAP"),
            ("LOC_LOCO", "LOC"),
            ("LOC", "LOC"),
            ("LOC_ORDERP", "ORDER_PROFILE"),
            ("ORDER_PROFILE", "ORDER_PROFILE"),
            ("SHAPE_X", "SHAPEX"),
            ("SHAPEX", "SHAPEX"),
            ("SHAPE_Y", "SHAPEY"),
            ("SHAPEY", "SHAPEY"),
            ("SHAPEL", "SHAPEL"),
            ("FF_FLAT", "FLAT"),
            ("FF_BLAZE", "BLAZE"),
            (" blaze ", "BLAZE"),
        ],
    )
    def test_names_of_a_key(self, name: str, key: str) -> None:
        assert same_key(name) == key
        assert known_key(name) == key

    def test_unknown_key_names_the_closest(self) -> None:
        with pytest.raises(
            UsageError, match=r"unknown calibration key 'BADPX': did you mean BADPIX\? known keys are DA"
        ):
            known_key("BADPX")

    def test_unknown_key_like_no_other(self) -> None:
        with pytest.raises(UsageError, match="unknown calibration key 'zzz': known keys are DARKREF, BADPIX"):
            known_key("zzz")

    def test_products_that_are_no_calibrations(self) -> None:
        for name in ("EXT_E2DS_LL", "ORDERP_STRAIGHT", "DEBUG_BACK", "DRS_PP"):
            assert same_key(name) not in KEYS

    def test_every_key_is_its_own_name(self) -> None:
        assert {same_key(key) for key in KEYS} == set(KEYS)
        assert sorted(PER_FIBER) == ["BLAZE", "FLAT", "LOC", "ORDER_PROFILE"]


class TestTimes:
    def test_unix_of_mjd(self) -> None:
        assert unix_of_mjd(40587.0) == 0.0
        assert unix_of_mjd(51544.5) == 946_728_000.0

    def test_iso_utc_rounds_to_the_millisecond(self) -> None:
        assert iso_utc(29.9999996) == "1970-01-01T00:00:30.000"
        assert iso_utc(-0.5) == "1969-12-31T23:59:59.500"
        assert iso_utc(30.0, "seconds") == "1970-01-01T00:00:30"

    @pytest.mark.parametrize("unixtime", [float("nan"), float("inf"), 1e15, -1e300])
    def test_iso_utc_refuses_what_is_no_time(self, unixtime: float) -> None:
        with pytest.raises(UsageError, match="is not a time"):
            iso_utc(unixtime)


class TestAdding:
    def test_all_columns(self, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        path = write_calibration(tmp_path / "loco.fits", DRSOUTID="LOC_LOCO", FIBER="AB", DRSPID="PID-7")
        record = database.add(path)
        assert dataclasses.replace(record, pdate="") == CalibrationRecord(
            keyname="LOC",
            fiber="AB",
            reference=False,
            filename="loco.fits",
            humantime="2020-08-31T12:00:00.000",
            unixtime=NOON,
            pid="PID-7",
            pdate="",
            used=True,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        assert len(record.pdate) == len("2020-08-31T12:00:00")
        assert database.records() == [record]
        assert database.path_of(record) == root / "calib" / "loco.fits"
        assert database.path_of(record).read_bytes() == path.read_bytes()
        assert database.state_of(record) == "intact"

    def test_table_as_others_see_it(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits", reference=True)
        (row,) = execute(database, "SELECT * FROM calibrations")
        assert list(row) == ["ID", "KEYNAME", "FIBER", "REFCAL", "FILENAME", "HUMANTIME", "UNIXTIME", "PID", "PDATE",
                             "USED", "SHA256"]  # fmt: skip
        assert (row["ID"], row["KEYNAME"], row["FIBER"], row["REFCAL"], row["USED"]) == (1, "BADPIX", "", 1, 1)

    def test_header_keyname_wins_over_drsoutid(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        assert database.add(write_calibration(tmp_path / "a.fits", KEYNAME="SHAPEX")).keyname == "SHAPEX"

    def test_arguments_win_over_the_header(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        path = write_calibration(tmp_path / "a.fits", FIBER="C", DRSPID="PID-1")
        record = database.add(path, keyname="loc_loco", fiber="AB", unixtime=0.0, pid="PID-2")
        assert (record.keyname, record.fiber, record.unixtime, record.pid) == ("LOC", "AB", 0.0, "PID-2")

    def test_arguments_serve_where_the_header_is_silent(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        path = write_calibration(tmp_path / "a.fits", DRSOUTID=None, MJDMID=None)
        assert database.add(path, keyname="FLAT", fiber="A", unixtime=5.0).humantime == "1970-01-01T00:00:05.000"

    def test_fiber_of_a_key_without_fibres_is_not_recorded(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        assert database.add(write_calibration(tmp_path / "a.fits", FIBER="AB")).fiber == ""
        assert database.add(write_calibration(tmp_path / "b.fits"), fiber="AB").fiber == ""

    def test_mjdate_serves_without_mjdmid(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        path = write_calibration(tmp_path / "a.fits", MJDMID=None, MJDATE=MJD - 1)
        assert database.add(path).unixtime == NOON - DAY

    def test_compressed_file_is_kept_as_it_is(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        plain = write_calibration(tmp_path / "a.fits")
        packed = tmp_path / "a.fits.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        assert database.path_of(database.add(packed)).read_bytes() == packed.read_bytes()

    def test_file_in_the_store_is_recorded_where_it_is(self, database: CalibrationDatabase, root: Path) -> None:
        path = write_calibration(root / "calib" / "a.fits")
        before = path.stat()
        record = database.add(path)
        assert database.state_of(record) == "intact"
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert stored_names(root) == ["a.fits"]

    def test_copy_has_ordinary_permissions(self, add: Callable[..., CalibrationRecord], root: Path) -> None:
        add("a.fits")
        umask = os.umask(0)
        os.umask(umask)
        assert (root / "calib" / "a.fits").stat().st_mode & 0o777 == 0o666 & ~umask

    def test_adding_again_renews_the_row(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase,
                                         tmp_path: Path) -> None:  # fmt: skip
        add("a.fits")
        again = database.add(tmp_path / "made" / "a.fits", pid="PID-9", unixtime=0.0)
        assert database.records() == [again]
        assert (again.pid, again.unixtime) == ("PID-9", 0.0)

    def test_reference_row_beside_the_ordinary_one(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, tmp_path: Path
    ) -> None:
        ordinary = add("a.fits")
        reference = database.add(tmp_path / "made" / "a.fits", reference=True)
        assert database.records() == [reference, ordinary]

    def test_several_come_back_in_their_order(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        paths = [
            write_calibration(tmp_path / name, number) for number, name in enumerate(("c.fits", "a.fits", "b.fits"))
        ]
        assert [record.filename for record in database.add_files(paths)] == ["c.fits", "a.fits", "b.fits"]

    def test_none_is_not_an_error(self, database: CalibrationDatabase) -> None:
        assert database.add_files([]) == []


class TestRefusals:
    """Files that are not added; nothing of them is left."""

    @pytest.mark.parametrize(
        ("cards", "options", "error", "message"),
        [
            ({"DRSOUTID": None}, {}, InputError, "header keywords KEYNAME and DRSOUTID are missing; .* --key"),
            ({"DRSOUTID": "DRS_PP"}, {}, InputError, "header keyword DRSOUTID = 'DRS_PP' is not a calibration; known"),
            ({"KEYNAME": "WAVE"}, {}, InputError, "header keyword KEYNAME = 'WAVE' is not a calibration"),
            ({"DRSOUTID": 5}, {}, InputError, "header keyword DRSOUTID = 5: expected text"),
            ({"DRSOUTID": "FF_FLAT"}, {}, InputError, "header keyword FIBER is missing; a FLAT file .* --fiber"),
            ({"DRSOUTID": "FF_FLAT"}, {"fiber": " "}, InputError, "header keyword FIBER is missing"),
            ({"DRSOUTID": "FF_FLAT", "FIBER": 1}, {}, InputError, "header keyword FIBER = 1: expected text"),
            ({"MJDMID": None}, {}, InputError, "header keywords MJDMID and MJDATE are missing"),
            ({"MJDMID": "late"}, {}, InputError, "header keyword MJDMID = 'late': expected a finite number"),
            ({"MJDMID": 1e15}, {}, InputError, r"is not a time \(from MJDMID or MJDATE\)"),
            ({"QCC_ALL": False}, {}, InputError, "failed its quality control .QCC_ALL = False"),
            ({}, {"keyname": "FLATT"}, UsageError, "unknown calibration key 'FLATT': did you mean FLAT"),
            ({}, {"unixtime": float("nan")}, UsageError, "nan s since 1970 is not a time"),
        ],
    )
    def test_header_or_argument(
        self,
        *,
        cards: dict[str, object],
        options: dict[str, object],
        error: type[Exception],
        message: str,
        database: CalibrationDatabase,
        root: Path,
        tmp_path: Path,
    ) -> None:
        path = write_calibration(tmp_path / "a.fits", **cards)
        with pytest.raises(error, match=message) as caught:
            database.add(path, **options)  # type: ignore[arg-type]
        assert error is UsageError or str(caught.value).startswith(f"{path}: ")
        assert not (root / "calib").exists()

    def test_quality_control_that_passed(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        assert database.add(write_calibration(tmp_path / "a.fits", QCC_ALL=True)).used

    def test_missing_file(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a\.fits: no such file"):
            database.add(tmp_path / "a.fits")

    def test_not_fits(self, database: CalibrationDatabase, tmp_path: Path) -> None:
        (tmp_path / "a.fits").write_text("text")
        with pytest.raises(InputError, match="not a FITS file"):
            database.add(tmp_path / "a.fits")

    def test_one_bad_file_keeps_all_out(self, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        good, bad = write_calibration(tmp_path / "good.fits"), write_calibration(tmp_path / "bad.fits", MJDMID=None)
        with pytest.raises(InputError, match=r"bad\.fits"):
            database.add_files([good, bad])
        assert not (root / "calib").exists()

    def test_two_different_files_of_one_name(self, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        paths = [write_calibration(tmp_path / night / "a.fits", float(night)) for night in "12"]
        with pytest.raises(InputError, match=r"2/a\.fits: has the name of .*1/a\.fits, which is a different file"):
            database.add_files(paths)
        assert not (root / "calib").exists()

    def test_one_file_named_twice(self, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        path = write_calibration(tmp_path / "a.fits")
        database.add_files([path, path])
        assert len(database.records()) == 1
        assert stored_names(root) == ["a.fits"]

    def test_different_file_of_that_name_in_the_store(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        record = add("a.fits")
        other = write_calibration(tmp_path / "other" / "a.fits", 2.0)
        fresh = write_calibration(tmp_path / "b.fits")
        with pytest.raises(InputError, match=r"other/a\.fits: the store has a different file of this name, .*calib/a"):
            database.add_files([fresh, other])
        assert database.records() == [record]
        assert database.state_of(record) == "intact"
        assert stored_names(root) == ["a.fits"]


class TestReplacing:
    def test_new_file_takes_the_place(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        add("a.fits")
        other = write_calibration(tmp_path / "other" / "a.fits", 2.0)
        record = database.add(other, replace=True)
        assert database.records() == [record]
        assert database.state_of(record) == "intact"
        assert stored_names(root) == ["a.fits"]

    def test_other_rows_of_the_replaced_file_are_retired(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, tmp_path: Path
    ) -> None:
        former = add("a.fits", reference=True)
        bystander = add("b.fits", reference=True)
        other = write_calibration(tmp_path / "other" / "a.fits", 2.0)
        record = database.add(other, replace=True)
        assert database.records() == [dataclasses.replace(former, used=False), record, bystander]
        assert database.choose("BADPIX", None, NOON) == record

    def test_same_file_again_retires_nothing(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, tmp_path: Path
    ) -> None:
        add("a.fits", reference=True)
        database.add(tmp_path / "made" / "a.fits", replace=True)
        assert [record.used for record in database.records()] == [True, True]


class TestNothingHalfDone:
    @pytest.fixture(params=["row", "commit"])
    def broken(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Makes the database fail at the row or, files placed, at the very end."""

        def fail(*_: object) -> None:
            raise sqlalchemy.exc.OperationalError("INSERT", None, sqlite3.OperationalError("disk full"))

        def breaking() -> None:
            if request.param == "row":
                monkeypatch.setattr(caltable.Rows, "write", fail)
            else:
                monkeypatch.setattr(sqlalchemy.engine.RootTransaction, "commit", fail)

        return breaking

    def test_fresh_copies_are_removed(
        self, broken: Callable[[], None], database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        paths = [write_calibration(tmp_path / f"{name}.fits") for name in "ab"]
        broken()
        with pytest.raises(OutputError, match=r": cannot write the calibration database: disk full"):
            database.add_files(paths)
        assert stored_names(root) == []
        assert all(path.exists() for path in paths)

    def test_replaced_file_comes_back(
        self,
        add: Callable[..., CalibrationRecord],
        broken: Callable[[], None],
        database: CalibrationDatabase,
        root: Path,
        tmp_path: Path,
    ) -> None:
        record = add("a.fits")
        other = write_calibration(tmp_path / "other" / "a.fits", 2.0)
        broken()
        with pytest.raises(OutputError, match="disk full"):
            database.add(other, replace=True)
        assert database.records() == [record]
        assert database.state_of(record) == "intact"
        assert stored_names(root) == ["a.fits"]

    def test_file_that_was_in_the_store_stays(
        self, broken: Callable[[], None], database: CalibrationDatabase, root: Path
    ) -> None:
        path = write_calibration(root / "calib" / "a.fits")
        broken()
        with pytest.raises(OutputError, match="disk full"):
            database.add(path)
        assert stored_names(root) == ["a.fits"]

    def test_failing_copy(
        self, database: CalibrationDatabase, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths = [write_calibration(tmp_path / f"{name}.fits") for name in "ab"]
        copy = calstore.shutil.copyfile

        def failing(source: Path, target: Path) -> None:
            copy(source, target)
            if source.name == "b.fits":
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(calstore.shutil, "copyfile", failing)
        with pytest.raises(OutputError, match=r"calib/b\.fits: cannot be written: No space left"):
            database.add_files(paths)
        assert stored_names(root) == []
        assert not (root / "calib" / "flatcore.db").exists()

    def test_failing_rename(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        add("z.fits")
        paths = [write_calibration(tmp_path / f"{name}.fits") for name in "ab"]
        rename = Path.replace

        def failing(self: Path, target: Path) -> Path:
            if target.name == "b.fits":
                raise OSError(5, "Input/output error")
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", failing)
        with pytest.raises(OutputError, match=r"calib/b\.fits: cannot be written: Input/output error"):
            database.add_files(paths)
        assert [record.filename for record in database.records()] == ["z.fits"]
        assert stored_names(root) == ["z.fits"]

    def test_namesake_that_came_while_copying(
        self, database: CalibrationDatabase, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_calibration(tmp_path / "a.fits")
        stage = calstore.Delivery.stage

        def overtaken(self: calstore.Delivery, sources: list[Path]) -> list[str]:
            hashes = stage(self, sources)
            write_calibration(root / "calib" / "a.fits", 2.0)
            return hashes

        monkeypatch.setattr(calstore.Delivery, "stage", overtaken)
        with pytest.raises(InputError, match="the store has a different file of this name"):
            database.add(path)
        assert fits.getdata(root / "calib" / "a.fits")[0, 0] == 2.0
        assert stored_names(root) == ["a.fits"]
        if database.table.backend.file:
            with pytest.raises(CalibrationError, match="no calibration database"):
                database.records()


class TestRecords:
    def test_sorted_by_key_fibre_and_time(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("shape.fits", 0, "SHAPEL")
        add("c.fits", 0, "LOC_LOCO", "C")
        add("late.fits", 2, "LOC_LOCO", "AB")
        add("early.fits", 1, "LOC_LOCO", "AB")
        assert [r.filename for r in database.records()] == ["early.fits", "late.fits", "c.fits", "shape.fits"]
        assert [r.filename for r in database.records("LOC")] == ["early.fits", "late.fits", "c.fits"]
        assert [r.filename for r in database.records("loc_loco", "C")] == ["c.fits"]
        assert [r.filename for r in database.records(fiber="")] == ["shape.fits"]
        assert database.records("FLAT") == []


class TestChoosing:
    @pytest.mark.parametrize(
        ("mode", "hours", "expected"),
        [
            ("closest", -13, "before"),
            ("closest", -11, "noon"),
            ("closest", 0, "noon"),
            ("closest", 13, "after"),
            ("older", 0, "noon"),
            ("older", 23, "noon"),
            ("older", -1, "before"),
            ("newer", 0, "noon"),
            ("newer", -23, "noon"),
            ("newer", 1, "after"),
        ],
    )
    def test_modes(
        self, mode: str, hours: int, expected: str, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        for name, days in (("before", -1), ("noon", 0), ("after", 1)):
            add(f"{name}.fits", days)
        chosen = database.choose("BADPIX", "AB", NOON + 3600 * hours, mode=mode)
        assert chosen.filename == f"{expected}.fits"

    def test_equally_far_the_older(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a_after.fits", 1)
        add("b_before.fits", -1)
        assert database.choose("BADPIX", None, NOON).filename == "b_before.fits"

    def test_of_one_time_the_first_by_name(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("b.fits")
        add("a.fits")
        assert database.choose("BADPIX", None, NOON).filename == "a.fits"

    def test_fibres_are_apart(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("ab.fits", 3, "LOC_LOCO", "AB")
        add("c.fits", 0, "LOC_LOCO", "C")
        assert database.choose("LOC", "AB", NOON).filename == "ab.fits"
        assert database.choose("LOC", "C", NOON).filename == "c.fits"

    def test_alias_in_the_question(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("dark.fits", 0, "DARK_REF")
        assert database.choose("DARKM", None, NOON).keyname == "DARKREF"

    def test_age_up_to_the_limit(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits")
        for sign in (1, -1):
            assert database.choose("BADPIX", None, NOON + sign * 7 * DAY).filename == "a.fits"
            with pytest.raises(CalibrationError):
                database.choose("BADPIX", None, NOON + sign * (7 * DAY + 1))
        assert database.choose("BADPIX", None, NOON + 9 * DAY, max_age_days=9).filename == "a.fits"
        assert database.choose("BADPIX", None, NOON + 1e4 * DAY, max_age_days=float("inf")).filename == "a.fits"
        assert database.choose("BADPIX", None, NOON, max_age_days=0).filename == "a.fits"

    def test_reference_of_any_age(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("ref.fits", reference=True)
        assert database.choose("BADPIX", None, NOON + 1000 * DAY).filename == "ref.fits"

    def test_reference_competes_by_time(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("ref.fits", -2, reference=True)
        add("near.fits", 1)
        assert database.choose("BADPIX", None, NOON).filename == "near.fits"
        assert database.choose("BADPIX", None, NOON - DAY).filename == "ref.fits"

    def test_reference_where_the_closest_is_too_far(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("ref.fits", -100, reference=True)
        add("far_ref.fits", -200, reference=True)
        add("near.fits", -10)
        assert database.choose("BADPIX", None, NOON).filename == "ref.fits"

    def test_reference_keeps_to_the_side_asked_for(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("ref.fits", 1, reference=True)
        with pytest.raises(CalibrationError, match="none is older"):
            database.choose("BADPIX", None, NOON, mode="older")

    def test_one_file_as_both_comes_as_reference(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, tmp_path: Path
    ) -> None:
        add("a.fits")
        database.add(tmp_path / "made" / "a.fits", reference=True)
        assert database.choose("BADPIX", None, NOON).reference

    def test_rows_out_of_use(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits")
        execute(database, 'UPDATE calibrations SET "USED" = 0')
        with pytest.raises(CalibrationError, match="all of the 1 there are out of use"):
            database.choose("BADPIX", None, NOON)
        add("b.fits", 5)
        assert database.choose("BADPIX", None, NOON).filename == "b.fits"


class TestChoosingNothing:
    def test_none_with_this_key(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits")
        add("l.fits", 0, "LOC_LOCO", "AB")
        with pytest.raises(CalibrationError) as caught:
            database.choose("FLAT", "AB", NOON)
        assert str(caught.value) == (
            "no FLAT calibration of fibre AB for the observation of 2020-08-31T12:00:00.000 in "
            f"{database.name}: none with this key; known keys: BADPIX, LOC; "
            "add files with: flatcore calib add FILE"
        )

    def test_none_of_this_fibre(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("ab.fits", 0, "LOC_LOCO", "AB")
        add("c.fits", 0, "LOC_LOCO", "C")
        for fiber in ("A", None):
            with pytest.raises(CalibrationError, match="none of this fibre; known fibres: AB, C; add files with"):
                database.choose("LOC", fiber, NOON)

    def test_too_old(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits", -12.25)
        add("b.fits", -20)
        with pytest.raises(CalibrationError) as caught:
            database.choose("BADPIX", "AB", NOON)
        message = str(caught.value)
        assert message.startswith("no BADPIX calibration for the observation of 2020-08-31T12:00:00.000 in ")
        assert "the closest one, a.fits, is 12.25 days older, further than 7 days; no reference one; add" in message

    def test_too_new(self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase) -> None:
        add("a.fits", 0.5)
        with pytest.raises(
            CalibrationError, match=r"closest newer one, a\.fits, is 0\.5 days newer, further than 0\.1"
        ):
            database.choose("BADPIX", None, NOON, mode="newer", max_age_days=0.1)

    @pytest.mark.parametrize(("mode", "days", "side"), [("older", 2, "newer"), ("newer", -2, "older")])
    def test_none_on_that_side(
        self, mode: str, days: int, side: str, add: Callable[..., CalibrationRecord], database: CalibrationDatabase
    ) -> None:
        add("a.fits", days)
        with pytest.raises(CalibrationError, match=rf"none is {mode}; the closest, a\.fits, is 2\.00 days {side}"):
            database.choose("BADPIX", None, NOON, mode=mode)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "nearest"}, "unknown choice of calibrations 'nearest': expected closest, older, newer"),
            ({"max_age_days": -1.0}, r"largest age of a calibration = -1\.0 days: must be 0 or more"),
            ({"max_age_days": float("nan")}, "= nan days"),
            ({"unixtime": float("nan")}, "nan s since 1970 is not a time"),
        ],
    )
    def test_wrong_question(self, options: dict[str, object], message: str, database: CalibrationDatabase) -> None:
        with pytest.raises(UsageError, match=message):
            database.choose("BADPIX", None, **{"unixtime": NOON} | options)  # type: ignore[arg-type]


class TestStore:
    def test_missing_file(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path
    ) -> None:
        record = add("a.fits", 0, "LOC_LOCO", "AB")
        (root / "calib" / "a.fits").unlink()
        assert database.state_of(record) == "missing"
        with pytest.raises(
            CalibrationError, match=r"calib/a\.fits: missing, though recorded as LOC of fibre AB in .+; put"
        ):
            database.path_of(record)

    def test_changed_file(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path
    ) -> None:
        record = add("a.fits")
        with (root / "calib" / "a.fits").open("ab") as file:
            file.write(b"more")
        assert database.state_of(record) == "changed"


class TestDatabaseFile:
    """What only an SQLite file can suffer."""

    @pytest.fixture
    def database_url(self) -> None:
        return None

    def test_reading_what_does_not_exist_creates_nothing(self, database: CalibrationDatabase, root: Path) -> None:
        for reading in (database.records, lambda: database.choose("LOC", "AB", NOON)):
            with pytest.raises(
                CalibrationError, match=r"no calibration database at .*flatcore\.db; add files with: fl"
            ):
                reading()
        assert list(root.iterdir()) == []

    def test_database_whose_first_file_is_being_added(self, database: CalibrationDatabase, root: Path) -> None:
        (root / "calib").mkdir()
        (root / "calib" / "flatcore.db").touch()
        with pytest.raises(CalibrationError, match="no calibration database at"):
            database.records()

    def test_corrupt(self, database: CalibrationDatabase, root: Path, tmp_path: Path) -> None:
        (root / "calib").mkdir()
        (root / "calib" / "flatcore.db").write_bytes(b"not a database " * 100)
        with pytest.raises(
            CalibrationError, match=r"flatcore\.db: cannot read the calibration .*file is not a database"
        ):
            database.records()
        with pytest.raises(OutputError, match=r"flatcore\.db: cannot write the calibration .*file is not a database"):
            database.add(write_calibration(tmp_path / "a.fits"))
        assert stored_names(root) == []

    def test_table_of_another_kind(self, database: CalibrationDatabase, root: Path) -> None:
        (root / "calib").mkdir()
        connection = sqlite3.connect(root / "calib" / "flatcore.db")
        connection.execute("CREATE TABLE calibrations (x)")
        connection.close()
        with pytest.raises(CalibrationError, match=r"flatcore\.db: cannot read .*no such column"):
            database.records()

    def test_data_root_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "root").write_text("a file where a folder should be")
        database = CalibrationDatabase.open(tmp_path / "root")
        with pytest.raises(OutputError, match=r"root/calib/a\.fits: cannot be written: Not a directory"):
            database.add(write_calibration(tmp_path / "a.fits"))
        with pytest.raises(CalibrationError, match="no calibration database"):
            database.records()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_read_only_data_root(
        self, add: Callable[..., CalibrationRecord], database: CalibrationDatabase, root: Path, tmp_path: Path
    ) -> None:
        record = add("a.fits")
        (root / "calib" / "flatcore.db").chmod(0o444)
        (root / "calib").chmod(0o555)
        try:
            assert database.records() == [record]
            with pytest.raises(OutputError, match=r"b\.fits: cannot be written"):
                database.add(write_calibration(tmp_path / "b.fits"))
        finally:
            (root / "calib").chmod(0o755)

    def test_one_that_others_keep_locked(
        self,
        add: Callable[..., CalibrationRecord],
        database: CalibrationDatabase,
        root: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        add("a.fits")
        monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
        holder = sqlite3.connect(root / "calib" / "flatcore.db", isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            assert len(database.records()) == 1  # reading goes on
            with pytest.raises(OutputError, match="cannot write the calibration database: database is locked"):
                database.add(write_calibration(tmp_path / "b.fits"))
        finally:
            holder.close()
        assert stored_names(root) == ["a.fits"]


class TestUrl:
    def test_sqlite_elsewhere(self, root: Path, tmp_path: Path) -> None:
        database = CalibrationDatabase.open(root, f"sqlite:///{tmp_path / 'other.db'}")
        record = database.add(write_calibration(tmp_path / "a.fits"))
        assert database.name == str(tmp_path / "other.db")
        assert database.records() == [record]
        assert stored_names(root) == ["a.fits"]
        assert not (root / "calib" / "flatcore.db").exists()

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("no url", r"URL cannot be used: expected postgresql://user@host/name or sqlite:///FILE"),
            ("nosuch://host/name", "nosuch is not supported: expected postgresql or sqlite"),
            ("mysql://host/name", "mysql is not supported"),
            ("postgresql+asyncpg://host/name", "asyncpg is not supported"),
            ("sqlite://", "in memory it would be lost"),
            ("sqlite:///:memory:", "in memory it would be lost"),
        ],
    )
    def test_unusable(self, url: str, message: str, root: Path) -> None:
        with pytest.raises(UsageError, match=message):
            CalibrationDatabase.open(root, url)

    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
    def test_password_and_driver_are_not_shown(self, scheme: str, root: Path) -> None:
        pytest.importorskip("psycopg")
        database = CalibrationDatabase.open(root, f"{scheme}://me:secret@host/calibrations")
        assert database.name == "postgresql://me:***@host/calibrations"

    def test_missing_driver(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object, **__: object) -> None:
            raise ModuleNotFoundError("No module named 'psycopg'")

        monkeypatch.setattr(engine.sql, "create_engine", missing)
        with pytest.raises(UsageError, match=r"'psycopg'\): pip install 'flatcore\[postgresql\]'"):
            CalibrationDatabase.open(root, "postgresql://host/name")

    def test_empty_is_none(self, root: Path) -> None:
        assert CalibrationDatabase.open(root, "").name == str(root / "calib" / "flatcore.db")

    def test_rows_are_renewed_in_both_dialects(self) -> None:
        # The statement is the one part that differs between engines.
        dialects = {
            "sqlite": sqlalchemy.dialects.sqlite.dialect(),
            "postgresql": sqlalchemy.dialects.postgresql.dialect(),
        }
        for name, dialect in dialects.items():
            insert = caltable.insert_of(name)(caltable.CALIBRATIONS).values(KEYNAME="LOC")
            upsert = insert.on_conflict_do_update(index_elements=caltable.UNIQUE, set_={"PID": ""})
            text = str(upsert.compile(dialect=dialect))
            assert 'ON CONFLICT ("KEYNAME", "FIBER", "REFCAL", "FILENAME") DO UPDATE SET "PID" =' in text


class TestServer:
    """What only a PostgreSQL server can suffer."""

    def test_no_server(self, root: Path, tmp_path: Path) -> None:
        pytest.importorskip("psycopg")
        database = CalibrationDatabase.open(root, f"postgresql://me@/name?host={tmp_path}")
        with pytest.raises(CalibrationError, match=r"/name.*: cannot read the calibration database: connection .*fail"):
            database.records()
        with pytest.raises(OutputError, match="cannot write the calibration database: connection"):
            database.add(write_calibration(tmp_path / "a.fits"))
        assert stored_names(root) == []

    def test_empty_database(self, root: Path) -> None:
        database = CalibrationDatabase.open(root, fresh_postgresql())
        with pytest.raises(CalibrationError, match="no calibration database at postgresql://flatcore@/postgres"):
            database.records()

    def test_one_that_others_keep_locked(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = fresh_postgresql()
        database = CalibrationDatabase.open(root, url)
        database.add(write_calibration(tmp_path / "a.fits"))
        monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
        with Backend.of(root, url).writing():
            assert len(database.records()) == 1  # reading goes on
            with pytest.raises(OutputError, match=r"cannot write the calibration database: .*lock timeout"):
                database.add(write_calibration(tmp_path / "b.fits"))
        assert stored_names(root) == ["a.fits"]

    def test_two_data_roots_share_one(self, tmp_path: Path) -> None:
        url = fresh_postgresql()
        made = [write_calibration(tmp_path / name) for name in ("a.fits", "b.fits")]
        for path, root in zip(made, ("one", "two"), strict=True):
            (tmp_path / root).mkdir()
            CalibrationDatabase.open(tmp_path / root, url).add(path)
        assert len(CalibrationDatabase.open(tmp_path / "one", url).records()) == 2
        assert not (tmp_path / "one" / "calib" / "flatcore.db").exists()
