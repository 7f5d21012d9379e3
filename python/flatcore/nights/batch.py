"""Who may begin, and with what: the order in which the nights of a batch are measured and concluded.

The result is that of running the nights one after the other, the oldest first, whatever the number of workers and
whoever finishes first. Nights are measured in any order. A night is concluded when it is known which flats it is to
be held to: those of the latest earlier night whose fibre passed. That night need not be finished for it: its flats are
handed on as soon as they are measured. If it fails to be written after that, those that were held to it are run again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import get_args

from flatcore.errors import FlatcoreError
from flatcore.interrupts import held_back
from flatcore.nights.crew import Crew, Handle, LostError
from flatcore.nights.failure import Failure
from flatcore.nights.item import OVER, Item, State
from flatcore.nights.ledger import Ledger
from flatcore.nights.lookback import Lookback
from flatcore.nights.plan import Task
from flatcore.nights.staging import Stage
from flatcore.nights.work import Job, Outcome, conclude_night, flats_of_night, measure_night, verdicts_of_night
from flatcore.recording import exit_status_of

log = logging.getLogger("flatcore.nights")

# Pause before the first new attempt; it doubles with each [s].
PAUSE_S = 2.0
# So many nights in a row that cannot even be recorded as begun: the database is gone, and the batch with it.
MOST_UNRECORDED = 5


@dataclass(frozen=True)
class Policy:
    """When to give up.

    Attributes
    ----------
    retries
        New attempts at a night that failed for a reason that may pass.
    max_failures
        Begin no further night after so many that could not be run; None for no limit.
    pause_s
        Before the first new attempt; doubled with each [s].
    """

    retries: int = 2
    max_failures: int | None = None
    pause_s: float = PAUSE_S


def at_the_door(size: int) -> int:
    """Give the number of nights that wait for a worker to be free, so that none waits for this process."""
    return 0 if size == 1 else max(1, size // 4)


class Batch:
    """Nights on their way.

    Parameters
    ----------
    tasks
        In the order in which they are to begin.
    crew
        Who does the work.
    ledger
        Where it is recorded.
    policy
        When to give up.
    threads
        Of each night.
    stage
        Where nights of a storage are run.
    tell
        Called with an item when its state has changed.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        crew: Crew,
        ledger: Ledger,
        policy: Policy,
        *,
        threads: int,
        stage: Stage | None = None,
        tell: Callable[[Item], None] = lambda item: None,
    ) -> None:
        self.items = [Item(task) for task in tasks]
        # Thousands of nights: none is looked at but when it is its turn.
        self._by_state: dict[State, dict[Item, None]] = {state: {} for state in get_args(State)}
        self._by_state["waiting"] = dict.fromkeys(self.items)
        self._of_night: dict[str, list[Item]] = {}
        for item in self.items:
            self._of_night.setdefault(item.task.obs_dir, []).append(item)
        self._crew, self._ledger, self._policy = crew, ledger, policy
        self._threads, self._stage, self._tell = threads, stage, tell
        self._lookback = Lookback(self.items, ledger.known)
        self._unrecorded = 0

    def run(self) -> list[Item]:
        """Run all of it.

        Raises
        ------
        FlatcoreError
            The database or the cluster is gone; what had not ended is recorded as interrupted, if that is possible.
        """
        try:
            while sum(len(self._by_state[state]) for state in OVER) < len(self.items):
                self._conclude()
                self._begin()
                self._take_in()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._give_up(exit_status_of(error))
            else:
                self._give_up(getattr(error, "exit_status", 1))
            raise
        return self.items

    def _in(self, *states: State) -> list[Item]:
        return [item for state in states for item in self._by_state[state]]

    def _begin(self) -> None:
        """Begin as many nights as there is room for."""
        if self._given_up():
            for item in self._in("waiting"):
                self._leave(item)
            return
        if self._crew.size == 1 and self._by_state["concluding"]:
            # Who works alone ends one night before the next: nothing that is done waits to be recorded.
            return
        room = self._crew.size + at_the_door(self._crew.size) - len(self._by_state["measuring"])
        # Measured nights take memory until they are concluded; without any at work, the next is what they wait for.
        crowded = len(self._in("measured")) >= 2 * self._crew.size and bool(self._in("measuring", "concluding"))
        if crowded:
            return
        now = time.monotonic()
        ready = (item for item in self._by_state["waiting"] if item.not_before <= now and self._is_next(item))
        for item in list(islice(ready, max(room, 0))):
            if self._is_next(item):
                self._measure(item)

    def _given_up(self) -> bool:
        limit = self._policy.max_failures
        return limit is not None and len(self._in("failed")) >= limit

    def _leave(self, item: Item) -> None:
        """End a night that is not to be begun, or not again."""
        if item.last is not None:
            self._failed_for_good(item, item.last)
        elif (outcome := item.outcome) is not None:
            self._try_to_record(item, lambda pid, task: self._ledger.end(outcome, ()))
            self._move(item, "done")
        else:
            if item.run is not None:
                self._try_to_record(item, lambda pid, task: self._ledger.interrupt(pid, task, 3))
            self._move(item, "not run")

    def _is_next(self, item: Item) -> bool:
        """Tell whether the sets of the same night before this one have ended: all write into its folder."""
        earlier = takewhile(lambda other: other is not item, self._of_night[item.task.obs_dir])
        return all(other.state in OVER for other in earlier)

    def _measure(self, item: Item) -> None:
        if item.run is None and not self._is_recorded_as_begun(item):
            return
        assert item.run is not None
        item.attempts += 1
        item.borrowed, item.stale, item.verdicts = [], False, ()
        job = Job(item.task, item.run, self._threads, self._stage)
        item.measured = self._crew.submit(measure_night, job)
        item.verdict_handle = self._crew.submit(verdicts_of_night, item.measured, urgent=True)
        item.flats = self._crew.submit(flats_of_night, item.measured, urgent=True)
        self._move(item, "measuring")

    def _is_recorded_as_begun(self, item: Item) -> bool:
        """Record that a night begins; where that cannot be it is the night's failure, unless it is that of many."""
        with held_back():
            item.begun = time.monotonic()
            try:
                item.run = self._ledger.begin(item.task)
            except FlatcoreError as error:
                self._unrecorded += 1
                if self._unrecorded >= MOST_UNRECORDED:
                    raise
                self._failed_for_good(item, Failure.of(error))
                return False
        self._unrecorded = 0
        return True

    def _conclude(self) -> None:
        """Conclude the nights of which it is known what they are held to."""
        for item in self._in("measured"):
            lenders = self._lookback.lenders(item)
            if lenders is None:
                continue
            item.borrowed = lenders
            flats = [lender.flats for lender in lenders]
            item.concluded = self._crew.submit(
                conclude_night, item.measured, self._lookback.recorded_for(item), *flats, urgent=True
            )
            self._move(item, "concluding")

    def _take_in(self) -> None:
        """Wait for something to end, and take it in."""
        busy = {id(self._awaited(item)): item for item in self._in("measuring", "concluding")}
        if not busy:
            self._rest()
            return
        ended = [busy[id(handle)] for handle in self._crew.wait([self._awaited(item) for item in busy.values()])]
        # To record a night takes longer than to note that one is measured: workers that are free come first. As many
        # are recorded as were measured, so that none waits for that for ever.
        measured = [item for item in ended if item.state == "measuring"]
        concluded = [item for item in ended if item.state == "concluding"]
        for item in [*measured, *concluded[: max(1, len(measured))]]:
            self._end_of_step(item, self._result_of(item))

    def _result_of(self, item: Item) -> object:
        try:
            return self._crew.fetch(self._awaited(item))
        except LostError as error:
            return Failure(str(error), 3, passing=True)
        except Exception as error:
            # What a worker made could not be brought here, or not even be made: that is this night's matter.
            return Failure.of(error)

    def _awaited(self, item: Item) -> Handle:
        return item.verdict_handle if item.state == "measuring" else item.concluded

    def _end_of_step(self, item: Item, result: object) -> None:
        if isinstance(result, Failure):
            self._failed(item, result)
        elif item.state == "measuring":
            item.verdicts = result  # type: ignore[assignment]
            self._move(item, "measured")
        elif item.stale:
            # What it was held to is not, after all.
            item.attempts, item.last = 0, None
            self._again(item)
        else:
            assert isinstance(result, Outcome)
            self._done(item, result)

    def _done(self, item: Item, outcome: Outcome) -> None:
        # An interrupt between the record and knowing of it would have it recorded twice.
        with held_back():
            try:
                notices = self._ledger.add(item.task, outcome)
                item.outcome = self._ledger.end(outcome, notices)
            except FlatcoreError as error:
                self._failed(item, Failure.of(error))
                return
            item.last = None
            self._ended(item, "done")

    def _ended(self, item: Item, state: State) -> None:
        item.measured = item.verdict_handle = item.concluded = item.flats = None
        item.seconds = time.monotonic() - item.begun
        self._move(item, state)

    def _failed(self, item: Item, failure: Failure) -> None:
        if failure.passing and item.attempts <= self._policy.retries:
            pause_s = self._policy.pause_s * 2 ** (item.attempts - 1)
            log.warning("%s: %s; tried again in %g s", item.task.label, failure.text, pause_s)
            item.not_before = time.monotonic() + pause_s
            item.last = failure
            self._again(item)
        else:
            self._failed_for_good(item, failure)

    def _failed_for_good(self, item: Item, failure: Failure) -> None:
        item.failure = failure
        with held_back():
            self._try_to_record(item, lambda pid, task: self._ledger.fail(pid, task, failure))
            self._ended(item, "failed")
        for other in self.items:
            if item in other.borrowed:
                self._undo(other)

    def _try_to_record(self, item: Item, record: Callable[[str, Task], object]) -> None:
        """Record what is no success, or not yet; without an end, a run counts as killed once this process is gone."""
        if item.run is None:
            return
        try:
            record(item.run.pid, item.task)
        except FlatcoreError as error:
            log.warning("%s: its end cannot be recorded: %s", item.task.label, error)

    def _undo(self, other: Item) -> None:
        """Have a night run again that was held to flats which are not."""
        log.info("%s: run again, since a night that it was held to could not be written", other.task.label)
        if other.state == "concluding":
            other.stale = True
        elif other.state == "done":
            other.attempts, other.last = 0, None
            with held_back():
                self._try_to_record(other, lambda pid, task: self._ledger.reopen(pid))
                self._again(other)

    def _again(self, item: Item) -> None:
        item.measured = item.verdict_handle = item.concluded = item.flats = None
        item.borrowed, item.stale, item.verdicts = [], False, ()
        self._move(item, "waiting")
        # Others wait for it: it is the next.
        self._by_state["waiting"] = {item: None, **self._by_state["waiting"]}

    def _rest(self) -> None:
        """Sleep until the first night may be tried again."""
        if self._by_state["waiting"] and not self._by_state["measured"]:
            soonest = min(item.not_before for item in self._by_state["waiting"])
            time.sleep(max(0.0, min(soonest - time.monotonic(), 0.5)))

    def _give_up(self, exit_status: int) -> None:
        """Record what had begun and will not end."""
        begun = [item for item in self.items if item.run is not None and item.state not in OVER]
        for item in begun:
            with held_back():
                self._try_to_record(item, lambda pid, task: self._ledger.interrupt(pid, task, exit_status))

    def _move(self, item: Item, state: State) -> None:
        del self._by_state[item.state][item]
        self._by_state[state][item] = None
        item.state = state
        self._tell(item)
