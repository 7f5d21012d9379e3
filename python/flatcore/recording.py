"""The record of a run in the database: that it runs, and how it ended, however it ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from flatcore.caldb import RunLog
from flatcore.caldb.runs import Ending
from flatcore.errors import FlatcoreError
from flatcore.interrupts import held_back
from flatcore.settings import RunSettings

log = logging.getLogger("flatcore")

# Messages for the log file: whoever called is told by the exception.
FILE_ONLY = {"file_only": True}


class Terminated(KeyboardInterrupt):
    """The run was told to end by a signal.

    Attributes
    ----------
    number
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number


def exit_status_of(interrupt: KeyboardInterrupt) -> int:
    """Exit status of a run ended by a signal: 128 and its number, as the shell has it."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else 2)


class Recorded(AbstractContextManager["Recorded"]):
    """The record of a run: that it runs, and how it ended, however it ended.

    A run that fails before it starts is recorded too, but makes no database for that.

    Attributes
    ----------
    instrument
        Name of the instrument; empty until it is known.
    """

    def __init__(self, runs: RunLog, obs_dir: str, pid: str, run: RunSettings) -> None:
        self._runs, self._obs_dir, self._pid, self._run = runs, obs_dir, pid, run
        self._started = self._ended = False
        self.instrument = ""

    def start(self) -> None:
        """Record the run as running."""
        run = self._run
        # An interrupt between the record and knowing of it would have it recorded twice.
        with held_back():
            self._runs.start(
                pid=self._pid,
                obs_dir=self._obs_dir,
                instrument=self.instrument,
                program=run.program,
                shortname=run.shortname,
                recipe_kind=run.recipe_kind,
            )
            self._started = True

    def finish(self, status: Ending, exit_status: int, record: Mapping[str, Any]) -> None:
        """Record how the run ended; once."""
        if not self._ended:
            self._ended = True
            self._runs.finish(self._pid, status, exit_status, record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            log.error("interrupted", extra=FILE_ONLY)
            self.fail("interrupted", exit_status_of(error), "interrupted")
        elif isinstance(error, FlatcoreError):
            log.error("%s", error, extra=FILE_ONLY)
            self.fail("error", error.exit_status, str(error))
        elif isinstance(error, Exception):
            log.error("internal error", exc_info=error, extra=FILE_ONLY)
            self.fail("error", 1, repr(error))

    def fail(self, status: Ending, exit_status: int, text: str) -> None:
        """Record that the run came to nothing, and why."""
        if not self._started and self._runs.exists():
            self.start()
        if self._started:
            self.finish(status, exit_status, {"error": text})
