"""A night seen through time: when it is complete, what runs it again and what does not, what survives a restart."""

import os
from dataclasses import replace

import pytest

from flatcore.caldb import CalibrationDatabase
from flatcore.errors import InputError
from flatcore.watch import Rules
from flatcore.watch.memory import Memory
from tests.watching import Bench, failed, made, write_frame

DAY_S = 86_400.0


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def fill(bench, count=3, night="n1", kind="FLAT_FLAT", start=0):
    return [write_frame(bench.tree / night / f"{kind}_{i}.fits", kind) for i in range(start, start + count)]


def test_frames_that_come_slowly_out_of_order_with_a_partial_one_and_a_rename(bench):
    folder = bench.tree / "n1"
    whole = write_frame(bench.root / "whole.fits").read_bytes()
    for name in ("c.fits", "a.fits"):
        write_frame(folder / name)
        assert bench.stand(50.0).task is None
    (folder / "b.fits").write_bytes(whole[:6000])
    standing = bench.stand(30.0)
    assert standing.status.frames == 3 and standing.task is None
    standing = bench.stand(100.0)
    assert standing.task is None and "b.fits (ends at byte 6000" in standing.status.why
    (folder / "b.fits").write_bytes(whole)
    (folder / ".d.fits.x1Y2").write_bytes(whole)
    assert bench.stand(1.0).task is None
    standing = bench.stand(500.0)
    assert standing.task is None and ".d.fits.x1Y2 (is being copied)" in standing.status.why
    (folder / ".d.fits.x1Y2").rename(folder / "d.fits")
    assert bench.stand(1.0).task is None
    assert bench.stand(59.9).task is None
    task = bench.stand(0.2).task
    assert [path.name for path in task.files] == ["a.fits", "b.fits", "c.fits", "d.fits"]
    assert task.left_out == {} and task.attempt == 1 and not task.again
    bench.run(task)
    for _ in range(3):
        standing = bench.stand(1000.0)
        assert standing.task is None and standing.status.state == "done"


def test_each_kind_is_a_set_and_other_frames_are_none(bench):
    fill(bench, 2)
    bench.standings()
    fill(bench, 2, kind="DARK_FLAT")
    write_frame(bench.tree / "n1" / "science.fits", "OBJ_FP")
    found = bench.standings(40.0)
    assert set(found) == {("n1", "FLAT_FLAT"), ("n1", "DARK_FLAT")}
    found = bench.standings(30.0)
    # Frames of another kind, science among them, do not keep a set waiting.
    assert [path.name for path in found["n1", "FLAT_FLAT"].task.files] == ["FLAT_FLAT_0.fits", "FLAT_FLAT_1.fits"]
    assert found["n1", "DARK_FLAT"].task is None
    assert bench.stand(30.0, kind="DARK_FLAT").task is not None


def test_a_science_frame_under_way_holds_up_no_flats(bench):
    fill(bench)
    bench.standings()
    write_frame(bench.tree / "n1" / ".science.fits.q1W2", "OBJ_FP")
    assert bench.stand(60.0).task is not None
    # One of which the header is not there yet may be a flat.
    (bench.tree / "n1" / ".x.fits.q1W2").write_bytes(b"SIMPLE  = ")
    assert bench.stand(1.0).task is None


def test_late_frames_run_it_again_after_quiet(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task)
    fill(bench, 1, start=3)
    assert bench.stand(10.0).task is None
    task = bench.stand(60.0).task
    assert len(task.files) == 4
    bench.run(task, made("PID-2"))
    assert bench.stand(100.0).status.state == "done"
    # A frame that was taken anew is another frame.
    fill(bench, 1)
    assert bench.stand(1.0).task is None
    assert bench.stand(60.0).task is not None


def test_frames_that_come_while_it_runs_run_it_again(bench):
    fill(bench)
    bench.standings()
    task = bench.stand(60.0).task
    bench.sets.begin(task)
    fill(bench, 1, start=3)
    bench.standings(5.0)
    bench.sets.end(task, made())
    assert bench.stand(1.0).status.state == "waiting"
    assert len(bench.stand(60.0).task.files) == 4


def test_tidying_up_runs_nothing(bench):
    paths = fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task)
    paths[0].unlink()
    assert bench.stand(100.0).status.state == "done"
    for path in paths[1:]:
        path.unlink()
    assert bench.standings(100.0) == {}


def test_a_frame_that_goes_before_the_run_is_a_change(bench):
    paths = fill(bench)
    bench.standings()
    assert bench.stand(50.0).task is None
    paths[0].unlink()
    assert bench.stand(50.0).task is None
    assert len(bench.stand(60.0).task.files) == 2


def test_unfinished_files_that_stall_are_left_out(bench):
    fill(bench)
    (bench.tree / "n1" / "empty.fits").touch()
    (bench.tree / "n1" / "left.fits.part").write_bytes(b"SIM")
    short = write_frame(bench.tree / "n1" / "short.fits")
    short.write_bytes(short.read_bytes()[:7000])
    bench.standings()
    assert bench.stand(899.0).task is None
    task = bench.stand(1.0).task
    assert [path.name for path in task.files] == [f"FLAT_FLAT_{i}.fits" for i in range(3)]
    assert set(task.left_out) == {"empty.fits", "left.fits.part", "short.fits"}
    bench.run(task)
    # What was left out is told of as long as it is there, after a restart too, and where the night has long been done.
    for again in (bench.restart, lambda: None):
        status = bench.stand(1e5).status
        assert status.state == "done" and dict(status.unfinished) == task.left_out
        again()
    # One that becomes whole after all is a late frame.
    write_frame(short)
    bench.standings(1.0)
    (bench.tree / "n1" / "left.fits.part").unlink()
    (bench.tree / "n1" / "empty.fits").unlink()
    bench.standings(1.0)
    assert len(bench.stand(60.0).task.files) == 4


def test_nothing_but_broken_frames_is_no_set(bench):
    path = write_frame(bench.tree / "n1" / "a.fits")
    path.write_bytes(path.read_bytes()[:7000])
    bench.standings()
    assert bench.stand(10.0).status.state == "waiting"
    standing = bench.stand(2000.0)
    assert standing.task is None and standing.topic == "stalled"
    assert standing.status.state == "stalled" and list(standing.status.unfinished) == ["a.fits"]
    bench.restart()
    assert bench.stand().status == standing.status
    write_frame(path)
    assert bench.stand(1.0).status.state == "waiting"
    assert bench.stand(60.0).task is not None


def test_files_that_never_tell_what_they_are_are_seen(bench):
    """In a night that has no set, after the stall time."""
    (bench.tree / "n1").mkdir()
    (bench.tree / "n1" / "a.fits").touch()
    write_frame(bench.tree / "n1" / "b.fits.part")
    write_frame(bench.tree / "n2" / "dark.fits", "DARK_DARK")
    assert bench.standings() == {} and bench.standings(899.0) == {}
    bench.restart()
    (standing,) = bench.standings(1.0).values()
    status = standing.status
    assert (status.obs_dir, status.kind, status.state, standing.task) == ("n1", "unknown", "stalled", None)
    assert dict(status.unfinished) == {"a.fits": "is empty", "b.fits.part": "is being copied"}
    assert "a.fits (is empty)" in status.why
    # A change is worth waiting for again; and then there is a set.
    (bench.tree / "n1" / "b.fits.part").rename(bench.tree / "n1" / "b.fits")
    assert [found.status.state for found in bench.standings(1.0).values()] == ["waiting"]
    (bench.tree / "n1" / "a.fits").unlink()
    assert list(bench.standings(1.0)) == [("n1", "FLAT_FLAT")]
    assert bench.stand(60.0).task is not None


def test_a_set_whose_signal_never_comes_is_seen(tmp_path):
    bench = Bench(tmp_path, Rules(quiet_s=None, expect=4))
    fill(bench)
    bench.standings()
    assert bench.stand(899.0).status.state == "waiting"
    status = bench.stand(1.0).status
    assert (status.state, status.why) == ("stalled", "waiting for 4 frames, and nothing has changed for 900 s")
    fill(bench, 1, start=3)
    assert bench.stand(1.0).status.state == "waiting"
    assert bench.stand(2.0).task is not None


def test_frames_of_a_run_that_failed_are_named_too(bench):
    fill(bench)
    (bench.tree / "n1" / "empty.fits").touch()
    bench.standings()
    bench.run(bench.stand(900.0).task, failed())
    status = bench.stand(100.0).status
    assert status.state == "failed" and dict(status.unfinished) == {"empty.fits": "is empty"}


def test_the_state_of_a_watcher_that_did_not_keep_what_it_left_out(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task)
    fill(bench, night="n2")
    bench.standings()
    bench.run(bench.stand(60.0, night="n2").task, failed())
    bench.memory.save()
    path = bench.request.state_file
    text = path.read_text()
    assert text.count(', "without": {}') == 2
    path.write_text(text.replace(', "without": {}', ""))
    bench.memory = Memory.load(path, bench.tree)
    assert bench.memory.of("n1", "FLAT_FLAT").made.without == {} == bench.memory.of("n2", "FLAT_FLAT").failed.without


def test_number_and_marker(tmp_path):
    bench = Bench(tmp_path, Rules(quiet_s=None, expect=3, end_marker="END"))
    fill(bench, 2)
    bench.standings()
    assert bench.stand(1e4).task is None
    fill(bench, 1, start=2)
    assert bench.stand(0.0).task is None
    assert len(bench.stand(2.0).task.files) == 3
    fill(bench, 1, night="n2")
    bench.standings()
    assert bench.stand(10.0, night="n2").task is None
    (bench.tree / "n2" / "END").touch()
    assert len(bench.stand(0.1, night="n2").task.files) == 1


def test_a_failure_waits_for_a_change_of_frames(bench):
    paths = fill(bench)
    bench.standings()
    assert bench.run(bench.stand(60.0).task, failed()) is None
    standing = bench.stand(1e6)
    assert standing.status.state == "failed" and "no such file" in standing.status.why and standing.again_s is None
    # Taking out the odd frame is how such a night is mended.
    paths[0].unlink()
    assert bench.stand(1.0).status.state == "waiting"
    task = bench.stand(60.0).task
    assert len(task.files) == 2 and task.attempt == 1


def test_a_failure_waits_for_a_change_of_calibrations(bench, small_night):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task, failed())
    bench.sets.look_at_calibrations()
    assert bench.stand(1.0).status.state == "failed"
    dark = next((small_night / "calib").glob("*_dark_ref.fits"))
    database = CalibrationDatabase.open(bench.root)
    database.add(dark)
    bench.sets.look_at_calibrations()
    task = bench.stand(1.0).task
    assert task is not None and task.attempt == 2
    bench.run(task, failed())
    assert bench.stand(1.0).status.state == "failed"
    # So does a file of the store that is put right, but no flat or blaze of another night.
    database.add(dark, keyname="FLAT", fiber="C")
    bench.sets.look_at_calibrations()
    assert bench.stand(1.0).status.state == "failed"
    os.utime(bench.root / "calib" / dark.name, (1, 1))
    bench.sets.look_at_calibrations()
    assert bench.stand(1.0).task is not None


def test_what_may_pass_is_tried_again_ever_later(bench):
    fill(bench)
    bench.standings()
    task, waits = bench.stand(60.0).task, []
    for attempt in range(1, 10):
        assert task.attempt == attempt
        waits.append(bench.run(task, failed("x.fits: cannot be written: [Errno 28] No space left on device")))
        assert bench.stand(waits[-1] - 1.0).task is None
        assert bench.stand().again_s == pytest.approx(1.0)
        task = bench.stand(1.0).task
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_crashes_are_tried_three_times(bench):
    fill(bench)
    bench.standings()
    task, waits = bench.stand(60.0).task, []
    while task is not None:
        waits.append(bench.run(task, failed("ended by signal 9 (Killed)", "crashed", -9)))
        task = bench.stand(4000.0).task
    assert waits == [60, 120, None]


def test_failed_quality_control_is_done(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task, made(ending="failed-qc"))
    assert bench.stand(1e6).status.state == "failed-qc"


def test_a_restart_knows_what_was_done_and_how_long_it_was_quiet(bench):
    fill(bench)
    fill(bench, night="n2")
    bench.standings()
    bench.run(bench.stand(60.0).task)
    bench.run(bench.stand(0.0, night="n2").task, failed())
    fill(bench, night="n3")
    bench.standings()
    bench.standings(40.0)
    bench.restart()
    found = bench.standings()
    # n1 has nothing left to do, so that its files are not even read.
    assert set(found) == {("n2", "FLAT_FLAT"), ("n3", "FLAT_FLAT")} and bench.observer.settled == 1
    assert found["n2", "FLAT_FLAT"].status.state == "failed"
    assert found["n3", "FLAT_FLAT"].again_s == pytest.approx(20.0)
    assert bench.stand(20.0, night="n3").task is not None
    fill(bench, 1, start=3)
    assert bench.stand(1.0).status.state == "waiting"


def test_a_restart_begins_to_wait_anew_where_something_changed_meanwhile(bench):
    fill(bench)
    bench.standings()
    bench.standings(40.0)
    bench.memory.save()
    fill(bench, 1, start=3)
    bench.restart()
    assert bench.stand(30.0).task is None
    assert bench.stand(30.0).task is None
    assert bench.stand(30.0).task is not None


def test_a_clock_that_was_set_back_hastens_nothing(bench):
    fill(bench)
    bench.standings()
    bench.restart()
    bench.clock.wall = lambda: 1.0
    bench._wake()
    assert bench.stand().task is None
    assert bench.stand(59.0).task is None
    assert bench.stand(1.0).task is not None


def test_a_run_that_was_begun_is_begun_again(bench):
    fill(bench)
    bench.standings()
    bench.sets.begin(bench.stand(60.0).task)
    bench.restart()
    task = bench.stand(0.0).task
    assert task is not None and task.again
    bench.run(task, made(skipped=True))
    assert bench.memory.totals.runs["done"] == 0
    assert bench.stand(1.0).status.state == "done"


def test_the_log_of_runs_is_believed_rather_than_the_state_file(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task, made("PID-7"))
    bench.standings(1.0)
    bench.restart()
    bench.memory.believe({"PID-7", "PID-8"})
    assert bench.standings() == {}
    bench.memory.believe({"PID-8"})
    bench._wake()
    assert bench.stand().task is not None


def test_failures_are_forgotten_on_demand(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task, failed())
    bench.restart()
    bench.memory.forget_failures(2)
    assert bench.stand().task is None
    bench.memory.forget_failures()
    task = bench.stand().task
    bench.run(task, failed("--set x: unknown", status=2))
    assert bench.stand(1.0).status.state == "failed"
    bench.memory.forget_failures(2)
    assert bench.stand().task is not None


def test_one_look_takes_the_times_of_the_files(tmp_path):
    bench = Bench(tmp_path, once=True)
    paths = fill(bench)
    youngest = max(path.stat().st_ctime for path in paths)
    # A copy that keeps the time of the original is as young as its entry.
    for path in paths:
        os.utime(path, (1, 1))
    bench.clock.now = youngest - 1.7e9 + 59.0
    assert bench.stand().task is None
    bench._wake()
    assert bench.stand(3.0).task is not None


def test_files_from_the_future_are_complete_when_two_looks_agree(tmp_path):
    bench = Bench(tmp_path, once=True)
    fill(bench)
    assert bench.stand().task is None
    bench.restart()
    assert bench.stand(59.0).task is None
    bench.restart()
    assert bench.stand(1.0).task is not None


def test_old_nights_and_others_are_left_alone(tmp_path):
    bench = Bench(tmp_path, once=True, more={"nights": ("n*",), "max_age_days": 10.0})
    for night in ("n1", "other"):
        fill(bench, night=night)
    now = max(path.stat().st_ctime for path in bench.tree.rglob("*.fits")) - 1.7e9
    bench.clock.now = now + 9 * DAY_S
    assert set(bench.standings()) == {("n1", "FLAT_FLAT")}
    bench = replace(bench)
    bench.clock.now = now + 11 * DAY_S
    assert bench.standings() == {}


def test_a_tree_that_is_away_for_a_while_changes_nothing(bench):
    fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task)
    bench.standings(1.0)
    away = bench.tree.with_name("away")
    bench.tree.rename(away)
    bench.standings(10.0)
    assert bench.observer.missing is not None
    away.rename(bench.tree)
    assert bench.stand(10.0).status.state == "done"
    assert bench.observer.missing is None


def test_a_folder_that_does_not_answer_changes_nothing(bench, monkeypatch, caplog):
    fill(bench)
    bench.standings()

    def stale(_folder):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr("flatcore.watch.observer.list_folder", stale)
        for _ in range(5):
            bench.standings(5.0)
    assert caplog.text.count("cannot be read now: [Errno 116]") == 1
    assert bench.stand(35.0).task is not None


def test_looking_where_something_changed(bench):
    paths = fill(bench)
    fill(bench, night="n2")
    bench.standings()
    before = bench.observer.trackers["n2"].listing
    fill(bench, 1, start=3)
    fill(bench, 1, night="n2", start=3)
    bench.observer.look_where({paths[0]})
    assert len(bench.observer.trackers["n1"].listing.frames) == 4
    assert bench.observer.trackers["n2"].listing is before
    fill(bench, night="n3")
    bench.observer.look_where({bench.tree / "n3" / "x.fits"})
    assert set(bench.observer.trackers) == {"n1", "n2", "n3"}


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_night_that_sleeps_is_woken_by_a_change_in_place(bench, everywhere):
    paths = fill(bench)
    bench.standings()
    bench.run(bench.stand(60.0).task)
    bench.standings(1.0)
    bench.restart()
    bench.clock.now += 10 * DAY_S
    bench.clock.wall = lambda: paths[0].stat().st_ctime + 10 * DAY_S
    bench._wake()
    assert bench.standings() == {}
    paths[0].write_bytes(paths[0].read_bytes())
    # Its folder is as it was, so that a look at everything passes over it ...
    assert bench.standings(10.0) == {}
    # ... unless the system tells of the change.
    bench.observer.look_where({paths[0]}, everywhere)
    assert set(bench.observer.trackers) == {"n1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "cannot be read"),
        ('{"version": 9}', "is of version 9"),
        ("{}", "not the state of a watcher"),
        ('{"version": 1, "tree": "/other", "sets": {}}', "is of a watcher of /other"),
    ],
)
def test_a_state_file_that_is_none(tmp_path, text, said):
    path = tmp_path / "watch.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Memory.load(path, tmp_path / "tmp")
