"""The log file of a run: one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from flatcore.errors import OutputError
from flatcore.settings import RunSettings

# Fields a message may carry besides its text.
EXTRA = ("stage", "seconds")


@contextlib.contextmanager
def log_file(data_root: Path, pid: str, run: RunSettings) -> Iterator[None]:
    """Write every message of the block to ``<data root>/log/<pid>.jsonl``; nothing where there is no data root.

    Each line holds time (UTC), level, program, shortname, recipe_kind, pid, message, and what the message is about.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = log_path(data_root, pid)
    if not data_root.is_dir():
        yield
        return
    try:
        path.parent.mkdir(exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    handler.setFormatter(_JsonLines(pid, run))
    logger = logging.getLogger("flatcore")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
        if handler.problem is not None:
            logger.warning("%s: not all was written: %s", path, handler.problem)


def log_path(data_root: Path, pid: str) -> Path:
    """Where the log file of a run is."""
    return data_root / "log" / f"{pid}.jsonl"


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short: the run ends as it would without a log, and tells of it.

    Attributes
    ----------
    problem
        What the system said first.
    """

    problem: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Note what the system says; anything else is a fault of the message, and told as usual."""
        error = sys.exception()
        if isinstance(error, OSError):
            self.problem = self.problem or error
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file, though what is left in the buffer may find no room."""
        try:
            super().close()
        except OSError as error:
            self.problem = self.problem or error


class _JsonLines(logging.Formatter):
    def __init__(self, pid: str, run: RunSettings) -> None:
        super().__init__()
        self._run = {"pid": pid, **run.model_dump()}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._run,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
