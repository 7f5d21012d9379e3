"""Where files wait before they have their names in the store: a hidden folder for each delivery."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

# Within the store, so that a file's name is all that changes when it is placed.
FOLDER = ".incoming"
# Within a delivery's folder: copies to be placed, and what the placed ones took the place of.
NEW, FORMER = "new", "former"
_LOCK = "lock"
# Processes that end at the same time may remove the folder of all deliveries while one begins.
_ATTEMPTS = 100


@contextlib.contextmanager
def incoming(store: Path) -> Iterator[Path]:
    """Give a delivery a folder of its own; it is locked while its process lives, and removed at the end.

    Raises
    ------
    OSError
        It cannot be made.
    """
    folder, lock = _claimed(store / FOLDER)
    try:
        yield folder
    finally:
        lock.release()
        _remove(folder)


@contextlib.contextmanager
def abandoned(store: Path) -> Iterator[list[Path]]:
    """Give the folders of deliveries that were killed, and remove them at the end, unless by an error."""
    found: list[tuple[Path, FileLock]] = []
    try:
        for folder in sorted((store / FOLDER).glob("*")):
            lock = FileLock(folder / _LOCK, timeout=0)
            # One that is alive holds its lock, or has just gone; what cannot be locked is another user's to remove.
            with contextlib.suppress(OSError):
                lock.acquire()
                found.append((folder, lock))
        yield [folder for folder, _ in found]
    except BaseException:
        for _, lock in found:
            lock.release()
        raise
    for folder, lock in found:
        lock.release()
        _remove(folder)


def _claimed(parent: Path) -> tuple[Path, FileLock]:
    """Make a folder and lock it, before anybody takes it for an abandoned one."""
    for attempt in range(_ATTEMPTS):
        folder = parent / uuid.uuid4().hex
        lock = FileLock(folder / _LOCK)
        try:
            folder.mkdir(parents=True)
            lock.acquire()
        except FileNotFoundError:
            if attempt + 1 == _ATTEMPTS:
                raise
            continue
        if (folder / _LOCK).exists():
            return folder, lock
        lock.release()
    raise FileNotFoundError(f"{parent}: folders are removed as soon as they are made")


def _remove(folder: Path) -> None:
    """Remove a delivery's folder, and that of all deliveries after the last one; what stays is found by the next."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
