"""Forty nights on workers that are killed, on clusters started by hand, and resumed: always the same end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from astropy.io import fits

from flatcore.caldb import CalibrationDatabase, RunLog
from flatcore.caldb.keys import DAY_S, unix_of_mjd
from tests.cli.command import run
from tests.many import (
    MJD_OF_FIRST,
    calibration_rows,
    copy_root,
    leftovers,
    make_nights,
    products,
    run_rows,
)

psutil = pytest.importorskip("psutil")
pytest.importorskip("distributed")

ONE_FIBER = ("--fiber", "C")
NIGHTS, FAULTS = 40, 6
LIMIT_S = 240.0


@pytest.fixture(scope="session")
def forty(small_night, tmp_path_factory):
    """Forty nights, six of which cannot be run, for five reasons; not to be changed."""
    root = tmp_path_factory.mktemp("forty") / "root"
    names = make_nights(small_night, root, NIGHTS)
    frames = [sorted((root / "tmp" / name).iterdir()) for name in names]
    frames[5][0].write_bytes(frames[5][0].read_bytes()[:200_000])
    frames[11][1].write_bytes(b"not a FITS file" * 100)
    with fits.open(frames[17][1], mode="update") as hdus:
        hdus[0].header["EXPTIME"] = 1.0
    (root / "red").mkdir()
    (root / "red" / names[23]).write_text("in the way")
    # Darks that are no references serve a week around them: none is left for the last two nights.
    database = CalibrationDatabase.open(root)
    path = database.path_of(database.records("DARKREF")[0])
    database.remove(database.records("DARKREF"), keep_files=True)
    for day in range(0, 31, 6):
        copy = path.with_name(f"dark_{day}.fits")
        shutil.copyfile(path, copy)
        database.add(copy, unixtime=unix_of_mjd(MJD_OF_FIRST + day) + 0.1 * DAY_S, keyname="DARKREF")
    path.unlink()
    return root


@pytest.fixture(scope="session")
def forty_done(forty, tmp_path_factory):
    """The forty nights run one after the other in one process; not to be changed."""
    root = copy_root(forty, tmp_path_factory.mktemp("forty_done") / "root")
    assert run("process", "--data-root", root, *ONE_FIBER, "--quiet") == 3
    return root


@contextlib.contextmanager
def started(*arguments, **options):
    """A process that does not outlive the block, nor do its children."""
    # A shell in the background has its children ignore Ctrl-C, which these must not inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], start_new_session=True, text=True, **options
    )
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()


def flatcore_process(root, *arguments):
    """The command with JSON on its standard output."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return started("flatcore", "process", "--data-root", root, "--json", *ONE_FIBER, *arguments, **pipes)


def wait_until(condition, process=None):
    """Wait for something, within reason."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "took too long"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def done_in(root):
    """Nights with products."""
    return len({path.parent for path in (root / "red").glob("*/*_flat_C.fits")})


def workers_of(process):
    """The processes in which nights are run."""
    children = psutil.Process(process.pid).children(recursive=True)
    found = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def statuses(root):
    return Counter(run.status for run in RunLog.open(root).records())


def assert_same_end(root, reference):
    assert products(root) == products(reference)
    assert calibration_rows(root) == calibration_rows(reference)
    assert not leftovers(root)


def test_one_after_the_other(forty_done):
    counts = Counter(row[2] for row in run_rows(forty_done))
    assert counts == {"done": NIGHTS - FAULTS, "error": FAULTS}
    assert done_in(forty_done) == NIGHTS - FAULTS


def test_two_workers_of_which_one_is_killed_twice(forty, forty_done, tmp_path):
    root = copy_root(forty, tmp_path / "root")
    with flatcore_process(root, "--workers", "2") as process:
        for number in (6, 18):
            wait_until(lambda: done_in(root) >= number, process)  # noqa: B023 - called at once
            workers_of(process)[0].kill()
        out, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3, errors
    told = json.loads(out)
    assert Counter(night["status"] for night in told["nights"]) == {"done": NIGHTS - FAULTS, "error": FAULTS}
    causes = sorted((len(cause["nights"]), cause["error"]) for cause in told["causes"])
    assert [count for count, _ in causes] == [1, 1, 1, 1, 2]
    words = " ".join(text for _, text in causes)
    for reason in ("truncated", "not a FITS file", "EXPTIME", "2020-08-24", "no DARKREF calibration"):
        assert reason in words, words
    # Nothing is lost or doubled: one run for each set, and the same products and calibrations.
    assert run_rows(root) == run_rows(forty_done)
    assert_same_end(root, forty_done)


def test_killed_as_a_whole_and_resumed(forty, forty_done, tmp_path):
    root = copy_root(forty, tmp_path / "root")
    with flatcore_process(root, "--workers", "2") as process:
        wait_until(lambda: done_in(root) >= 10, process)
        # Products are there before their run is told to be done.
        wait_until(lambda: statuses(root)["done"] >= 8, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    time.sleep(1.0)
    before = statuses(root)
    assert before["done"] >= 8 and before["running"] == 0
    with flatcore_process(root, "--workers", "2") as process:
        out, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3, errors
    after = Counter(night["status"] for night in json.loads(out)["nights"])
    assert after["skipped"] == before["done"]
    assert after["done"] == NIGHTS - FAULTS - before["done"]
    assert_same_end(root, forty_done)
    done = Counter(run.obs_dir for run in RunLog.open(root).records() if run.status == "done")
    assert set(done.values()) == {1} and len(done) == NIGHTS - FAULTS


@pytest.mark.parametrize("how", ["told to end", "Ctrl-C"])
def test_interrupted_it_ends_in_order(forty, tmp_path, how):
    root = copy_root(forty, tmp_path / "root")
    with flatcore_process(root, "--workers", "2") as process:
        wait_until(lambda: done_in(root) >= 4, process)
        if how == "Ctrl-C":
            # A terminal tells every process of the group, workers included.
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + (signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    assert "Traceback" not in errors and errors.splitlines()[-1] == (
        "interrupted: nights that are done stay done, and the same command does the rest"
    )
    statuses = Counter(run.status for run in RunLog.open(root).records())
    assert statuses["interrupted"] >= 1 and not statuses["running"] and not statuses["killed"]


def test_a_scheduler_and_workers_started_by_hand(forty, forty_done, tmp_path):
    root = copy_root(forty, tmp_path / "root")
    address_file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    worker = ("distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", address_file)
    with started(*scheduler, "--scheduler-file", address_file, **quiet) as one:
        wait_until(address_file.exists, one)
        with started(*worker, **quiet), started(*worker, **quiet):
            address = json.loads(address_file.read_text())["address"]
            assert address.startswith("tcp://")
            with flatcore_process(root, "--scheduler", address) as process:
                out, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3, errors
    assert Counter(night["status"] for night in json.loads(out)["nights"])["done"] == NIGHTS - FAULTS
    assert run_rows(root) == run_rows(forty_done)
    assert_same_end(root, forty_done)


def test_a_scheduler_that_does_not_answer(forty, capsys, monkeypatch):
    monkeypatch.setattr("flatcore.nights.cluster.CONNECT_TIMEOUT_S", 1.0)
    assert run("process", "--data-root", forty, *ONE_FIBER, "--scheduler", "tcp://127.0.0.1:9") == 3
    assert "--scheduler tcp://127.0.0.1:9: does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_nothing(small_night, tmp_path, workers):
    alone = tmp_path / "alone" / "root"
    make_nights(small_night, alone, 8)
    root = copy_root(alone, tmp_path / "root")
    assert run("process", "--data-root", alone, "--quiet") == 0
    assert run("process", "--data-root", root, "--workers", workers, "--quiet") == 0
    assert run_rows(root) == run_rows(alone)
    assert_same_end(root, alone)
