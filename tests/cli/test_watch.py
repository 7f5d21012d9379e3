"""``flatcore watch`` as an observatory meets it: real processes, real runs, and whatever happens to them."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from astropy.io import fits

from flatcore.caldb import CalibrationDatabase, RunLog
from flatcore.cli.watch import PANELS, command
from flatcore.watch import waking
from flatcore.watch.alone import is_marked
from tests.cli.command import OBS_DIR, frames_of, refused, run
from tests.conftest import register

PATIENCE_S = 60.0
QUICK = ("--no-report", "--fiber", "C", "--settle", "0.2")


@pytest.fixture
def empty(night, tmp_path):
    """A data root with calibrations whose frames have not come yet, and a folder with the frames."""
    store = tmp_path / "telescope"
    shutil.move(night / "tmp" / OBS_DIR, store)
    return night, store


@contextlib.contextmanager
def watching(root, *options):
    """A watcher in a process of its own, that has begun; killed at the end if nobody ended it before."""
    log = root.parent / "watcher.log"
    log.touch()
    before = log.read_text().count(": following, ")
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flatcore", "watch", "--data-root", str(root), *map(str, options)],
            stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    try:
        wait_for(lambda: log.read_text().count(": following, ") > before, "it does not begin", process)
        yield process
    finally:
        process.kill()
        process.communicate()


def said(root):
    return (root.parent / "watcher.log").read_text()


def wait_for(condition, what, process=None):
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert process is None or process.poll() is None, "the watcher has ended"
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def end(process):
    process.terminate()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (143, "")


def records(root):
    return RunLog.open(root).records() if RunLog.open(root).exists() else []


def ended(root):
    return [record for record in records(root) if record.status != "running"]


def copy_slowly(store, folder, pause):
    """Copy frames out of order: one plainly in two halves, one by a name of its own, one that others keep writing."""
    frames = sorted(store.iterdir())
    folder.mkdir(parents=True)
    for number, frame in enumerate([frames[2], frames[0], frames[3], frames[1]]):
        contents = frame.read_bytes()
        target = folder / frame.name
        if number == 1:
            with target.open("wb") as file:
                file.write(contents[: len(contents) // 3])
                file.flush()
                time.sleep(4 * pause)
                file.write(contents[len(contents) // 3 :])
        elif number == 2:
            temporary = folder / f".{frame.name}.Zq81Xa"
            temporary.write_bytes(contents)
            time.sleep(4 * pause)
            temporary.rename(target)
        else:
            target.write_bytes(contents)
        time.sleep(pause)
    (folder / "observer.log").write_text("clouds")


@pytest.mark.parametrize("how", ["--poll", "--events"])
def test_frames_copied_in_slowly_run_once_after_the_last(empty, how, tmp_path):
    if how == "--events":
        pytest.importorskip("watchfiles")
    root, store = empty
    status, told = tmp_path / "flatcore.prom", tmp_path / "told.json"
    hook = f"sh -c 'cat >> {told}; echo $FLATCORE_STATUS $FLATCORE_OBS_DIR >> {told}.env'"
    options = ("--quiet-time", 1.5, "--settle", 0.2, "--poll-interval", 0.2, how, "--status", status, "--on-done", hook)
    with watching(root, *options) as process:
        # With a partial file and with a temporary one longer pauses than the quiet time: they are not the end.
        copy_slowly(store, root / "tmp" / OBS_DIR, 0.5)
        last = time.time()
        assert records(root) == []
        wait_for(lambda: ended(root), "no run", process)
        (record,) = records(root)
        assert record.status == "done"
        assert datetime.fromisoformat(record.started + "+00:00").timestamp() > last + 1.4
        wait_for(told.exists, "no hook", process)
        time.sleep(1.0)
        end(process)
    # A restart, and the same is not run again; nor is it by cron.
    with watching(root, *options) as process:
        time.sleep(2.0)
        end(process)
    assert run("watch", "--data-root", root, "--once", "--quiet-time", "0") == 0
    (record,) = records(root)
    summary = json.loads(told.read_text())
    assert summary["pid"] == record.pid and summary["passed"] is True
    assert summary["images"][0]["inputs"] == [path.name for path in frames_of(root)] and len(frames_of(root)) == 4
    assert {product["kind"] for product in summary["products"]} >= {"FF_FLAT", "FF_BLAZE"}
    assert (tmp_path / "told.json.env").read_text() == f"done {OBS_DIR}\n"
    (page,) = summary["pages"]
    assert Path(page).stat().st_size > 10_000
    text = status.read_text()
    assert f'flatcore_watch_runs_total{{tree="{root / "tmp"}",status="done"}} 1\n' in text
    assert f'flatcore_watch_up{{tree="{root / "tmp"}"}} 0\n' in text
    lines = said(root)
    assert f"{OBS_DIR} FLAT_FLAT: 4 frames, complete by 1.5 s of quiet; running" in lines
    assert f"{OBS_DIR} FLAT_FLAT: done in" in lines and "Traceback" not in lines and "warning" not in lines


def test_late_frames_replace_the_products_whole(empty, capsys):
    root, store = empty
    folder = root / "tmp" / OBS_DIR
    folder.mkdir(parents=True)
    frames = sorted(store.iterdir())
    for frame in frames[:3]:
        shutil.copyfile(frame, folder / frame.name)
    with watching(root, *QUICK, "--expect", 3, "--quiet-time", 1.5, "--poll", "--poll-interval", 0.2) as process:
        wait_for(lambda: len(ended(root)) == 1, "no run", process)
        shutil.copyfile(frames[3], folder / frames[3].name)
        wait_for(lambda: len(ended(root)) == 2, "not run again", process)
        end(process)
    counts = [len(record.record["images"][0]["inputs"]) for record in records(root)]
    assert counts == [4, 3]


def test_killed_with_its_run_in_the_middle_is_repaired(night):
    with watching(night, "--no-report", "--quiet-time", 0.5, "--settle", 0.2, "--poll") as process:
        record = wait_for(lambda: records(night), "no run", process)[0]
        process.kill()
        process.wait()
        os.kill(record.os_pid, signal.SIGKILL)
    with watching(night, "--no-report", "--quiet-time", 0.5, "--settle", 0.2, "--poll") as process:
        wait_for(lambda: [found for found in records(night) if found.status == "done"], "not repaired", process)
        time.sleep(0.5)
        end(process)
    assert [found.status for found in records(night)] == ["done", "killed"]
    assert len(list((night / "red" / OBS_DIR).glob("*_pp_flat_*.fits"))) == 4
    assert not [path for path in (night / "red").rglob(".*") if path.suffix == ".tmp"]


@pytest.mark.parametrize("moment", ["begun", "recorded"])
def test_killed_alone_its_run_goes_on_and_is_not_made_twice(night, tmp_path, moment):
    mark = night / "log" / ".watch.json.run"
    told = tmp_path / "told"
    options = ("--no-report", "--quiet-time", 0.5, "--settle", 0.2, "--poll", "--on-done", f"sh -c 'cat >> {told}'")
    with watching(night, *options) as process:
        wait_for(lambda: is_marked(mark) if moment == "begun" else records(night), "no run", process)
        process.kill()
        process.wait()
    with watching(night, *options) as process:
        # Whom nobody was told of, as the first watcher could not.
        wait_for(lambda: told.exists() and told.stat().st_size, "no hook", process)
        time.sleep(1.0)
        end(process)
    (record,) = records(night)
    assert record.status == "done"
    summary = json.loads(told.read_text())
    assert summary["pid"] == record.pid and summary["skipped"] is True


def test_a_signal_ends_the_run_too(night):
    with watching(night, "--no-report", "--quiet-time", 0.5, "--settle", 0.2, "--poll") as process:
        wait_for(lambda: records(night), "no run", process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143
    (record,) = records(night)
    assert (record.status, record.exit_status) == ("interrupted", 143)
    assert "it is run again at the next start" in said(night)
    assert "ended by signal 15; no file is half-written, and the next start goes on from here" in said(night)
    assert run("watch", "--data-root", night, "--once", "--quiet-time", "0", *QUICK) == 0
    assert [found.status for found in records(night)] == ["done", "interrupted"]


def test_once(night, capsys, tmp_path):
    status = tmp_path / "s.json"
    time.sleep(0.3)
    once = ("watch", "--data-root", night, "--once", *QUICK, "--status", status)
    assert run(*once, "--quiet-time", 3600) == 0
    assert records(night) == []
    assert "waiting for 3600 s of quiet" in capsys.readouterr().err
    assert run(*once, "--expect", 4, "--quiet-time", "off") == 0
    captured = capsys.readouterr()
    assert captured.out == "" and f"{OBS_DIR} FLAT_FLAT: done in" in captured.err
    assert json.loads(status.read_text())["nights"]["done"] == 1
    assert run(*once, "--quiet-time", 0) == 0
    assert len(records(night)) == 1


def test_failed_quality_control(night, tmp_path):
    told = tmp_path / "told"
    once = ("watch", "--data-root", night, "--once", "--quiet-time", 0, *QUICK, "--set", "qc.max_rms=0.0001")
    assert run(*once, "--on-fail", f"sh -c 'cat > {told}; exit 1'", "--on-done", "false") == 4
    assert json.loads(told.read_text())["passed"] is False
    # It is done, however bad; only other frames make it run again.
    assert run(*once) == 0
    assert [record.status for record in records(night)] == ["failed-qc"]


def test_a_night_that_fails_is_told_and_left_until_its_calibrations_change(night, capsys, tmp_path):
    told = tmp_path / "told"
    database = CalibrationDatabase.open(night)
    database.remove([record for record in database.records() if record.keyname == "SHAPEL"], keep_files=True)
    once = ("watch", "--data-root", night, "--once", "--quiet-time", 0, *QUICK, "--on-fail", f"sh -c 'cat > {told}'")
    assert run(*once) == 3
    failure = json.loads(told.read_text())
    assert (failure["status"], failure["exit_status"], failure["attempt"]) == ("error", 3, 1)
    assert "SHAPEL" in failure["error"] and len(failure["files"]) == 4
    assert "not tried again before its frames or the calibrations change" in capsys.readouterr().err
    assert run(*once) == 0
    assert len(records(night)) == 1
    register(night, night / "calib")
    assert run(*once) == 0
    assert [record.status for record in records(night)] == ["done", "error"]


def test_each_kind_of_frames_is_run_by_itself(night):
    for frame in frames_of(night)[:2]:
        copy = frame.with_name(f"dark_{frame.name}")
        shutil.copyfile(frame, copy)
        fits.setval(copy, "DPRTYPE", value="DARK_FLAT")
    science = frames_of(night)[0].with_name("science.fits")
    shutil.copyfile(frames_of(night)[-1], science)
    fits.setval(science, "DPRTYPE", value="OBJ_FP")
    assert run("watch", "--data-root", night, "--once", "--quiet-time", 0, *QUICK) == 0
    made = {record.record["images"][0]["inputs"][0][:4]: record.record["images"][0] for record in records(night)}
    assert {name: len(image["inputs"]) for name, image in made.items()} == {"dark": 2, "2510": 4}


def test_the_runs_get_the_options(night, tmp_path):
    runfile = tmp_path / "night.toml"
    runfile.write_text('preset = "apero"\nset = ["blaze.cut=0.3"]\nfiber = "AB"\n')
    options = ("--crunfile", runfile, "--fiber", "C", "--no-report", "--combine", "False", "--shortname", "NIGHTLY")
    more = ("--no_in_qc", "--force_outdir", "out", "--threads", "1", "--extract-method", "direct", "--plot", "0")
    assert run("watch", "--data-root", night, "--once", "--quiet-time", 0, *options, *more) == 0
    (record,) = records(night)
    settings = record.record["settings"]
    assert list(record.record["images"][0]["fibers"]) == ["C"] and len(record.record["images"]) == 4
    assert record.record["profile"]["blaze"]["cut"] == 0.3 and settings["blaze"]["cubic"] is False
    assert settings["extract"]["method"] == "direct" and settings["input"]["require_qc"] is False
    assert record.shortname == "NIGHTLY" and settings["output"]["report"] is False
    assert list((night / "out" / OBS_DIR).glob("*_blaze_C.fits"))
    # What is given wins over the run file, also where it is the default.
    assert run("watch", "--data-root", night, "--once", "--quiet-time", 0, *options, "--preset", "default",
               "--state", tmp_path / "other.json") == 0  # fmt: skip
    assert records(night)[0].record["settings"]["blaze"]["cubic"] is True


def test_what_never_becomes_whole_is_in_the_status(night, capsys):
    for name in ("broken", "copied"):
        (night / "tmp" / name).mkdir()
    contents = frames_of(night)[0].read_bytes()
    (night / "tmp" / "broken" / "short_pp.fits").write_bytes(contents[: len(contents) // 2])
    (night / "tmp" / "copied" / "left_pp.fits.part").write_bytes(contents[:4000])
    (night / "tmp" / OBS_DIR / "empty_pp.fits").touch()
    once = ("watch", "--data-root", night, "--once", "--quiet-time", 0, "--stall-time", 0, *QUICK)
    short = {"short_pp.fits": f"ends at byte {len(contents) // 2}, its headers declare {len(contents)}"}
    # The second time there is nothing to do.
    for _ in range(2):
        assert run(*once, "--status", night / "s.json") == 0
        told = json.loads((night / "s.json").read_text())
        assert (told["nights"]["stalled"], told["nights"]["done"]) == (2, 1)
        assert {(found["obs_dir"], found["kind"]): (found["state"], found["unfinished"]) for found in told["sets"]} == {
            (OBS_DIR, "FLAT_FLAT"): ("done", {"empty_pp.fits": "is empty"}),
            ("broken", "FLAT_FLAT"): ("stalled", short),
            ("copied", "unknown"): ("stalled", {"left_pp.fits.part": "is being copied"}),
        }
        assert "broken FLAT_FLAT: 1 frame, no frame is whole: short_pp.fits" in " ".join(
            capsys.readouterr().err.split()
        )
    assert run(*once, "--status", night / "s.prom") == 0
    lines = (night / "s.prom").read_text().splitlines()
    tree = f'tree="{night / "tmp"}"'
    assert f'flatcore_watch_nights{{{tree},state="stalled"}} 2' in lines
    assert f'flatcore_watch_unfinished_files{{{tree},obs_dir="broken",kind="FLAT_FLAT"}} 1' in lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--quiet-time", "soon"], "expected seconds, 0 or more, or off"),
        (["--quiet-time", "off"], "give --expect or --end-marker"),
        (["--plot", "1"], "--plot 1 opens a window"),
        (["--set", "calibration.max_age_days=-1"], "calibration.max_age_days"),
        (["--instrument", "SMALL", "--set", "blaze.cutt=0.1"], "blaze.cutt"),
        (["--instrument", "NONE"], "NONE"),
        (["--preset", "none"], "--preset none"),
        (["--status", "s.txt"], "--status s.txt"),
        (["--on-done", "mail 'open"], "--on-done"),
        (["--on-fail", ""], "--on-fail: expected a command"),
        (
            ["--on-done", "{root}/none.sh 'a night'"],
            "--on-done {root}/none.sh 'a night': {root}/none.sh: there is no such",
        ),
        (["--on-fail", "{root}/odd.toml"], "--on-fail {root}/odd.toml: {root}/odd.toml: is not executable"),
        (["--on-fail", "{root}/tmp"], "{root}/tmp: is a folder"),
        (["--on-done", "no-such-program x"], "--on-done no-such-program x: found no executable file 'no-such-program'"),
        (["--crunfile", "none.toml"], "--crunfile none.toml: no such file"),
        (["--crunfile", "{root}/odd.toml"], "idebug is not for runs that nobody attends"),
        (["--expect", "0"], "--expect"),
    ],
)
def test_what_is_wrong_is_said_at_once(night, capsys, options, expected):
    (night / "odd.toml").write_text("idebug = true\n")
    words = [option.replace("{root}", str(night)) for option in options]
    said = refused(capsys, 2, "watch", "--data-root", night, "--once", *words)
    assert expected.replace("{root}", str(night)) in " ".join(said.split())
    assert not (night / "log").exists()


@pytest.mark.parametrize(
    ("package", "options", "expected"),
    [
        ("watchfiles", [], "pip install 'flatcore[watch]', or --poll to do without it"),
        ("bokeh", [], "pip install 'flatcore[report]', or --no-report"),
        ("matplotlib", ["--plot", "2"], "pip install 'flatcore[plots]'"),
    ],
)
def test_missing_packages_are_told_with_what_to_install(night, capsys, monkeypatch, package, options, expected):
    find = importlib.util.find_spec
    without = lambda name, *more: None if name == package else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setattr(waking, "find_spec", without)
    assert expected in refused(capsys, 2, "watch", "--data-root", night, *options)


def test_help_names_every_option(capsys):
    assert run("watch", "--xhelp") == 0
    out = capsys.readouterr().out
    offered = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert all(name in out for name in offered)
    placed = {name for names in PANELS.values() for name in names}
    assert placed <= offered and "flatcore watch --once" in out
