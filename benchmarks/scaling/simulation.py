"""Thousands of nights on many workers that read and write through one storage, in a time of their own.

The scheduling is that of :class:`flatcore.nights.batch.Batch`. Workers, the storage and the client's database are
played: a night first reads through the storage, whose bandwidth all transfers share equally, then computes, and when it
is concluded writes. No two nights take quite the same time. The client does one thing at a time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scaling.costs import Costs
from flatcore.caldb import CalibrationSnapshot, RunRecord
from flatcore.fingerprint import Fingerprint
from flatcore.nights.batch import Batch, Policy
from flatcore.nights.crew import Crew
from flatcore.nights.earlier import Verdict
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.plan import Task
from flatcore.nights.work import Outcome
from flatcore.request import NightRequest
from flatcore.settings import Settings

FIRST_MJD = 55000.0
# Nights take longer or shorter than the measured one by up to this share.
SPREAD = 0.2


@dataclass(frozen=True)
class Plant:
    """What the nights are run on.

    Attributes
    ----------
    workers
        Number of workers.
    bandwidth
        Of the storage, shared by all [bytes/s].
    link
        Of one worker to the storage [bytes/s].
    """

    workers: int
    bandwidth: float
    link: float


@dataclass(eq=False)
class _Job:
    """A step in a worker's hands: bytes to move, then seconds to compute."""

    name: str
    urgent: bool
    given: tuple[Any, ...]
    bytes_left: float = 0.0
    seconds: float = 0.0
    done: bool = False
    value: Any = None


@dataclass
class PlayedCrew(Crew):
    """Workers in a time of their own."""

    plant: Plant
    costs: Costs
    now: float = 0.0
    _free: int = 0
    _queue: tuple[deque[_Job], deque[_Job]] = field(default_factory=lambda: (deque(), deque()))
    _moving: dict[_Job, None] = field(default_factory=dict)
    _computing: list[tuple[float, int, _Job]] = field(default_factory=list)
    _count: int = 0
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.size = self._free = self.plant.workers

    def submit(self, function: Any, *arguments: Any, urgent: bool = False) -> _Job:
        """Queue a step, or note one that takes no time."""
        job = _Job(function.__name__, urgent, arguments)
        costs = self.costs
        if job.name == "measure_night":
            job.bytes_left, job.seconds = float(costs.read_bytes), costs.measure_s * self._varied()
            job.value = arguments[0]
        elif job.name == "conclude_night":
            job.bytes_left, job.seconds = float(costs.written_bytes), costs.conclude_s * self._varied()
            task = arguments[0].value.task
            job.value = Outcome(arguments[0].value.pid, True, {"warnings": [], "obs_dir": task.obs_dir}, ())
        else:
            # Small, and where the night was measured: done with it.
            return job
        self._queue[0 if urgent else 1].append(job)
        self._assign()
        return job

    def wait(self, handles: list[_Job]) -> list[_Job]:
        """Let time pass until one is done."""
        while not (ended := [handle for handle in handles if self._is_done(handle)]):
            self._advance(math.inf)
        return ended

    def fetch(self, handle: _Job) -> Any:
        """Give what a worker would have sent."""
        if handle.name == "verdicts_of_night":
            return (Verdict("A", True),)
        return handle.value

    def spend(self, seconds: float) -> None:
        """Let time pass in which the client is busy, and the workers are not waiting for it."""
        until = self.now + seconds
        while self.now < until:
            self._advance(until)

    @staticmethod
    def _is_done(job: _Job) -> bool:
        needed = [one for one in job.given if isinstance(one, _Job)]
        return all(one.done for one in needed) if job.name == "verdicts_of_night" else job.done

    def _varied(self) -> float:
        return self._chance.uniform(1.0 - SPREAD, 1.0 + SPREAD)

    def _assign(self) -> None:
        while self._free and any(self._queue):
            job = (self._queue[0] or self._queue[1]).popleft()
            self._free -= 1
            self._moving[job] = None

    def _share(self) -> float:
        return min(self.plant.link, self.plant.bandwidth / len(self._moving)) if self._moving else 0.0

    def _advance(self, until: float) -> None:
        """Go on to the next event, but not beyond a time."""
        share = self._share()
        moved = self.now + min(job.bytes_left for job in self._moving) / share if self._moving else math.inf
        computed = self._computing[0][0] if self._computing else math.inf
        then = min(moved, computed, until)
        for job in self._moving:
            job.bytes_left -= share * (then - self.now)
        self.now = then
        # Bytes are counted in doubles: less than one is none.
        for job in [job for job in self._moving if job.bytes_left < 1.0]:
            del self._moving[job]
            self._count += 1
            heapq.heappush(self._computing, (self.now + job.seconds, self._count, job))
        while self._computing and self._computing[0][0] <= self.now:
            heapq.heappop(self._computing)[2].done = True
            self._free += 1
        self._assign()


@dataclass
class PlayedLedger:
    """A database that takes its time."""

    crew: PlayedCrew
    costs: Costs
    known: KnownCalibrations
    count: int = 0

    def begin(self, task: Task) -> RunRecord:
        """Give a run its number."""
        self.count += 1
        return RunRecord(
            self.count, f"PID-{self.count}", task.obs_dir, "", "", None, "running", None, "", "", "", "", 0
        )

    def add(self, task: Task, outcome: Outcome) -> tuple[str, ...]:
        """Take the client's time."""
        self.crew.spend(self.costs.client_s)
        return ()

    def end(self, outcome: Outcome, notices: tuple[str, ...]) -> Outcome:
        """Give it as it is."""
        return outcome


def played_seconds(nights: int, plant: Plant, costs: Costs) -> float:
    """Time that a batch takes, from the end of planning [s]."""
    crew = PlayedCrew(plant, costs)
    ledger = PlayedLedger(crew, costs, KnownCalibrations(Path(), "played"))
    batch = Batch([_task(number) for number in range(nights)], crew, ledger, Policy(), threads=1)  # type: ignore[arg-type]
    batch.run()
    return crew.now


def model_rate(plant: Plant, costs: Costs) -> float:
    """Nights per second at which workers, storage or client are busy all the time, whichever is the slowest."""
    of_workers = plant.workers / (costs.worker_s + costs.moved_bytes / plant.link)
    return min(of_workers, plant.bandwidth / costs.moved_bytes, 1.0 / costs.client_s)


def limit(plant: Plant, costs: Costs) -> str:
    """Which of them that is."""
    rates = {
        "workers": plant.workers / (costs.worker_s + costs.moved_bytes / plant.link),
        "storage": plant.bandwidth / costs.moved_bytes,
        "database": 1.0 / costs.client_s,
    }
    return min(rates, key=rates.__getitem__)


def _task(number: int) -> Task:
    name = f"night{number:06d}"
    return Task(
        obs_dir=name,
        kind="FLAT_FLAT",
        request=NightRequest(name, Path("/played")),
        files=(),
        mjd_mid=FIRST_MJD + number,
        fibers=("A",),
        snapshot=CalibrationSnapshot(Path("/played/calib"), "played", ()),
        fingerprint=Fingerprint(()),
        settings=Settings(),
        instrument="",
        why="new",
    )
