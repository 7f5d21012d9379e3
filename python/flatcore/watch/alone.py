"""One watcher at a time on a state file, and one run of it, even of a watcher that is no more."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from flatcore.caldb import RunLog
from flatcore.errors import FlatcoreError, InputError, OutputError
from flatcore.locks import is_held
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


@contextlib.contextmanager
def held_mark(path: Path) -> Iterator[int]:
    """Hold a file, and give its descriptor: a process that inherits it holds the file until it ends.

    Raises
    ------
    OSError
        A process holds it, or it cannot be written.
    """
    mark = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield mark
    finally:
        os.close(mark)


def is_marked(path: Path) -> bool:
    """Tell whether a process holds a file.

    Raises
    ------
    OSError
        It cannot be told.
    """
    if not path.exists():
        return False
    try:
        with held_mark(path):
            return False
    except BlockingIOError:
        return True


def who_is_busy(request: WatchRequest, runs: RunLog, obs_dir: str) -> str | None:
    """Tell, in words, who else may be making a night's products; None where nobody is."""
    try:
        if is_marked(request.run_mark):
            return "a run of the watcher before is still at work"
        running = runs.running(obs_dir) if runs.exists() else []
        # A run says that it goes on before it comes to the night's lock; one that skips what exists, once it has the
        # lock. Of one elsewhere only the lock is sure.
        here = any(run.host == socket.gethostname() for run in running)
        return "another run is at work here" if here or is_held(request.products / obs_dir) else None
    except (FlatcoreError, OSError) as error:
        # Who cannot be asked may be at work.
        return str(error)
