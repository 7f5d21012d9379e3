"""Nights found and planned: dates in names, calibrations by time, causes, and failures that may pass."""

import datetime
import errno
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatcore.caldb import CalibrationRecord, CalibrationSnapshot
from flatcore.caldb.keys import DAY_S
from flatcore.errors import BusyError, CalibrationError, FlatcoreError, InputError, OutputError, UsageError
from flatcore.nights.causes import causes, pattern_of
from flatcore.nights.failure import Failure
from flatcore.nights.found import NightFilter, date_of, date_of_text, find_sets
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.site import Folder, site_of
from tests.many import make_nights

NOW = 1_600_000_000.0


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("2020-08-31", (2020, 8, 31)),
        ("run7/20200831", (2020, 8, 31)),
        ("2020_08_31_bis", (2020, 8, 31)),
        ("spirou-2020-13-01", None),
        ("12020-08-31", None),
        ("night", None),
    ],
)
def test_dates_in_names(name, day):
    assert date_of(name) == (datetime.date(*day) if day else None)


def test_dates_on_the_command_line():
    today = datetime.date(2020, 9, 7)
    assert date_of_text("7d", "--since", today) == datetime.date(2020, 8, 31)
    assert date_of_text("1w", "--since", today) == datetime.date(2020, 8, 31)
    assert date_of_text(" 2020-08-31 ", "--since") == datetime.date(2020, 8, 31)
    for text in ("", "d", "-3d", "31.8.2020", "2020-02-30"):
        with pytest.raises(UsageError, match="--until"):
            date_of_text(text, "--until", today)


def test_a_night_without_a_date_is_not_in_a_range_of_dates():
    wanted = NightFilter(first=datetime.date(2020, 1, 1))
    assert wanted.means("2020-01-01") and not wanted.means("2019-12-31") and not wanted.means("night")
    assert NightFilter(last=datetime.date(2020, 1, 1)).means("2019-12-31")
    with pytest.raises(UsageError, match="--kind DARK_DARK"):
        NightFilter(kinds=("DARK_DARK",))


def test_nights_lie_at_any_depth_and_links_are_the_files_they_lead_to(small_night, tmp_path):
    root = tmp_path / "root"
    make_nights(small_night, root, 1)
    deep = root / "tmp" / "2021" / "2021-01-01"
    deep.mkdir(parents=True)
    frame = sorted((root / "tmp" / "2020-08-01").iterdir())[0]
    (deep / "a_pp.fits").symlink_to(frame)
    (deep / frame.name).write_bytes(frame.read_bytes())
    (deep / "b_pp.fits").symlink_to(deep / frame.name)
    (root / "tmp" / ".hidden").mkdir()
    (root / "tmp" / ".hidden" / "c_pp.fits").write_bytes(b"")
    (root / "tmp" / "empty").mkdir()
    site = Folder(root)
    assert site.nights() == ["2020-08-01", "2021/2021-01-01"]
    assert [file.name for file in site.files("2021/2021-01-01")] == [frame.name, "a_pp.fits"]
    with pytest.raises(InputError, match="no such folder"):
        Folder(tmp_path / "nowhere").nights()


def test_a_data_root_is_a_folder_or_a_storage(tmp_path):
    assert site_of(str(tmp_path), None).frames_root == str(tmp_path / "tmp")
    assert site_of(f"file://{tmp_path}", None).frames_root == str(tmp_path / "tmp")
    memory = site_of("memory://data/", "sqlite:///any.db")
    assert memory.frames_root == "memory://data/tmp"
    assert memory.nights() == []


records = st.builds(
    CalibrationRecord,
    st.sampled_from(["BADPIX", "LOC", "FLAT"]),
    st.just(""),
    st.booleans(),
    st.sampled_from([f"{letter}.fits" for letter in "abcdefgh"]),
    st.just(""),
    st.floats(-30, 30).map(lambda days: NOW + days * DAY_S),
    st.just(""),
    st.just(""),
    st.booleans(),
    st.just("sha"),
)


@given(st.lists(records, max_size=20, unique_by=lambda r: (r.keyname, r.reference, r.filename)), st.floats(0, 40))
def test_what_is_around_a_night_chooses_and_refuses_as_all_would(held, max_age_days):
    everything = CalibrationSnapshot(Path("/data/calib"), "db", tuple(held), elsewhere=True)
    known = KnownCalibrations(Path("/data/calib"), "db", elsewhere=True)
    known.learn(held)
    for key in ("BADPIX", "FLAT"):
        outcomes = []
        try:
            sources = [everything, known.around([(key, "")], NOW, max_age_days)]
        except CalibrationError:
            assert not held
            continue
        for source in sources:
            try:
                outcomes.append(source.choose(key, "", NOW, max_age_days=max_age_days))
            except CalibrationError as error:
                # Which other keys there are is not looked for.
                outcomes.append(str(error).split("; known keys")[0].split("known keys")[0])
        assert outcomes[0] == outcomes[1]


def test_what_is_learned_takes_the_place_of_what_was_known():
    def record(sha256, unixtime):
        return CalibrationRecord("FLAT", "A", False, "x_flat_A.fits", "", unixtime, "", "", True, sha256)

    known = KnownCalibrations(Path("/data/calib"), "db")
    known.learn([record("old", NOW)])
    known.learn([record("new", NOW)])
    assert [r.sha256 for r in known.made_before(NOW, 7.0)] == ["new"]
    assert known.made_before(NOW - 1.0, 7.0) == ()
    assert known.made_before(NOW + 8 * DAY_S, 7.0) == ()


def test_failures_of_one_cause_are_put_together():
    lack = (
        "no DARKREF calibration for the observation of 2020-08-{0:02d}T09:41:32.123 in /data/calib/flatcore.db: "
        "the closest one, dark_{0}.fits, is 8.{0} days older, further than 7 days; no reference one"
    )
    failed = [(f"2020-08-{n:02d}", f"2020-08-{n:02d} FLAT_FLAT", lack.format(n), 3) for n in range(1, 11)]
    failed.insert(3, ("x", "x FLAT_FLAT", "/data/x/1_pp.fits: truncated: the image ends at byte 7, the file at 5", 3))
    failed.append(("y", "y FLAT_FLAT", "/data/y/2_pp.fits: truncated: the image ends at byte 9, the file at 8", 3))
    failed.append(("z", "z DARK_FLAT", "no BADPIX calibration for the observation of 2020-08-31T00:00:00.000", 3))
    found = causes(failed)
    assert [len(cause.labels) for cause in found] == [10, 2, 1]
    assert found[0].text == failed[0][2]
    assert found[1].labels == ("x FLAT_FLAT", "y FLAT_FLAT")


def test_what_is_different_stays_different():
    assert pattern_of("a.fits: EXPTIME = 3.0, but b.fits has 5.0", "n") == pattern_of(
        "c.fits: EXPTIME = 1, but d.fits has 2", "m"
    )
    assert pattern_of("no DARKREF calibration", "n") != pattern_of("no BADPIX calibration", "n")
    assert pattern_of("fibre A: 3 orders", "n") != pattern_of("fibre B: 3 orders", "n")
    assert pattern_of("--fiber H2: unknown", "n") != pattern_of("--fiber H3: unknown", "n")


def locked():
    """What SQLite raises while another process writes for too long."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


@pytest.mark.parametrize(
    ("error", "passing", "exit_status"),
    [
        (BusyError("another run"), True, 3),
        (InputError("truncated"), False, 3),
        (ConnectionResetError("peer"), True, 3),
        (TimeoutError("late"), True, 3),
        (OSError(errno.ESTALE, "stale handle"), True, 3),
        (OSError(errno.ENOSPC, "disk full"), False, 3),
        (PermissionError(errno.EACCES, "denied", "/data/x"), False, 3),
        (locked(), True, 3),
        (OutputError("cannot be written"), False, 3),
        (MemoryError(), False, 3),
        (ValueError("a fault"), False, 1),
    ],
)
def test_which_failures_may_pass(error, passing, exit_status):
    failure = Failure.of(error)
    assert (failure.passing, failure.exit_status) == (passing, exit_status)
    # Whoever raised what flatcore did not foresee can be found.
    assert bool(failure.details) != isinstance(error, (FlatcoreError, MemoryError))
    if isinstance(error, PermissionError):
        assert failure.text == "/data/x: denied"


def test_what_led_to_a_failure_counts():
    try:
        try:
            raise ConnectionResetError("peer")
        except ConnectionResetError as error:
            raise OutputError("cannot be written") from error
    except OutputError as error:
        assert Failure.of(error).passing


def test_links_that_lead_up_are_not_followed(tmp_path):
    night = tmp_path / "tmp" / "2020" / "2020-08-31"
    night.mkdir(parents=True)
    (night / "1_pp.fits").touch()
    (night / "again").symlink_to(tmp_path / "tmp" / "2020")
    (tmp_path / "tmp" / "2020" / "all").symlink_to(tmp_path / "tmp")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "2_pp.fits").touch()
    (tmp_path / "tmp" / "2020-09-01").symlink_to(tmp_path / "elsewhere")
    assert Folder(tmp_path).nights() == ["2020-09-01", "2020/2020-08-31"]


def test_a_folder_that_may_not_be_read_is_a_problem_of_its_own(tmp_path, monkeypatch):
    for name in ("2020-08-30", "2020-08-31"):
        (tmp_path / "tmp" / name).mkdir(parents=True)
        (tmp_path / "tmp" / name / "1_pp.fits").touch()
    for name in ("scandir", "listdir"):
        original = getattr(os, name)

        def refusing(path, original=original):
            if str(path).endswith("2020-08-30"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return original(path)

        monkeypatch.setattr(os, name, refusing)
    site = Folder(tmp_path)
    assert site.nights() == ["2020-08-30", "2020-08-31"]
    first, second = find_sets(site, NightFilter())
    assert isinstance(first.problem, InputError)
    assert str(first.problem) == f"{tmp_path}/tmp/2020-08-30: cannot be read: Permission denied"
    assert "not a FITS file" in str(second.problem)


def test_a_frame_that_may_not_be_looked_at_is_named(tmp_path, monkeypatch):
    (tmp_path / "tmp" / "2020-08-30").mkdir(parents=True)
    path = tmp_path / "tmp" / "2020-08-30" / "1_pp.fits"
    path.touch()

    def refusing(_path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("flatcore.nights.site.read_header", refusing)
    (found,) = find_sets(Folder(tmp_path), NightFilter())
    assert str(found.problem) == f"{path}: cannot be read: Permission denied"
