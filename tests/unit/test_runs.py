"""The log of runs, on both engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from flatcore.caldb import RunLog, process
from flatcore.caldb.runs import plain
from flatcore.errors import CalibrationError, InputError, OutputError, UsageError
from tests.engines import database_url

__all__ = ["database_url"]  # a fixture


@pytest.fixture
def runs(tmp_path: Path, database_url: str | None) -> RunLog:
    return RunLog.open(tmp_path, database_url)


def start(runs: RunLog, obs_dir: str = "2020-08-31", **options: str) -> str:
    return runs.start(obs_dir=obs_dir, instrument="SMALL", **options)


class TestStart:
    def test_recorded_as_running(self, runs: RunLog) -> None:
        before = datetime.now(UTC)
        pid = start(runs, program="nightly", shortname="FF", recipe_kind="flat")
        run = runs.get(pid)
        assert (run.id, run.pid, run.obs_dir, run.instrument) == (1, pid, "2020-08-31", "SMALL")
        assert (run.status, run.exit_status, run.finished, run.record) == ("running", None, None, {})
        assert (run.program, run.shortname, run.recipe_kind) == ("nightly", "FF", "flat")
        assert run.os_pid == os.getpid()
        assert abs(datetime.fromisoformat(run.started + "+00:00") - before).total_seconds() < 60
        assert pid.startswith("PID-20")

    def test_identifier_given(self, runs: RunLog) -> None:
        assert start(runs, pid="PID-mine") == "PID-mine"
        with pytest.raises(UsageError, match="has a run PID-mine already"):
            start(runs, pid="PID-mine")
        assert runs.count() == 1

    def test_of_one_microsecond(self, runs: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return datetime(2020, 8, 31, 12, tzinfo=UTC)

        monkeypatch.setattr("flatcore.caldb.runs.datetime", Stopped)
        assert [start(runs)[-8:] for _ in range(3)] == ["0.000000", "0.000001", "0.000002"]

    def test_data_root_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"cannot write the calibration database: no folder to hold it"):
            start(RunLog.open(tmp_path / "nowhere"))
        assert list(tmp_path.iterdir()) == []


class TestFinish:
    def test_all_that_it_tells(self, runs: RunLog) -> None:
        pid = start(runs)
        record = {
            "inputs": ("a.fits", "b.fits"),
            "path": Path("x/y"),
            "seconds": {"combine": np.float32(0.5), "blaze": float("nan"), "flat": -float("inf")},
            "orders": np.arange(3),
            "time": datetime(2020, 8, 31),
            5: True,
            "text": "é\x00\udce9",
        }
        runs.finish(pid, "failed-qc", 4, record)
        run = runs.get(pid)
        assert (run.status, run.exit_status) == ("failed-qc", 4)
        assert run.finished is not None
        assert run.finished >= run.started
        assert run.record == {
            "inputs": ["a.fits", "b.fits"],
            "path": "x/y",
            "seconds": {"combine": 0.5, "blaze": None, "flat": None},
            "orders": [0, 1, 2],
            "time": "2020-08-31T00:00:00",
            "5": True,
            "text": "é\x00\udce9",
        }

    def test_unknown_status(self, runs: RunLog) -> None:
        pid = start(runs)
        with pytest.raises(UsageError, match="unknown status of a run 'ok': expected done, failed-qc, error, interr"):
            runs.finish(pid, "ok", 0, {})
        assert runs.get(pid).status == "running"

    @pytest.mark.parametrize("value", [object(), b"bytes", {"deep": [1, {2: 3j}]}])
    def test_what_json_does_not_hold(self, value: object, runs: RunLog) -> None:
        with pytest.raises(UsageError, match=r"record of a run: .* which JSON does not hold"):
            runs.finish(start(runs), "done", 0, {"value": value})

    def test_twice(self, runs: RunLog) -> None:
        pid = start(runs)
        runs.finish(pid, "done", 0, {})
        with pytest.raises(OutputError, match=f"no run {pid} is running; it cannot be recorded as error"):
            runs.finish(pid, "error", 1, {})
        assert runs.get(pid).status == "done"

    def test_unknown_run(self, runs: RunLog) -> None:
        with pytest.raises(OutputError, match="no run PID-0 is running"):
            runs.finish("PID-0", "done", 0, {})


class TestRecords:
    def test_latest_first(self, runs: RunLog) -> None:
        pids = [start(runs, night) for night in ("one", "two", "one")]
        assert [run.pid for run in runs.records()] == pids[::-1]
        assert [run.pid for run in runs.records("one")] == [pids[2], pids[0]]
        assert [run.pid for run in runs.records(limit=2)] == [pids[2], pids[1]]
        assert [run.pid for run in runs.records("one", 1)] == [pids[2]]
        assert runs.records("three") == []
        assert (runs.count(), runs.count("one"), runs.count("three")) == (3, 2, 0)

    def test_by_number(self, runs: RunLog) -> None:
        pids = [start(runs) for _ in range(2)]
        assert runs.get(2).pid == pids[1]
        assert runs.get("1").pid == pids[0]

    def test_unknown(self, runs: RunLog) -> None:
        pid = start(runs, pid="PID-20200831T120000.000001")
        start(runs, pid="PID-20210101T000000.000000")
        with pytest.raises(InputError, match=r"has no run 7; the closest is 2"):
            runs.get(7)
        with pytest.raises(InputError, match=rf"has no run PID-20200831T120000\.000000; did you mean {pid}\?"):
            runs.get("PID-20200831T120000.000000")
        with pytest.raises(InputError, match=r"has no run zzz; the latest is PID-2021"):
            runs.get("zzz")
        with pytest.raises(InputError, match=r"has no run 99999999999999999999; the closest is 2"):
            runs.get("99999999999999999999")

    def test_no_database(self, runs: RunLog, tmp_path: Path) -> None:
        for reading in (runs.records, runs.count, lambda: runs.get(1)):
            with pytest.raises(CalibrationError, match=r"no calibration database at .*; it is made by"):
                reading()
        assert list(tmp_path.iterdir()) == []


class TestKilled:
    def child(self, root: Path, url: str | None) -> subprocess.Popen[str]:
        program = (
            "import sys, time; from flatcore.caldb import RunLog;"
            f"print(RunLog.open({str(root)!r}, {url!r}).start(obs_dir='night', instrument='SMALL'), flush=True);"
            "time.sleep(60)"
        )
        return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)

    def test_process_that_is_gone(self, runs: RunLog, tmp_path: Path, database_url: str | None) -> None:
        child = self.child(tmp_path, database_url)
        assert child.stdout is not None
        pid = child.stdout.readline().strip()
        assert runs.get(pid).status == "running"
        child.send_signal(signal.SIGKILL)
        child.communicate()
        run = runs.get(pid)
        assert (run.status, run.finished, run.exit_status) == ("killed", None, None)
        assert [run.status for run in runs.records()] == ["killed"]

    def test_another_host(self, runs: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
        pid = start(runs)
        monkeypatch.setattr(process.socket, "gethostname", lambda: "elsewhere")
        monkeypatch.setattr(process.os, "kill", lambda *_: pytest.fail("another host's process"))
        assert runs.get(pid).status == "running"

    def test_number_taken_by_another_process(self) -> None:
        here = process.socket.gethostname()
        assert not process.is_gone(here, os.getpid(), process.start_of(os.getpid()))
        assert not process.is_gone(here, os.getpid(), "")
        if process.start_of(os.getpid()):
            assert process.is_gone(here, os.getpid(), "boot/1")

    def test_process_of_another_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(process.os, "kill", refuse)
        assert not process.is_gone(process.socket.gethostname(), os.getpid(), process.start_of(os.getpid()))

    def test_system_that_does_not_tell(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(process, "_PROC", tmp_path)
        assert process.start_of(os.getpid()) == ""


def test_plain_is_json() -> None:
    value = {"a": [np.int64(1), np.nan, {"b": (np.bool_(True), None)}], "c": {1.5}}
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {"a": [1, None, {"b": [True, None]}], "c": [1.5]}


def test_a_run_that_has_ended_may_go_on(tmp_path):
    runs = RunLog.open(tmp_path)
    (tmp_path / "calib").mkdir()
    pid = runs.start(obs_dir="night", instrument="X")
    with pytest.raises(OutputError, match=r"no run .* has ended"):
        runs.reopen(pid)
    runs.finish(pid, "done", 0, {"fingerprint": "a"})
    runs.reopen(pid)
    again = runs.get(pid)
    assert (again.status, again.finished, again.exit_status, dict(again.record)) == ("running", None, None, {})
    runs.finish(pid, "failed-qc", 4, {"fingerprint": "b"})
    assert runs.get(pid).status == "failed-qc" and runs.count() == 1
