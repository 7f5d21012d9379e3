"""Eight processes that write and read one database at once lose nothing, on either engine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flatcore.caldb import CalibrationDatabase, RunLog
from flatcore.caldb.integrity import verify
from tests.engines import database_url
from tests.unit.test_caldb import MJD, NOON, root, stored_names, write_calibration

__all__ = ["database_url", "root"]  # fixtures

PROCESSES, EACH = 8, 5


def at_once(work: Callable[..., None], *args: object) -> None:
    """Runs work(number, barrier, *args) in every process, and holds each to a good end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once, not eight times
    barrier = context.Barrier(PROCESSES)
    started = [context.Process(target=work, args=(number, barrier, *args)) for number in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    for process in started:
        process.close()


def add_and_choose(number: int, barrier: Any, root: Path, url: str | None, made: Path) -> None:
    database, runs = CalibrationDatabase.open(root, url), RunLog.open(root, url)
    barrier.wait(60)
    pid = runs.start(obs_dir=f"night {number}", instrument="SMALL")
    for path in sorted((made / str(number)).iterdir()):
        added = database.add(path, pid=pid)
        assert added.filename in [record.filename for record in database.records("BADPIX")]
        database.choose("BADPIX", None, NOON)
        database.path_of(added)
    assert runs.get(pid).status == "running"
    runs.finish(pid, "done", 0, {"added": EACH + 1})


def test_adding_choosing_and_recording(root: Path, tmp_path: Path, database_url: str | None) -> None:
    for worker in range(PROCESSES):
        for number in range(EACH):
            path = tmp_path / "made" / str(worker) / f"{worker}_{number}.fits"
            write_calibration(path, MJDMID=MJD + worker + number / EACH)
        write_calibration(tmp_path / "made" / str(worker) / "same.fits")
    at_once(add_and_choose, root, database_url, tmp_path / "made")
    database, runs = CalibrationDatabase.open(root, database_url), RunLog.open(root, database_url)
    expected = [f"{worker}_{number}.fits" for worker in range(PROCESSES) for number in range(EACH)] + ["same.fits"]
    files = verify(database)
    assert [file.filename for file in files] == expected == stored_names(root)
    assert {file.state for file in files} == {"intact"}
    finished = runs.records()
    assert sorted(run.id for run in finished) == list(range(1, PROCESSES + 1))
    assert {run.obs_dir for run in finished} == {f"night {worker}" for worker in range(PROCESSES)}
    assert {(run.status, run.record["added"]) for run in finished} == {("done", EACH + 1)}
    assert {record.pid for record in database.records()} <= {run.pid for run in finished}


def replace_and_remove(number: int, barrier: Any, root: Path, url: str | None, made: Path) -> None:
    database = CalibrationDatabase.open(root, url)
    barrier.wait(60)
    for _ in range(EACH):
        added = database.add(made / str(number) / "same.fits", replace=True)
        database.records()
        if number % 2:
            database.remove([added])


def test_one_name_replaced_and_removed_by_all(root: Path, tmp_path: Path, database_url: str | None) -> None:
    for worker in range(PROCESSES):
        write_calibration(tmp_path / "made" / str(worker) / "same.fits", float(worker))
    at_once(replace_and_remove, root, database_url, tmp_path / "made")
    # Whoever was last: the file that is there is the one that is recorded, or there is neither.
    assert [file.state for file in verify(CalibrationDatabase.open(root, database_url))] in ([], ["intact"])
    assert set(stored_names(root)) <= {"same.fits"}


def start_runs(number: int, barrier: Any, root: Path, url: str | None) -> None:
    runs = RunLog.open(root, url)
    barrier.wait(60)
    for _ in range(EACH):
        runs.start(obs_dir=str(number), instrument="SMALL")


def test_identifiers_are_unique(root: Path, database_url: str | None) -> None:
    at_once(start_runs, root, database_url)
    runs = RunLog.open(root, database_url).records()
    assert len({run.pid for run in runs}) == len(runs) == PROCESSES * EACH
    assert {run.status for run in runs} == {"killed"}
