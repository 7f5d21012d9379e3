"""A night made in a process of its own: whatever becomes of it, the watcher goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flatcore.watch.alone import held_mark

Ending = Literal["done", "failed-qc", "error", "crashed", "stopped"]

# How long an ended run may take to clean up [s].
PATIENCE_S = 60.0

# What an error says that waiting may cure: another run's lock, a busy database, and whatever the system refused, such
# as room on a disk.
PASSING = ("another run is at work here", "database is locked", "[Errno ", "cannot be written", "could not connect")


@dataclass(frozen=True)
class RunOutcome:
    """What came of a run.

    Attributes
    ----------
    ending
        done, failed-qc, error; crashed: it ended by a signal, by an internal error or by taking too long; stopped:
        because the watcher was told to end.
    exit_status
        Of the process; negative: the signal that ended it.
    summary
        What ``flatcore run --json`` printed; empty where it failed.
    error
        What was wrong.
    seconds
        How long it took.
    warnings
        Lines it said on standard error.
    """

    ending: Ending
    exit_status: int
    summary: dict[str, Any]
    error: str
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def made(self) -> bool:
        """Whether there are products."""
        return self.ending in ("done", "failed-qc")

    @property
    def skipped(self) -> bool:
        """Whether an earlier run had made just these."""
        return bool(self.summary.get("skipped", False))

    @property
    def passing(self) -> bool:
        """Whether the same may succeed later, though neither frames nor calibrations change."""
        return self.ending == "crashed" or any(words in self.error for words in PASSING)


class NightRun:
    """A process that makes a night; to be run in a thread, and stopped from another.

    Parameters
    ----------
    arguments
        Of ``flatcore``.
    timeout_s
        A run that takes longer is ended [s].
    mark
        File that the process holds as long as it lives, whatever becomes of the watcher.
    """

    def __init__(self, arguments: Sequence[str], timeout_s: float, mark: Path) -> None:
        # Without -P a folder called flatcore in the working directory would be run.
        self._command = [sys.executable, "-P", "-m", "flatcore", *arguments]
        self._timeout_s = timeout_s
        self._mark = mark
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> RunOutcome:
        """Run to the end, whatever it is."""
        start = time.monotonic()
        with self._lock:
            if self._stopped:
                return RunOutcome("stopped", 0, {}, "stopped before it began", 0.0)
            try:
                with held_mark(self._mark) as mark:
                    # A session of its own: Ctrl-C at the terminal is for the watcher, which hands it on.
                    self._process = subprocess.Popen(
                        self._command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        start_new_session=True,
                        pass_fds=(mark,),
                    )
            except OSError as error:
                return RunOutcome("crashed", 1, {}, f"cannot be started: {error}", 0.0)
        late = False
        with self._process as process:
            try:
                out, err = process.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                late = True
                out, err = self._end(process)
        seconds = time.monotonic() - start
        outcome = outcome_of(process.returncode, out, err.decode(errors="replace"), seconds)
        if self._was_stopped() and not outcome.made:
            return RunOutcome("stopped", process.returncode, {}, outcome.error, seconds, outcome.warnings)
        if late:
            text = f"took longer than {self._timeout_s:g} s (--run-timeout), and was ended"
            return RunOutcome("crashed", process.returncode, {}, text, seconds, outcome.warnings)
        return outcome

    def stop(self) -> None:
        """Ask the run to end in an orderly way; it is ended for good when it does not."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        timer = threading.Timer(PATIENCE_S, _kill, [process])
        timer.daemon = True
        timer.start()

    def _was_stopped(self) -> bool:
        with self._lock:
            return self._stopped

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        process.send_signal(signal.SIGTERM)
        try:
            return process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            return process.communicate()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a run and all that it started, if it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def outcome_of(status: int, out: bytes, said: str, seconds: float) -> RunOutcome:
    """Tell what came of a run by its exit status, what it printed and what it said on standard error."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if status in (0, 4):
        try:
            summary = json.loads(out)
        except ValueError as error:
            return RunOutcome("crashed", status, {}, f"printed no JSON: {error}", seconds, tuple(lines))
        return RunOutcome("done" if status == 0 else "failed-qc", status, summary, "", seconds, tuple(lines))
    if status < 0:
        text = f"ended by signal {-status} ({signal.strsignal(-status)})"
        return RunOutcome("crashed", status, {}, text, seconds, tuple(lines))
    text = errors[-1] if errors else lines[-1] if lines else f"ended with status {status}, without a word"
    if status == 1 and len(lines) > 1 and errors:
        # An internal error: the exception itself stands above the closing line.
        text = lines[-2]
    warnings = tuple(line for line in lines if not line.startswith("error: "))
    return RunOutcome("error" if status in (2, 3) else "crashed", status, {}, text, seconds, warnings)
