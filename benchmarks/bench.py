"""One run of the benchmarks: what its rows share, and what a row is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks import data
from benchmarks.agreement import Agreement
from benchmarks.measure import best_of, race, uneven
from benchmarks.steps import Steps, steps_of

Unit = Literal["s", "MB"]


@dataclass(frozen=True)
class Row:
    """A measured ratio beside its target.

    Attributes
    ----------
    work, against
        What flatcore does, and what it is compared with.
    flatcore, other
        Best time of each [s], or memory [MB].
    target
        The ratio asked for; None where the row only informs.
    faster
        Whether the ratio says how many times faster flatcore is (to be at least the target), or how many times as much
        as the other it takes (to be at most the target).
    agreement
        How the two results compare; None where the other computes nothing.
    note
        What else to know.
    """

    work: str
    against: str
    flatcore: float
    other: float
    target: float | None = None
    faster: bool = True
    unit: Unit = "s"
    agreement: Agreement | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster, or how many times as much."""
        return self.other / self.flatcore if self.faster else self.flatcore / self.other

    @property
    def same_work(self) -> bool:
        """Whether both results are the same, so that the ratio means something."""
        return self.agreement is None or self.agreement.holds

    @property
    def met(self) -> bool | None:
        """Whether the target is met by the same work; None without a target."""
        if self.target is None:
            return None
        return self.same_work and (self.ratio >= self.target if self.faster else self.ratio <= self.target)


@dataclass(frozen=True)
class Detail:
    """A table that goes with the rows."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""


@dataclass
class Bench:
    """What the rows of one run share.

    Attributes
    ----------
    folder
        Where nights are kept and frames are written.
    repeats
        Rounds of short measurements.
    threads
        Threads of flatcore.
    tell
        Called with what is going on.
    twin_seconds
        Best time of each twin so far, by step.
    rounds
        Seconds of every round, by measurement and contender.
    remarks
        Times that are not to be trusted.
    """

    folder: Path
    repeats: int
    threads: int
    tell: Callable[[str], None]
    twin_seconds: dict[str, float] = field(default_factory=dict)
    details: list[Detail] = field(default_factory=list)
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @functools.cached_property
    def root(self) -> Path:
        """Data root of the full night."""
        self.tell("the full night: simulated where it is not there yet")
        return data.full_night(self.folder)

    @functools.cached_property
    def steps(self) -> Steps:
        """The full night between its steps."""
        root = self.root
        self.tell("the full night's steps")
        return steps_of(root)

    def race(
        self, what: str, contenders: Mapping[str, Callable[[], object]], repeats: int | None = None
    ) -> dict[str, float]:
        """Best seconds of each contender; every round is kept, and an uneven one remarked on."""
        return self.record(what, race(contenders, repeats or self.repeats, lambda text: self.tell(f"{what}: {text}")))

    def record(self, what: str, rounds: dict[str, list[float]]) -> dict[str, float]:
        """Keep every round of a measurement, and give the best of each contender."""
        self.rounds[what] = rounds
        self.remarks += [f"uneven times, {what}: {text}" for text in uneven(rounds)]
        return best_of(rounds)
