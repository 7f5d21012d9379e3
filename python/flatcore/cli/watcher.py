"""What a run tells the terminal while it goes on, and how it ends when it is told to."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from flatcore.recording import Terminated

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

STAGES = {
    "frames": "select frames",
    "calibrations": "read calibrations",
    "straighten": "straighten",
    "combine": "combine frames",
    "calibrate": "calibrate",
    "extract": "extract",
    "blaze": "fit the blaze",
    "flat": "make the flat",
    "products": "write products",
    "database": "register",
    "figures": "draw figures",
    "report": "write the page",
    "darkref": "combine darks",
    "badpix": "find bad pixels",
    "unlit": "find unlit pixels",
    "background": "subtract the background",
    "locate": "trace the orders",
    "shape": "straighten the traces",
    "tilt": "measure the tilt of lines",
    "orderprofile": "make order profiles",
    "write": "write files",
}


@contextlib.contextmanager
def signals_as_exceptions(left: str) -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: by an exception, so that everything is cleaned up.

    Parameters
    ----------
    left
        What an interrupt leaves behind, and what to do then: a note on the exception, for the closing line. Empty for
        none.
    """

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise Terminated(number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if left:
            interrupt.add_note(left)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class Watcher:
    """Show a run's stages and log on standard error; lines of the log are date | program | message.

    Parameters
    ----------
    program
        Name in every line.
    quiet
        Warnings and errors only.
    debug
        From 1 on every stage's time is told.
    bars
        Show progress on a terminal.
    """

    def __init__(self, program: str, quiet: bool, debug: int, bars: bool) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._handler: logging.Handler = logging.StreamHandler(sys.stderr)
        if sys.stderr.isatty():
            self._progress = _progress(hidden=quiet or not bars)
            self._handler = _ProgressHandler(self._progress.console)
        self._handler.setFormatter(_LineFormatter(program))
        self._handler.addFilter(lambda record: not hasattr(record, "file_only"))
        self._handler.setLevel(logging.WARNING if quiet else logging.DEBUG if debug else logging.INFO)

    def __enter__(self) -> Self:
        logger = logging.getLogger("flatcore")
        self._level = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self._handler)
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        logger = logging.getLogger("flatcore")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)

    def stage(self, name: str, seconds: float) -> None:
        """Take notice of a stage's start (0 seconds) or end."""
        if self._progress is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(STAGES.get(name, name), total=1)
        elif seconds:
            self._progress.update(self._tasks[name], completed=1)


def _progress(hidden: bool) -> Progress:
    """Progress bars on standard error."""
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)


class _LineFormatter(logging.Formatter):
    """``date | program | message``; warnings and errors say so."""

    def __init__(self, program: str) -> None:
        super().__init__("%(asctime)s | %(program)s | %(message)s", "%Y-%m-%d %H:%M:%S")
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        record.program = self._program
        line = super().format(record)
        if record.levelno >= logging.WARNING:
            head, bar, message = line.rpartition(f"| {self._program} | ")
            return f"{head}{bar}{record.levelname.lower()}: {message}"
        return line


class _ProgressHandler(logging.Handler):
    """Lines above the progress bars."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(self.format(record), style=style, markup=False, highlight=False, soft_wrap=True)
