"""The watcher at work, with its threads and true time, but with runs that only pretend."""

import contextlib
import json
import signal
import sys
import threading
import time

import pytest
from filelock import FileLock

from flatcore.caldb import RunLog
from flatcore.errors import InputError, UsageError
from flatcore.watch import Rules, Watch, WatchRequest
from flatcore.watch.alone import held_mark
from flatcore.watch.waking import Waker, check_watchfiles
from tests.watching import PretendedRuns, failed, made, write_frame

RULES = Rules(quiet_s=0.4, settle_s=0.1)
PATIENCE_S = 15.0


def request(root, **more):
    return WatchRequest(root, rules=more.pop("rules", RULES), poll_interval_s=0.1, rescan_s=0.3, **more)


@contextlib.contextmanager
def following(asked, runs):
    """A watcher in a thread; what it returns is asserted to be the signal's."""
    watch, status = Watch(asked, runs), []
    thread = threading.Thread(target=lambda: status.append(watch.follow()))
    thread.start()
    try:
        yield watch
    finally:
        watch.stop(signal.SIGTERM)
        thread.join(PATIENCE_S)
    assert status == [143]


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def remembered(root):
    return json.loads((root / "log" / "watch.json").read_text())["sets"]


@pytest.mark.parametrize("poll", [True, False], ids=["polling", "events"])
def test_a_night_that_comes_while_it_is_watched(tmp_path, poll):
    if not poll:
        pytest.importorskip("watchfiles")
    runs = PretendedRuns()
    with following(request(tmp_path, rules=Rules(quiet_s=1.5, settle_s=0.1), poll=poll), runs):
        time.sleep(0.3)
        # The tree, too, may come later.
        for i in (2, 0, 1):
            write_frame(tmp_path / "tmp" / "n1" / f"{i}.fits")
            time.sleep(0.15)
        assert runs.tasks == []
        wait_for(lambda: runs.tasks)
        time.sleep(1.0)
        assert [[path.name for path in task.files] for task in runs.tasks] == [["0.fits", "1.fits", "2.fits"]]
        write_frame(tmp_path / "tmp" / "n1" / "3.fits")
        wait_for(lambda: len(runs.tasks) == 2)
    assert len(runs.tasks[1].files) == 4


def test_a_tree_that_is_a_link(tmp_path):
    pytest.importorskip("watchfiles")
    (tmp_path / "far" / "n1").mkdir(parents=True)
    (tmp_path / "tmp").symlink_to(tmp_path / "far")
    runs = PretendedRuns()
    with following(WatchRequest(tmp_path, rules=RULES, poll=False, rescan_s=1e6, poll_interval_s=1e6), runs):
        time.sleep(1.5)
        write_frame(tmp_path / "far" / "n1" / "a.fits")
        wait_for(lambda: runs.tasks)


def test_events_are_heard_long_before_the_next_look(tmp_path):
    pytest.importorskip("watchfiles")
    (tmp_path / "tmp" / "n1").mkdir(parents=True)
    runs = PretendedRuns()
    asked = WatchRequest(tmp_path, rules=RULES, poll=False, rescan_s=1e6, poll_interval_s=1e6)
    with following(asked, runs):
        time.sleep(1.5)
        write_frame(tmp_path / "tmp" / "n1" / "a.fits")
        wait_for(lambda: len(runs.tasks) == 1)
        write_frame(tmp_path / "tmp" / "n2" / "a.fits")
        wait_for(lambda: len(runs.tasks) == 2)


def test_a_night_behind_a_link_is_seen_by_looking(tmp_path):
    pytest.importorskip("watchfiles")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "tmp" / "n1").symlink_to(tmp_path / "far")
    runs = PretendedRuns()
    with following(WatchRequest(tmp_path, rules=RULES, poll=False, rescan_s=1e6, poll_interval_s=0.1), runs):
        time.sleep(1.5)
        write_frame(tmp_path / "far" / "a.fits")
        wait_for(lambda: runs.tasks)
    assert runs.tasks[0].obs_dir == "n1"


def test_on_a_network_disk_it_looks_by_itself(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("flatcore.watch.loop.network_kind", lambda _: "nfs4")
    monkeypatch.setattr("flatcore.watch.waking.find_spec", lambda _: None)
    runs = PretendedRuns()
    with caplog.at_level("INFO", "flatcore"), following(request(tmp_path), runs):
        write_frame(tmp_path / "tmp" / "n1" / "a.fits")
        wait_for(lambda: runs.tasks)
    assert "following, looking every 0.1 s (nfs4)" in caplog.text


def test_where_the_system_refuses_to_tell_it_looks_by_itself(tmp_path, monkeypatch, caplog):
    watchfiles = pytest.importorskip("watchfiles")

    def refuse(*_paths, **_options):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    (tmp_path / "tmp").mkdir()
    runs = PretendedRuns()
    with following(WatchRequest(tmp_path, rules=RULES, poll=False, rescan_s=1e6, poll_interval_s=0.1), runs):
        time.sleep(0.3)
        write_frame(tmp_path / "tmp" / "n1" / "a.fits")
        wait_for(lambda: runs.tasks)
    assert "the system tells of no changes ([Errno 28] inotify watch limit reached); looking every 0.1 s" in caplog.text


def test_a_failure_does_not_end_the_watcher(tmp_path):
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    runs = PretendedRuns(failed())
    with following(request(tmp_path, poll=True), runs):
        wait_for(lambda: runs.tasks)
        write_frame(tmp_path / "tmp" / "n2" / "a.fits")
        wait_for(lambda: len(runs.tasks) == 2)
        time.sleep(0.5)
    assert [task.obs_dir for task in runs.tasks] == ["n1", "n2"]
    assert remembered(tmp_path)["n1"]["FLAT_FLAT"]["failed"]["error"] == "dark.fits: no such file"


def test_a_run_that_breaks_in_the_watcher_is_a_failure_too(tmp_path, caplog):
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    runs = PretendedRuns(OSError("no process"))
    with following(request(tmp_path, poll=True), runs):
        wait_for(lambda: runs.tasks)
        time.sleep(0.3)
    assert remembered(tmp_path)["n1"]["FLAT_FLAT"]["failed"]["attempts"] == 1
    assert "n1 FLAT_FLAT: internal error" in caplog.text and "OSError: no process" in caplog.text


def test_a_signal_stops_the_run_which_is_begun_again(tmp_path):
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    runs = PretendedRuns(hold=PATIENCE_S)
    start = time.monotonic()
    with following(request(tmp_path, poll=True), runs):
        wait_for(lambda: runs.tasks)
    assert time.monotonic() - start < PATIENCE_S
    entry = remembered(tmp_path)["n1"]["FLAT_FLAT"]
    assert entry["begun"] and entry["made"] is None and entry["failed"] is None
    runs = PretendedRuns()
    with following(request(tmp_path, poll=True), runs):
        wait_for(lambda: runs.tasks)
    assert runs.tasks[0].again


def test_hooks_are_called_once_for_every_end(tmp_path):
    out = tmp_path / "told"
    write = f"import sys, os; open({str(out)!r}, 'a').write(os.environ['FLATCORE_STATUS'] + sys.stdin.read()[:1])"
    for name in ("n1", "n2", "n3", "n4"):
        write_frame(tmp_path / "tmp" / name / "a.fits")
    # The last was made by someone else, who knows.
    runs = PretendedRuns(made(), failed(), made(ending="failed-qc"), made(skipped=True))
    asked = request(
        tmp_path, on_done=(sys.executable, "-c", write), on_fail=(sys.executable, "-c", write + "; exit(3)")
    )
    time.sleep(0.5)
    assert Watch(asked, runs).once() == 3
    assert out.read_text() == "done{error{failed-qc{"
    totals = json.loads((tmp_path / "log" / "watch.json").read_text())["totals"]
    assert totals["hook_failures"] == 2
    assert totals["runs"] == {"done": 1, "failed-qc": 1, "error": 1, "crashed": 0}


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([made(), made()], 0),
        ([made(), made(ending="failed-qc")], 4),
        ([failed(), made(ending="failed-qc")], 3),
        ([made(), failed("killed", "crashed", -9)], 3),
    ],
)
def test_once_ends_like_the_worst(tmp_path, outcomes, status):
    for name in ("n1", "n2"):
        write_frame(tmp_path / "tmp" / name / "a.fits")
    time.sleep(0.5)
    runs = PretendedRuns(*outcomes)
    assert Watch(request(tmp_path), runs).once() == status
    assert len(runs.tasks) == 2


def test_once_leaves_what_is_not_complete(tmp_path):
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    runs = PretendedRuns(log=RunLog.open(tmp_path))
    for quiet_s, ran in ((3600.0, 0), (0.0, 1), (0.0, 1)):
        asked = request(tmp_path, rules=Rules(quiet_s=quiet_s, settle_s=0.1))
        assert Watch(asked, runs).once() == 0
        assert len(runs.tasks) == ran


def test_two_watchers_do_not_follow_one_tree(tmp_path, caplog):
    asked = request(tmp_path, poll=True)
    with following(asked, PretendedRuns()):
        wait_for((tmp_path / "log" / ".watch.json.lock").exists)
        time.sleep(0.5)
        with pytest.raises(InputError, match="another watcher follows it"):
            Watch(asked, PretendedRuns()).follow()
        # What cron starts while the one before is at work has nothing to do.
        assert Watch(asked, PretendedRuns()).once() == 0


def test_a_night_that_another_run_works_on_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("flatcore.watch.loop.BUSY_S", 0.1)
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    (tmp_path / "red").mkdir()
    runs = PretendedRuns()
    with FileLock(tmp_path / "red" / ".n1.lock"):
        assert Watch(request(tmp_path), runs).once() == 0
        with following(request(tmp_path, poll=True), runs):
            time.sleep(1.0)
            assert runs.tasks == []
    # A run that outlived its watcher, and has come to no lock yet.
    with held_mark(tmp_path / "log" / ".watch.json.run"), following(request(tmp_path, poll=True), runs):
        time.sleep(0.7)
        assert runs.tasks == []
    # And one that says in the log of runs that it goes on: it has not come to the lock yet.
    log = RunLog.open(tmp_path)
    pid = log.start(obs_dir="n1", instrument="SMALL")
    with following(request(tmp_path, poll=True), runs):
        time.sleep(0.7)
        assert runs.tasks == []
        log.finish(pid, "done", 0, {})
        wait_for(lambda: runs.tasks)


def test_the_status_file_follows(tmp_path):
    status = tmp_path / "s.json"
    write_frame(tmp_path / "tmp" / "n1" / "a.fits")
    runs = PretendedRuns(hold=2.0)

    def nights():
        return json.loads(status.read_text())["nights"] if status.exists() else {}

    with following(request(tmp_path, rules=Rules(quiet_s=2.0), poll=True, status=status), runs):
        wait_for(lambda: nights().get("waiting"))
        wait_for(lambda: nights().get("running"))
        wait_for(lambda: nights().get("done"))
        assert json.loads(status.read_text())["up"] is True
    told = json.loads(status.read_text())
    assert told["up"] is False and told["totals"]["runs"]["done"] == 1 and told["looked"] > 1e9


def test_a_data_root_that_is_not_there(tmp_path):
    for act in (Watch.follow, Watch.once):
        with pytest.raises(InputError, match="no such data root"):
            act(Watch(request(tmp_path / "gone", poll=True), PretendedRuns()))


def test_watchfiles_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("flatcore.watch.waking.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'flatcore\[watch\]', or --poll"):
        check_watchfiles()
    with pytest.raises(UsageError):
        Watch(request(tmp_path, poll=False), PretendedRuns()).follow()
    assert not (tmp_path / "log").exists()


def test_the_bell_may_be_rung_before_it_is_waited_for():
    waker = Waker()
    for _ in range(100_000):
        waker.ring()
    start = time.monotonic()
    waker.wait(5.0)
    assert time.monotonic() - start < 1.0
    waker.wait(0.05)
    assert time.monotonic() - start >= 0.05
