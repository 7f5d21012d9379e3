"""One watcher at a time on a state file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from flatcore.errors import InputError, OutputError
from flatcore.watch.request import WatchRequest


class AnotherWatcherError(InputError):
    """The state file is held."""


@contextlib.contextmanager
def alone(request: WatchRequest) -> Iterator[None]:
    """Hold the state file: two watchers would run every night twice.

    Raises
    ------
    InputError
        Another watcher holds it.
    OutputError
        The lock cannot be written.
    """
    path = request.state_file
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise AnotherWatcherError(f"{request.tree}: another watcher follows it, with the state {path}") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()
