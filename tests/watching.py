"""A tree to watch, small enough for many looks: frames of some pixels, a clock of one's own, runs that only pretend."""

import threading
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from flatcore.watch import Rules, WatchRequest
from flatcore.watch.memory import Memory
from flatcore.watch.observer import Observer
from flatcore.watch.runner import RunOutcome
from flatcore.watch.sets import Sets


def write_frame(path, kind="FLAT_FLAT", rows=40, **cards):
    """A whole frame of a kind; no frame at all has its size by chance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    primary = fits.PrimaryHDU()
    if kind is not None:
        primary.header["DPRTYPE"] = kind
    primary.header.update(cards)
    pixels = np.arange(rows * 50, dtype=np.float32).reshape(rows, 50)
    fits.HDUList([primary, fits.ImageHDU(pixels)]).writeto(path, overwrite=True)
    return path


def made(pid="PID-1", ending="done", **more):
    """What a run that made products leads to."""
    status = {"done": 0, "failed-qc": 4}[ending]
    return RunOutcome(ending, status, {"pid": pid, "passed": status == 0, **more}, "", 1.0)


def failed(error="dark.fits: no such file", ending="error", status=3):
    """What a run that failed leads to."""
    return RunOutcome(ending, status, {}, error, 1.0)


class Clock:
    """Seconds that pass when a test says so; ``wall`` is in step with them."""

    def __init__(self, start=1000.0):
        self.now = start

    def __call__(self):
        return self.now

    def wall(self):
        return self.now + 1.7e9


@dataclass
class Bench:
    """The watcher's eyes and mind, without threads: look, and see what would be run."""

    root: object
    rules: Rules = field(default_factory=lambda: Rules(quiet_s=60.0))
    once: bool = False
    more: dict = field(default_factory=dict)

    def __post_init__(self):
        self.clock = Clock()
        self.request = WatchRequest(self.root, rules=self.rules, **self.more)
        self.tree = self.request.tree
        self.tree.mkdir(parents=True, exist_ok=True)
        self.memory = Memory(self.request.state_file, self.tree)
        self._wake()

    def _wake(self):
        self.observer = Observer(self.request, self.memory, self.clock, self.clock.wall)
        self.sets = Sets(self.request, self.memory, self.once, self.clock, self.clock.wall)

    def restart(self):
        """A new watcher with what the former had saved."""
        self.memory.save()
        self.memory = Memory.load(self.request.state_file, self.tree)
        self._wake()

    def standings(self, after=0.0):
        """How all sets stand after so many seconds, by night and kind."""
        self.clock.now += after
        self.observer.look_everywhere()
        found = [s for tracker in list(self.observer.trackers.values()) for s in self.sets.stand(tracker)]
        return {(s.status.obs_dir, s.status.kind): s for s in found}

    def stand(self, after=0.0, kind="FLAT_FLAT", night="n1"):
        """How one set stands after so many seconds."""
        return self.standings(after)[night, kind]

    def run(self, task, outcome=None):
        """Run a task, as the loop does."""
        self.sets.begin(task)
        return self.sets.end(task, outcome or made())


class PretendedRuns:
    """Makes runs that note what they were asked, and end as they are told.

    Attributes
    ----------
    tasks
        What was run, in order.
    """

    def __init__(self, *outcomes, hold=None, log=None):
        self.outcomes, self.hold, self.log, self.tasks = list(outcomes), hold, log, []

    def __call__(self, task):
        return _PretendedRun(self, task)


class _PretendedRun:
    def __init__(self, runs, task):
        self.runs, self.task, self.stopped = runs, task, threading.Event()

    def run(self):
        self.runs.tasks.append(self.task)
        if self.runs.hold is not None and self.stopped.wait(self.runs.hold):
            return RunOutcome("stopped", 143, {}, "", 0.1)
        outcome = self.runs.outcomes.pop(0) if self.runs.outcomes else made(f"PID-{len(self.runs.tasks)}")
        if isinstance(outcome, Exception):
            raise outcome
        if self.runs.log is not None:
            pid = self.runs.log.start(obs_dir=self.task.obs_dir, instrument="", pid=outcome.summary["pid"])
            self.runs.log.finish(pid, "done", 0, outcome.summary)
        return outcome

    def stop(self):
        self.stopped.set()
