"""The watcher: look, decide, run, tell; until it is told to end, or once."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from flatcore.caldb import RunLog
from flatcore.errors import InputError, OutputError, UsageError
from flatcore.watch.alone import AnotherWatcherError, alone, who_is_busy
from flatcore.watch.jobs import Job, Runs, Task, run_arguments
from flatcore.watch.memory import Memory
from flatcore.watch.mounts import network_kind
from flatcore.watch.nagging import Nagging
from flatcore.watch.observer import Observer
from flatcore.watch.request import WatchRequest
from flatcore.watch.runner import NightRun, RunOutcome
from flatcore.watch.sets import Sets, Standing
from flatcore.watch.status import HEARTBEAT_S, SetStatus, Snapshot, StatusFile
from flatcore.watch.telling import tell_begin, tell_end
from flatcore.watch.waking import Changes, Waker, check_watchfiles

log = logging.getLogger("flatcore")

# The state file is written at most so often while nothing is run [s].
SAVE_S = 5.0

# How long to wait before looking again whether another run still works on a night [s].
BUSY_S = 5.0

# Looking takes at most this share of the time: a large tree on a slow disk is looked at less often.
LARGEST_SHARE = 0.1


class Watch:
    """Follow a tree, and run every set of frames once it is complete.

    Parameters
    ----------
    request
        What is asked for.
    make_run
        Gives what makes a night; a process of its own by default.
    clock, wall
        Seconds that nobody sets, and since 1970.
    """

    def __init__(
        self,
        request: WatchRequest,
        make_run: Callable[[Task], Runs] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._request, self._clock, self._wall = request, clock, wall
        self._make_run = make_run or (
            lambda task: NightRun(run_arguments(request, task), request.run_timeout_s, request.run_mark)
        )
        self._runs = RunLog.open(request.data_root, request.database_url)
        self._stop: int | None = None
        self._job: Job | None = None
        self._waker = Waker()
        self._nagging = Nagging()
        self._changes: Changes | None = None
        self._standings: dict[str, list[Standing]] = {}
        self._busy_until: dict[str, float] = {}
        self._endings: dict[tuple[str, str], str] = {}
        self._saved_at = -float("inf")
        self._status = StatusFile(request.status)
        self._next_look = -float("inf")

    def follow(self) -> int:
        """Follow the tree until a signal; the exit status is 128 and its number.

        Raises
        ------
        UsageError
            watchfiles is needed and not installed.
        InputError
            There is no such data root, or another watcher follows the tree.
        OutputError
            The state file cannot be written.
        """
        network = network_kind(self._request.tree)
        events = network is None if self._request.poll is None else not self._request.poll
        if events:
            check_watchfiles()
        with self._at_work(once=False), contextlib.ExitStack() as stack:
            if events:
                self._changes = stack.enter_context(Changes(self._request.tree, self._waker))
            how = "told of changes" if events else f"looking every {self._request.poll_interval_s:g} s"
            log.info("%s: following, %s%s", self._request.tree, how, f" ({network})" if network else "")
            while self._stop is None:
                self._look()
                self._turn()
                self._waker.wait(self._until())
            self._end_job()
        return self._tell_end(self._stop)

    def once(self) -> int:
        """Run what is complete now, each set at most once.

        Returns
        -------
        int
            The exit status: 0 all is well, also where another watcher is at work; 4 a fibre failed quality control;
            3 a night could not be made; 128 and the number of a signal.

        Raises
        ------
        InputError, OutputError
            As of :meth:`follow`.
        """
        try:
            with self._at_work(once=True):
                self._observer.look_everywhere()
                while self._stop is None:
                    self._turn(not_again=True)
                    if self._job is None:
                        break
                    self._waker.wait(HEARTBEAT_S)
                self._end_job()
        except AnotherWatcherError as error:
            log.info("%s; nothing to do here", error)
            return 0
        if self._stop is not None:
            return self._tell_end(self._stop)
        endings = set(self._endings.values())
        return 3 if endings & {"error", "crashed"} else 4 if "failed-qc" in endings else 0

    @staticmethod
    def _tell_end(number: int) -> int:
        """Say what a signal leaves, and give the exit status."""
        log.info("ended by signal %d; no file is half-written, and the next start goes on from here", number)
        return 128 + number

    @contextlib.contextmanager
    def _at_work(self, once: bool) -> Iterator[None]:
        """Hold the state file, remember, heed signals; and leave all in order."""
        request = self._request
        if not request.data_root.is_dir():
            raise InputError(f"{request.data_root}: no such data root")
        with alone(request), self._signals():
            self._memory = Memory.load(request.state_file, request.tree)
            self._memory.believe(self._runs.made() if self._runs.exists() else ())
            # What was wrong with the options may be right with those of now.
            self._memory.forget_failures(None if request.retry_failed else UsageError.exit_status)
            self._observer = Observer(request, self._memory, self._clock, self._wall, lambda: self._stop is not None)
            self._sets = Sets(request, self._memory, once, self._clock, self._wall)
            self._sets.look_at_calibrations()
            try:
                yield
            finally:
                self._end_job()
                self._save()
                self._write_status(up=False)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for the wish to end, between two steps and not within one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end(number: int, _frame: FrameType | None) -> None:
            self.stop(number)

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End soon, as by a signal; may be called from a signal handler or another thread."""
        self._stop = number
        self._waker.ring()

    def _look(self) -> None:
        """Look at the tree: everywhere when it is time, else where something is said to have changed."""
        changed = self._changes.take() if self._changes is not None else set()
        if self._changes is not None and self._changes.fault is not None:
            fault, interval = self._changes.fault, self._request.poll_interval_s
            log.warning(
                "%s: the system tells of no changes (%s); looking every %g s", self._request.tree, fault, interval
            )
            self._changes = None
            self._next_look = self._clock()
        if self._clock() >= self._next_look:
            start = self._clock()
            self._observer.look_where(changed, everywhere=True)
            if any(found.status.state == "failed" for night in self._standings.values() for found in night):
                self._sets.look_at_calibrations()
            took = self._clock() - start
            self._next_look = self._clock() + max(self._interval(), took * (1 / LARGEST_SHARE - 1))
        elif changed:
            self._observer.look_where(changed)

    def _interval(self) -> float:
        """Give the time from look to look: short where the system does not tell of all changes [s]."""
        told = self._changes is not None and not self._observer.linked and self._observer.missing is None
        return self._request.rescan_s if told else self._request.poll_interval_s

    def _turn(self, not_again: bool = False) -> None:
        """Take notice of a run that has ended, see how all sets stand, and begin the next run."""
        if self._job is not None and self._job.finished:
            self._finish(self._job)
        self._standings = {name: self._sets.stand(tracker) for name, tracker in sorted(self._observer.trackers.items())}
        if self._job is None and self._stop is None:
            self._begin_next(not_again)
        if self._memory.changed and self._clock() - self._saved_at >= SAVE_S:
            self._save()
        self._write_status(up=True)

    def _begin_next(self, not_again: bool) -> None:
        for name, standings in self._standings.items():
            for standing in standings:
                task = standing.task
                if task is None or (not_again and (name, task.kind) in self._endings):
                    continue
                # What is there now decides, not what was there when it was last looked at.
                task = self._still_complete(task)
                if task is not None and not self._is_busy(task, not_again):
                    self._begin(task)
                    return

    def _still_complete(self, task: Task) -> Task | None:
        self._observer.look_at([task.obs_dir])
        tracker = self._observer.trackers.get(task.obs_dir)
        standings = [] if tracker is None else self._sets.stand(tracker)
        self._standings[task.obs_dir] = standings
        return next((found.task for found in standings if found.task and found.task.kind == task.kind), None)

    def _is_busy(self, task: Task, once: bool) -> bool:
        """Tell whether another run works on the night: it may make just these products, so it is waited for."""
        if self._clock() < self._busy_until.get(task.obs_dir, -float("inf")):
            return True
        busy = who_is_busy(self._request, self._runs, task.obs_dir)
        if busy is None:
            self._busy_until.pop(task.obs_dir, None)
            return False
        if task.obs_dir not in self._busy_until:
            log.info("%s: %s, %s", task.name, busy, "left alone" if once else "waiting")
        self._busy_until[task.obs_dir] = self._clock() + BUSY_S
        return True

    def _begin(self, task: Task) -> None:
        tell_begin(task, self._standings[task.obs_dir])
        try:
            self._sets.begin(task)
        except OutputError as error:
            # Without a state file a night may be told of twice, but it is not lost; a full disk is told by the run too.
            self._nagging.warn("state", str(error))
        self._job = Job(task, self._request, self._make_run(task), self._waker.ring)
        self._job.start()

    def _finish(self, job: Job) -> None:
        job.join()
        self._job = None
        outcome = job.outcome or RunOutcome("crashed", 1, {}, "ended without a word", 0.0)
        self._endings[job.task.obs_dir, job.task.kind] = outcome.ending
        wait_s = self._sets.end(job.task, outcome)
        tell_end(job.task, outcome, wait_s)
        if job.hook_problem is not None:
            self._memory.totals.hook_failures += 1
            self._memory.changed = True
            log.warning("%s: %s", job.task.name, job.hook_problem)
        self._save()

    def _end_job(self) -> None:
        """End the night that is being made, in an orderly way, and wait for that."""
        if self._job is not None:
            self._job.stop()
            self._job.join()
            self._finish(self._job)

    def _save(self) -> None:
        self._saved_at = self._clock()
        try:
            self._memory.save()
            self._nagging.cured("state")
        except OutputError as error:
            self._nagging.warn("state", str(error))

    def _write_status(self, up: bool) -> None:
        observer, changes = self._observer, "polling" if self._changes is None else "events"
        self._status.write(
            Snapshot(
                up, str(self._request.tree), changes, self._wall(), observer.looked_at, observer.missing is None,
                tuple(self._statuses()), observer.settled, self._memory.totals,
            )
        )  # fmt: skip

    def _statuses(self) -> Iterator[SetStatus]:
        for standings in self._standings.values():
            for found in standings:
                status = found.status
                task = None if self._job is None else self._job.task
                if task is not None and (task.obs_dir, task.kind) == (status.obs_dir, status.kind):
                    yield SetStatus(status.obs_dir, status.kind, "running", len(task.files), "", task.left_out)
                else:
                    yield status

    def _until(self) -> float:
        """Give the time until there is something to do without being woken [s]."""
        now = self._clock()
        due = [HEARTBEAT_S, self._next_look - now]
        due += [found.again_s for night in self._standings.values() for found in night if found.again_s is not None]
        if self._job is None:
            due += [until - now for until in self._busy_until.values() if until > now]
        if self._memory.changed:
            due.append(self._saved_at + SAVE_S - now)
        # Not at once again: a set that wants to be looked at now was looked at.
        return max(0.02, min(due))
