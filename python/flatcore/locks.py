"""One run at a time on a night, and the repair of what a killed one left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from flatcore.errors import BusyError, OutputError


@contextlib.contextmanager
def night_lock(folder: Path, timeout_s: float, others: Iterable[Path] = ()) -> Iterator[None]:
    """Hold a folder of products for one run; temporary files that a killed run left are removed first.

    The lock is a file beside the folder; the system releases it when its holder ends, however that ends.

    Parameters
    ----------
    folder
        Where the products go; need not exist yet.
    timeout_s
        How long to wait for another run [s]; 0 refuses at once.
    others
        Folders of the same night, in which the holder writes too.

    Raises
    ------
    BusyError
        Another run holds the folder for longer.
    OutputError
        The lock cannot be written.
    """
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path, timeout=timeout_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"{folder}: another run is at work here, and was after {timeout_s:g} s (--lock-timeout)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    try:
        for mine in (folder, *others):
            _remove_leftovers(mine)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove half-written files: nobody else writes here while the lock is held."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()
