"""How it stands with every set of the nights that are followed, and which is to be run next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from flatcore.errors import FlatcoreError
from flatcore.watch.completeness import Decision, SetView, decide, listed
from flatcore.watch.failures import calibrations_digest, wait_after
from flatcore.watch.jobs import Task
from flatcore.watch.memory import Failed, Made, Memory, SetMemory
from flatcore.watch.nagging import Nagging
from flatcore.watch.request import WatchRequest
from flatcore.watch.runner import RunOutcome
from flatcore.watch.status import SetStatus, State
from flatcore.watch.tracking import FrameSet, NightTracker

log = logging.getLogger("flatcore")


@dataclass(frozen=True)
class Standing:
    """How it stands with a set.

    Attributes
    ----------
    status
        For monitoring.
    task
        What is to be run; None where nothing is, now.
    again_s
        When to look again though nothing changes [s]; None: not at all.
    topic
        As of a decision.
    """

    status: SetStatus
    task: Task | None = None
    again_s: float | None = None
    topic: str = ""


class Sets:
    """The sets of the nights that are followed.

    Parameters
    ----------
    request
        The rules.
    memory
        What was run, and what failed.
    once
        Take the times of the files themselves for the time of their last change: there is only this one look.
    clock, wall
        Seconds that nobody sets, and since 1970.
    """

    def __init__(
        self,
        request: WatchRequest,
        memory: Memory,
        once: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._request, self._memory, self._once, self._clock, self._wall = request, memory, once, clock, wall
        self._known: set[tuple[str, str]] = set()
        self._told: dict[tuple[str, str], tuple[int, str]] = {}
        self._calibrations: str | None = None
        self._nagging = Nagging()

    def look_at_calibrations(self) -> None:
        """Take notice of the calibrations: where they have changed, sets that failed are tried again."""
        try:
            self._calibrations = calibrations_digest(self._request)
            self._nagging.cured("calibrations")
        except FlatcoreError as error:
            # A database that does not answer has not changed.
            self._nagging.warn("calibrations", str(error))

    def stand(self, tracker: NightTracker) -> list[Standing]:
        """Tell how it stands with a night's sets, by kind; and remember where nothing is left to do."""
        standings = [self._stand(tracker, frames) for frames in tracker.sets().values()]
        standings += self._stand_unknown(tracker)
        # What was left out is told of for as long as it is there.
        unsure = tracker.unsure or any(
            found.status.state not in ("done", "failed-qc") or found.status.unfinished for found in standings
        )
        self._memory.settle(tracker.name, None if unsure else tracker.listing.digest)
        for standing in standings:
            self._tell(standing)
        return standings

    def _stand(self, tracker: NightTracker, frames: FrameSet) -> Standing:
        entry = self._memory.of(tracker.name, frames.kind)
        self._remember(tracker, frames, entry)
        contents = frames.contents
        status = SetStatus(tracker.name, frames.kind, "waiting", len(contents), "")
        # Frames that are gone since make no run: whoever tidies up wants no products of the rest.
        if entry.made is not None and contents.items() <= entry.made.frames.items():
            state: State = "done" if entry.made.status == "done" else "failed-qc"
            unfinished = self._left_out(tracker, frames, entry.made.without)
            return Standing(replace(status, state=state, why=entry.made.pid, unfinished=unfinished))
        failed = entry.failed
        if failed is not None and failed.frames == contents and not self._may_retry(failed):
            again_s = None if failed.retry_at is None else failed.retry_at - self._wall()
            unfinished = self._left_out(tracker, frames, failed.without)
            return Standing(replace(status, state="failed", why=failed.error, unfinished=unfinished), None, again_s)
        quiet_s = self._clock() - tracker.sets()[frames.kind].changed_at
        rules = self._request.rules
        settle_s = rules.settle_s if rules.quiet_s is None else min(rules.settle_s, rules.quiet_s)
        if quiet_s < settle_s:
            # No use in reading files that change under the reader.
            return Standing(replace(status, why="changed just now"), None, settle_s - quiet_s, "coming")
        faults = tracker.faults(frames.names)
        status = replace(status, unfinished=faults)
        # A look into files may have told what they are.
        frames = tracker.sets()[frames.kind]
        decision = self._decide(tracker, frames, faults, quiet_s, late=entry.made is not None)
        if not decision.complete:
            state = "stalled" if decision.in_vain else "waiting"
            return Standing(replace(status, state=state, why=decision.why), None, decision.again_s, decision.topic)
        whole = tuple(tracker.folder / name for name in sorted(frames.frames) if name not in faults)
        same = failed is not None and failed.frames == contents
        attempt = failed.attempts + 1 if failed is not None and same else 1
        begun = entry.begun == frames.contents
        task = Task(tracker.name, frames.kind, whole, frames.contents, faults, begun, attempt)
        return Standing(replace(status, why=f"complete by {decision.why}"), task, None, "complete")

    @staticmethod
    def _left_out(tracker: NightTracker, frames: FrameSet, without: Mapping[str, str]) -> dict[str, str]:
        """Tell what of a set's files its run did without, and which have come since that may become frames."""
        there = {name: fault for name, fault in without.items() if name in frames.frames}
        return there | tracker.faults(frames.unsure)

    def _stand_unknown(self, tracker: NightTracker) -> list[Standing]:
        """Tell of a night that has no set, where files have not become frames for the stall time."""
        found = tracker.unknown()
        if found is None:
            return []
        self._remember(tracker, found, self._memory.of(tracker.name, found.kind))
        found = tracker.unknown()
        if found is None or self._clock() - found.changed_at < self._request.rules.stall_s:
            return []
        faults = tracker.faults(found.names)
        if not faults or tracker.sets():
            # A look into the files has told what they are.
            return []
        why = f"no file is a frame yet: {listed(tuple(f'{name} ({fault})' for name, fault in faults.items()))}"
        return [Standing(SetStatus(tracker.name, found.kind, "stalled", 0, why, faults), topic="unknown")]

    def _decide(
        self, tracker: NightTracker, frames: FrameSet, faults: dict[str, str], quiet_s: float, late: bool
    ) -> Decision:
        rules = self._request.rules
        marker = None if rules.end_marker is None else tracker.listing.marker(rules.end_marker)
        unfinished = tuple(f"{name} ({fault})" for name, fault in faults.items())
        whole = sum(name not in faults for name in frames.frames)
        return decide(rules, SetView(whole, unfinished, quiet_s, marker, late))

    def _remember(self, tracker: NightTracker, frames: FrameSet, entry: SetMemory) -> None:
        """Keep since when a set is as it is, and learn it from before a restart."""
        key = (tracker.name, frames.kind)
        first = key not in self._known
        self._known.add(key)
        if entry.seen != frames.digest:
            entry.seen, entry.since = frames.digest, self._wall()
            self._memory.changed = True
        ages = [self._wall() - entry.since] if first else []
        if self._once and first:
            ages.append(self._wall() - frames.youngest())
        # A clock that was set back tells nothing.
        age = max([0.0, *ages])
        if age > 0:
            tracker.was_quiet(frames, self._clock() - age)

    def _may_retry(self, failed: Failed) -> bool:
        if self._calibrations is not None and failed.calibrations != self._calibrations:
            return True
        return failed.retry_at is not None and self._wall() >= failed.retry_at

    def _tell(self, standing: Standing) -> None:
        """Say what a set waits for, once for everything that is new."""
        status = standing.status
        key = (status.obs_dir, status.kind)
        news = (status.frames, standing.topic)
        if status.state in ("waiting", "stalled") and self._told.get(key) != news and standing.topic != "complete":
            count = f"{status.frames} frame{'' if status.frames == 1 else 's'}"
            level = logging.WARNING if standing.topic == "stalled" else logging.INFO
            log.log(level, "%s %s: %s, %s", *key, count, status.why)
            self._told[key] = news

    def begin(self, task: Task) -> None:
        """Remember that a set is being run.

        Raises
        ------
        OutputError
            The state file cannot be written.
        """
        self._memory.of(task.obs_dir, task.kind).begun = task.contents
        self._memory.save()

    def end(self, task: Task, outcome: RunOutcome) -> float | None:
        """Remember how a run ended; one that was stopped is as if it had not begun.

        Returns
        -------
        float or None
            Time until it is tried again [s]; None where it is not.
        """
        entry, totals = self._memory.of(task.obs_dir, task.kind), self._memory.totals
        if outcome.ending == "stopped":
            return None
        wait_s = None if outcome.made else wait_after(outcome, task.attempt)
        entry.begun = None
        if not outcome.skipped:
            totals.runs[outcome.ending] = totals.runs.get(outcome.ending, 0) + 1
            totals.last_run_s = round(outcome.seconds, 3)
        if outcome.made:
            pid = str(outcome.summary.get("pid", ""))
            entry.made = Made(task.contents, pid, outcome.ending, task.left_out)
            entry.failed = None
            if outcome.ending == "done" and not outcome.skipped:
                totals.last_success = self._wall()
        else:
            self.look_at_calibrations()
            entry.failed = Failed(
                task.contents,
                outcome.error,
                outcome.exit_status,
                task.attempt,
                self._calibrations or "",
                None if wait_s is None else self._wall() + wait_s,
                task.left_out,
            )
        self._memory.changed = True
        return wait_s
