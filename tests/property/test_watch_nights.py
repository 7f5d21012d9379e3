"""Whatever happens to a night's files, it is run when they are whole and quiet, never twice, and in the end."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from flatcore.watch import Rules
from flatcore.watch.wholeness import look_into
from tests.watching import Bench, failed, made, write_frame

QUIET_S, STALL_S = 60.0, 900.0
NAMES = ("a.fits", "b.fits", "c.fits")

EVENTS = st.one_of(
    st.tuples(st.sampled_from(["whole", "part", "copying", "arrives", "goes", "empty"]), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.floats(0.5, 130.0)),
    st.tuples(st.sampled_from(["look", "restart", "fails"]), st.none()),
)


class Night:
    """A night to which things happen, and which is run whenever it is said to be complete."""

    def __init__(self, root):
        self.bench = Bench(root, Rules(quiet_s=QUIET_S, stall_s=STALL_S))
        self.folder = self.bench.tree / "n1"
        self.folder.mkdir()
        self.whole = write_frame(root / "whole.fits").read_bytes()
        self.done, self.stamp, self.changed_at, self.fails = [], 0, self.bench.clock.now, False

    def put(self, name, contents):
        # A time of its own for every write: a fast test is within a tick of the disk's clock.
        self.stamp += 1
        path = self.folder / name
        path.write_bytes(contents)
        os.utime(path, ns=(self.stamp, self.stamp))

    def happen(self, event, what):
        if event == "wait":
            self.bench.clock.now += what
        elif event == "restart":
            self.bench.restart()
            # What the state file did not hold counts from now.
        elif event == "fails":
            self.fails = True
        elif event != "look":
            before = sorted(self.folder.iterdir()), self.stamp
            self.change(event, what)
            if (sorted(self.folder.iterdir()), self.stamp) != before:
                self.changed_at = self.bench.clock.now
        self.look()

    def change(self, event, name):
        if event == "whole":
            self.put(name, self.whole)
        elif event == "part":
            self.put(name, self.whole[: len(self.whole) // 2])
        elif event == "empty":
            self.put(name, b"")
        elif event == "copying":
            self.put(f".{name}.x7Yz", self.whole)
        elif event == "arrives" and (self.folder / f".{name}.x7Yz").exists():
            (self.folder / f".{name}.x7Yz").rename(self.folder / name)
        elif event == "goes":
            (self.folder / name).unlink(missing_ok=True)

    def look(self):
        for standing in self.bench.standings().values():
            if standing.task is not None:
                self.run(standing.task)

    def run(self, task):
        quiet_s = self.bench.clock.now - self.changed_at
        assert quiet_s >= QUIET_S - 1e-6
        assert task.files and all(look_into(path).fault is None for path in task.files)
        unfinished = [p for p in self.folder.iterdir() if p.name.startswith(".") or look_into(p).fault is not None]
        assert not unfinished or quiet_s >= STALL_S - 1e-6
        assert {path.name for path in unfinished} == set(task.left_out)
        if self.fails:
            self.fails = False
            self.bench.run(task, failed("cannot be written: disk full"))
            return
        # Never the same again, nor a part of what was done.
        assert all(not task.contents.items() <= before.items() for before in self.done[-1:])
        self.bench.run(task, made(f"PID-{len(self.done)}"))
        self.done.append(task.contents)


@given(events=st.lists(EVENTS, min_size=4, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_night_is_run_when_it_is_whole_and_quiet_and_never_twice(events):
    with tempfile.TemporaryDirectory() as folder:
        night = Night(Path(folder))
        for event in events:
            night.happen(*event)
        # In the end all is well, and everything is run.
        night.happen("whole", "a.fits")
        night.happen("wait", STALL_S + 1)
        night.happen("wait", 3601.0)
        night.happen("look", None)
        # With nothing left to do it is not even followed any more.
        assert all(standing.status.state == "done" for standing in night.bench.standings().values())
        assert night.bench.memory.of("n1", "FLAT_FLAT").made.pid == f"PID-{len(night.done) - 1}"
        frames = {path.name for path in night.folder.glob("[!.]*.fits") if path.stat().st_size}
        assert frames <= set(night.done[-1])
        # And a restart finds nothing to do.
        runs = len(night.done)
        night.happen("restart", None)
        night.happen("wait", 4000.0)
        assert len(night.done) == runs
