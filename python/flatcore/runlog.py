"""The log file of a run: one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from flatcore.errors import OutputError
from flatcore.settings import RunSettings

# Fields a message may carry besides its text.
EXTRA = ("stage", "seconds")


@contextlib.contextmanager
def log_file(folder: Path, pid: str, run: RunSettings) -> Iterator[Path]:
    """Write every message of the block to ``<folder>/<pid>.jsonl``.

    Each line holds time (UTC), level, program, shortname, recipe_kind, pid, message, and what the message is about.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = folder / f"{pid}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    handler.setFormatter(_JsonLines(pid, run))
    logger = logging.getLogger("flatcore")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield path
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


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
