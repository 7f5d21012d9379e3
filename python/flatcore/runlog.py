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
def log_file(data_root: Path, pid: str, run: RunSettings) -> Iterator[None]:
    """Write every message of the block to ``<data root>/log/<pid>.jsonl``; nothing where there is no data root.

    Each line holds time (UTC), level, program, shortname, recipe_kind, pid, message, and what the message is about.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = data_root / "log" / f"{pid}.jsonl"
    if not data_root.is_dir():
        yield
        return
    try:
        path.parent.mkdir(exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
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
