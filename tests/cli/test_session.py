"""Automation: locks, signals, killed runs, repeated runs, logs and records."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from astropy.io import fits
from filelock import FileLock

from flatcore import plots, session
from flatcore.caldb import RunLog
from flatcore.clock import Clock
from flatcore.errors import InputError
from flatcore.fingerprint import fingerprint_of
from flatcore.locks import is_held, night_lock
from flatcore.night import prepared
from flatcore.request import NightRequest
from tests.cli.command import OBS_DIR, Made, frames_of, refused, run

ROOT = Path(__file__).parents[2]

# Times a run is killed at a random moment. More on demand: FLATCORE_KILLS=1000 pytest -k killed
KILLS = int(os.environ.get("FLATCORE_KILLS", "200"))


def start(root, *options):
    """A run in a process of its own."""
    command = [sys.executable, "-m", "flatcore", "run", OBS_DIR, "--data-root", str(root), *options]
    # Where the tests run in the background, interrupts are ignored, and every process would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def temporaries(root):
    return [path for path in root.rglob(".*") if path.is_file() and path.suffix != ".lock"]


def pixels(root):
    """Image data of every product by file and HDU."""
    found = {}
    for path in sorted((root / "red" / OBS_DIR).glob("*.fits")):
        with fits.open(path) as hdus:
            found |= {(path.name, i): hdu.data.tobytes() for i, hdu in enumerate(hdus) if hdu.is_image and i}
    return found


def test_a_second_run_waits_or_refuses(night, capsys):
    (night / "red").mkdir()
    lock = FileLock(night / "red" / f".{OBS_DIR}.lock")
    with lock:
        said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--lock-timeout", "0", "--quiet")
        assert f"{night / 'red' / OBS_DIR}: another run is at work here" in said and "--lock-timeout" in said
        assert not list((night / "red").glob("*/*.fits"))
        waiting = start(night, "--quiet", "--fiber", "C", "--lock-timeout", "60")
        time.sleep(3)
        assert waiting.poll() is None
        assert not list((night / "red").glob("*/*.fits"))
    assert waiting.wait(60) == 0
    waiting.communicate()
    assert list((night / "red" / OBS_DIR).glob("*_flat_C.fits"))


def test_two_runs_at_once_do_not_mix(night):
    runs = [start(night, "--quiet"), start(night, "--quiet")]
    said = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    pids = set()
    for path in (night / "red" / OBS_DIR).glob("*_pp_*_*.fits"):
        with fits.open(path, checksum=True) as hdus:
            if hdus[0].header["DRSOUTID"] != "ORDERP_STRAIGHT":
                pids.add(hdus[0].header["DRSPID"])
    assert len(pids) == 1
    assert not temporaries(night)
    assert [record.status for record in RunLog.open(night).records()] == ["done", "done"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_clean_up(night, number, status):
    process = start(night, "--set", "blaze.median_width=501")
    while not list((night / "log").glob("*.jsonl")) and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert out == "" and "Traceback" not in err
    left = "interrupted: no file is half-written, and the same command makes the night anew"
    assert err.splitlines()[-1] == left
    assert not temporaries(night)
    (record,) = RunLog.open(night).records()
    assert (record.status, record.exit_status) == ("interrupted", status)
    # It does, even where nothing is done twice.
    assert run("run", OBS_DIR, "--data-root", night, "--quiet", "--skip-existing") == 0
    assert [record.status for record in RunLog.open(night).records()] == ["done", "interrupted"]


def test_a_quiet_run_says_no_more_than_that_it_was_interrupted(night, capsys, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("flatcore.session.make", interrupted)
    assert refused(capsys, 130, "run", OBS_DIR, "--data-root", night, "--quiet").strip() == "interrupted"
    assert "interrupted: no file is" in refused(capsys, 130, "run", OBS_DIR, "--data-root", night)


def test_killed_at_any_moment(night, capsys):
    whole = Made(capsys, night, "--database", "False")
    expected, names = pixels(night), {path.name for path in (night / "red" / OBS_DIR).glob("*.fits")}
    longest = 1.5 * sum(whole.summary["seconds"].values()) + 0.1
    for path in (night / "red" / OBS_DIR).glob("*.fits"):
        path.unlink()
    command = ["-W", "error", "-m", "tests.cli.killer", str(night), OBS_DIR, str(KILLS), str(longest), "7"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    # Some were done before the kill, most were not.
    assert 0 < int(done.stdout) < KILLS
    # The next run repairs: nothing half-written is left, and it makes what an undisturbed one makes.
    made = Made(capsys, night)
    assert pixels(night) == expected
    assert {path.name for path in (night / "red" / OBS_DIR).iterdir()} == names
    assert not temporaries(night / "red")
    statuses = [record.status for record in RunLog.open(night).records()]
    assert statuses[0] == "done" and set(statuses) <= {"done", "killed"}
    assert run("calib", "verify", "--data-root", night) == 0, capsys.readouterr()
    assert made.summary["passed"]


def test_the_same_again_is_the_same_to_the_byte(night, capsys):
    Made(capsys, night)
    first = pixels(night)
    Made(capsys, night)
    assert pixels(night) == first


def test_skip_existing(night, capsys):
    made = Made(capsys, night, "--skip-existing")
    stamps = {path: path.stat().st_mtime_ns for path in made.paths.values()}
    again = Made(capsys, night, "--skip-existing")
    assert again.summary["skipped"] is True and again.summary["pid"] == made.summary["pid"]
    assert {path: path.stat().st_mtime_ns for path in made.paths.values()} == stamps
    assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--skip-existing") == 0
    assert f"nothing to do: {made.summary['pid']} made these products" in capsys.readouterr().out
    # Other names of the run change nothing; anything else does.
    assert Made(capsys, night, "--skip-existing", "--shortname", "X").summary.get("skipped")
    assert not Made(capsys, night, "--skip-existing", "--darkcorr", "False").summary.get("skipped")
    os.utime(frames_of(night)[0])
    assert not Made(capsys, night, "--skip-existing").summary.get("skipped")
    made.path().unlink()
    assert not Made(capsys, night, "--skip-existing").summary.get("skipped")


def assert_one_made_it(root, told):
    """One of two runs made the products, and the other found them."""
    skipped, made = sorted(told, key=lambda one: not one.get("skipped"))
    assert skipped.get("skipped") and not made.get("skipped") and skipped["pid"] == made["pid"]
    (record,) = RunLog.open(root).records()
    assert (record.pid, record.status, record.instrument) == (made["pid"], "done", "SMALL")


def test_of_two_skipping_runs_at_once_one_does_nothing(night):
    runs = [start(night, "--skip-existing", "--json", "--quiet") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert_one_made_it(night, [json.loads(out) for out, _ in said])


def test_a_skipping_run_looks_again_when_the_night_is_its_own(night, monkeypatch):
    """Two runs in step: both have looked, and found nothing, before either holds the night."""
    request = NightRequest(OBS_DIR, night, fiber="C")
    looked, look, of_thread = threading.Barrier(2, timeout=60), session.same_run, threading.local()

    def look_together(*arguments):
        found = look(*arguments)
        if not hasattr(of_thread, "looked"):
            of_thread.looked = True
            looked.wait()
        return found

    monkeypatch.setattr(session, "same_run", look_together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(session.run_session, request, skip_existing=True) for _ in range(2)]
    assert_one_made_it(night, [run.result().summary for run in runs])


def test_a_window_holds_up_nobody(night, monkeypatch):
    def look(*_, **__):
        (record,) = RunLog.open(night).records()
        assert (record.status, is_held(night / "red" / OBS_DIR)) == ("done", False)
        raise InputError("no screen")

    monkeypatch.setattr(plots, "show_figures", look)
    request = NightRequest(OBS_DIR, night, fiber="C", assignments=("output.figures=1",))
    assert session.run_session(request).summary["figure_problems"] == ["figures could not all be drawn: no screen"]


@pytest.mark.parametrize("options", [(), ("--skip-existing",)])
def test_a_run_that_waited_in_vain_is_recorded(night, capsys, options):
    Made(capsys, night, "--fiber", "C")
    (path,) = (night / "red" / OBS_DIR).glob("*_flat_C.fits")
    path.unlink()
    with night_lock(night / "red" / OBS_DIR, 0.0):
        refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--lock-timeout", "0", *options)
    record = RunLog.open(night).records()[0]
    assert (record.status, record.exit_status, record.instrument) == ("error", 3, "SMALL")
    assert "another run is at work here" in record.record["error"]


def test_fingerprint_tells_nights_apart(night):
    def fingerprint(**changes):
        with prepared(NightRequest(OBS_DIR, night, **changes), Clock()) as prepared_night:
            return fingerprint_of(prepared_night)

    usual = fingerprint()
    assert usual == fingerprint(settings={"run": {"shortname": "other"}}, threads=1)
    others = [
        fingerprint(fiber="C"),
        fingerprint(preset="apero"),
        fingerprint(assignments=("qc.max_rms=0.04",)),
        fingerprint(files=("2510100f_pp.fits", "2510101f_pp.fits", "2510102f_pp.fits")),
        fingerprint(calibration_files={"DARKREF": str(next((night / "calib").glob("*dark_ref.fits")))}, out_dir="x"),
    ]
    assert len({usual, *others}) == 6


def test_log_and_record(night, capsys):
    made = Made(capsys, night)
    pid = made.summary["pid"]
    lines = [json.loads(line) for line in (night / "log" / f"{pid}.jsonl").read_text().splitlines()]
    assert all(line["pid"] == pid and line["time"].endswith("+00:00") for line in lines)
    assert any(line["message"].startswith(f"{OBS_DIR}: 4 FLAT_FLAT frames of SMALL") for line in lines)
    record = RunLog.open(night).get(pid)
    assert (record.status, record.exit_status, record.shortname) == ("done", 0, "FF")
    told = record.record
    assert set(told["input_sha256"]) == {path.name for path in frames_of(night)}
    assert told["input_sha256"][frames_of(night)[0].name] == sha256(frames_of(night)[0])
    assert {"flatcore", "numpy", "scipy", "astropy", "python"} <= set(told["versions"])
    assert all(product["sha256"] for product in told["products"])
    assert all(file["reason"].startswith("closest in time, 0.2") for file in told["calibrations"])
    assert told["settings"]["combine"]["method"] == "median" and told["profile"]["name"] == "SMALL"
    assert fits.getheader(made.path())["DRSPID"] == pid


def sha256(path):
    done = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_failures_are_recorded(night, capsys):
    path = next((night / "calib").glob("*_bmap.fits"))
    path.write_bytes(path.read_bytes()[:3000])
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "bmap.fits" in said
    (record,) = RunLog.open(night).records()
    assert (record.status, record.exit_status) == ("error", 3)
    assert "bmap.fits" in record.record["error"]
    (log,) = (night / "log").glob("*.jsonl")
    assert any(json.loads(line)["level"] == "error" for line in log.read_text().splitlines())


def test_runs_list_and_show(night, capsys):
    pid = Made(capsys, night, "--set", "blaze.cut=0.2").summary["pid"]
    assert run("runs", "list", "--data-root", night) == 0
    out = capsys.readouterr().out
    assert pid in out and OBS_DIR in out and "done" in out
    assert run("runs", "show", pid, "--data-root", night) == 0
    out = capsys.readouterr().out
    for text in (pid, frames_of(night)[0].name, "closest in time", "FF_BLAZE", "max_rms", "set blaze.cut=0.2"):
        assert text in out


def test_skip_existing_sees_products_of_other_settings(night, capsys):
    first = Made(capsys, night)
    Made(capsys, night, "--set", "blaze.cut=0.3")
    again = Made(capsys, night, "--skip-existing")
    assert not again.summary.get("skipped")
    assert again.header()["BLAZSCUT"] == 0.1 == first.header()["BLAZSCUT"]
    # The order profile that this run only read is needed too.
    next((night / "red" / OBS_DIR).glob("*orderps_C.fits")).unlink()
    assert not Made(capsys, night, "--skip-existing").summary.get("skipped")
    assert Made(capsys, night, "--skip-existing").summary.get("skipped")


def test_a_run_that_fails_before_it_starts_is_told_too(night, capsys):
    refused(capsys, 3, "run", OBS_DIR, "nothing.fits", "--data-root", night)
    (log,) = (night / "log").glob("*.jsonl")
    assert "nothing.fits" in log.read_text()
    (record,) = RunLog.open(night).records()
    assert (record.status, record.exit_status) == ("error", 3)
    assert "nothing.fits" in record.record["error"]


def test_leftovers_beside_the_products_are_removed_too(night, capsys):
    for name in ("red", "plot", "debug"):
        folder = night / name / OBS_DIR
        folder.mkdir(parents=True)
        (folder / ".x.fits.999.tmp").write_text("half")
    Made(capsys, night)
    assert not list(night.rglob("*.tmp"))
