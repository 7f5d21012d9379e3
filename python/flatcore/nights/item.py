"""A night of a batch on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flatcore.caldb import RunRecord
from flatcore.caldb.keys import unix_of_mjd
from flatcore.nights.crew import Handle
from flatcore.nights.earlier import Verdict
from flatcore.nights.failure import Failure
from flatcore.nights.plan import Task
from flatcore.nights.work import Outcome

State = Literal["waiting", "measuring", "measured", "concluding", "done", "failed", "not run"]
OVER: tuple[State, ...] = ("done", "failed", "not run")


@dataclass(eq=False)
class Item:
    """A task on its way.

    Attributes
    ----------
    task
        What is to be done.
    run
        Its run, from its beginning on.
    verdicts
        Which fibres pass, from when it is measured.
    borrowed
        Other items whose flats it was handed before they were registered.
    stale
        Whether one of those has failed since.
    last
        Why the latest attempt came to nothing, where it is to be tried again.
    begun, seconds
        When it began, and how long it took.
    """

    task: Task
    state: State = "waiting"
    run: RunRecord | None = None
    attempts: int = 0
    not_before: float = 0.0
    measured: Handle = None
    verdict_handle: Handle = None
    flats: Handle = None
    concluded: Handle = None
    verdicts: tuple[Verdict, ...] = ()
    borrowed: list[Item] = field(default_factory=list)
    stale: bool = False
    last: Failure | None = None
    failure: Failure | None = None
    outcome: Outcome | None = None
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def unixtime(self) -> float:
        """Time of the frames [s]."""
        return unix_of_mjd(self.task.mjd_mid)

    def passed(self, fiber: str) -> bool:
        """Tell whether a fibre of any of its images passes."""
        return any(verdict.passed for verdict in self.verdicts if verdict.fiber == fiber)
