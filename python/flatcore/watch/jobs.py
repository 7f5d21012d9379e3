"""A complete set at work: the run, and the command that is told of it; in a thread, so that the watcher goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flatcore.watch.hooks import call_hook
from flatcore.watch.request import WatchRequest
from flatcore.watch.runner import RunOutcome

log = logging.getLogger("flatcore")


class Runs(Protocol):
    """Something that makes a night, and may be stopped."""

    def run(self) -> RunOutcome:
        """Run to the end."""

    def stop(self) -> None:
        """Ask it to end."""


@dataclass(frozen=True)
class Task:
    """A complete set: its night and kind, the frames that are whole, and what all of them looked like.

    Attributes
    ----------
    left_out
        Frames that never became whole, with what is missing.
    again
        Whether it was begun before, by a watcher that did not see its end.
    attempt
        1 for the first run of these frames.
    """

    obs_dir: str
    kind: str
    files: tuple[Path, ...]
    contents: dict[str, str]
    left_out: dict[str, str]
    again: bool
    attempt: int

    @property
    def name(self) -> str:
        """The set in messages."""
        return f"{self.obs_dir} {self.kind}"


def run_arguments(request: WatchRequest, task: Task) -> list[str]:
    """Give the command line of ``flatcore`` that makes a set."""
    arguments = ["run", "--data-root", str(request.data_root)]
    if request.in_dir is not None:
        arguments += ["--force_indir", str(request.in_dir)]
    if request.out_dir is not None:
        arguments += ["--force_outdir", str(request.out_dir)]
    if request.database_url is not None:
        arguments += ["--database-url", request.database_url]
    arguments += [*request.run_options, "--json", "--quiet", "--skip-existing", "--"]
    return [*arguments, task.obs_dir, *map(str, task.files)]


class Job:
    """A task that is being done.

    Parameters
    ----------
    task, request
        What is to be done.
    run
        Makes the night.
    ended
        Called when all is done, from the thread.

    Attributes
    ----------
    outcome, hook_problem
        What came of it, and what went wrong with the command, once it has ended.
    finished
        Whether it has.
    """

    def __init__(self, task: Task, request: WatchRequest, run: Runs, ended: Callable[[], None]) -> None:
        self.task, self._request, self._run, self._ended = task, request, run, ended
        self.outcome: RunOutcome | None = None
        self.hook_problem: str | None = None
        self.finished = False
        self._thread = threading.Thread(target=self._do, name="flatcore-watch-run")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to end; its command is not called."""
        self._run.stop()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _do(self) -> None:
        try:
            self.outcome = self._run.run()
            self.hook_problem = self._tell(self.outcome)
        except Exception as error:
            # A fault of the watcher's own: told in full, and no reason to leave all other nights.
            log.exception("%s: internal error", self.task.name)
            self.outcome = self.outcome or RunOutcome("crashed", 1, {}, repr(error), 0.0)
        finally:
            # First: whoever is called looks at it.
            self.finished = True
            self._ended()

    def _tell(self, outcome: RunOutcome) -> str | None:
        """Call the command that is for this end."""
        words = self._request.on_done if outcome.ending == "done" else self._request.on_fail
        # What an earlier run made was told by whoever ran that; unless it was us, and we were killed before.
        known = outcome.skipped and not self.task.again
        if not words or outcome.ending == "stopped" or known:
            return None
        return call_hook(words, told(self.task, outcome), self._environment(outcome), self._request.hook_timeout_s)

    def _environment(self, outcome: RunOutcome) -> dict[str, str]:
        return {
            "FLATCORE_DATA": str(self._request.data_root),
            "FLATCORE_OBS_DIR": self.task.obs_dir,
            "FLATCORE_KIND": self.task.kind,
            "FLATCORE_STATUS": outcome.ending,
            "FLATCORE_EXIT_STATUS": str(outcome.exit_status),
            "FLATCORE_ATTEMPT": str(self.task.attempt),
            "FLATCORE_RUN": str(outcome.summary.get("pid", "")),
        }


def told(task: Task, outcome: RunOutcome) -> dict[str, Any]:
    """Give what a command is told: what ``flatcore run --json`` printed, or of a run that failed what is known."""
    if outcome.made:
        return outcome.summary
    return {
        "obs_dir": task.obs_dir,
        "kind": task.kind,
        "passed": False,
        "status": outcome.ending,
        "exit_status": outcome.exit_status,
        "error": outcome.error,
        "attempt": task.attempt,
        "files": [str(path) for path in task.files],
        "seconds": {"total": round(outcome.seconds, 3)},
    }
