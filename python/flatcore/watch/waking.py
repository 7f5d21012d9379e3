"""What wakes a watcher before its time: changes of the tree, the end of a run, a signal."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import threading
import weakref
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from flatcore.errors import UsageError

log = logging.getLogger("flatcore")

# How long the system's messages are gathered before they are told [ms].
GATHER_MS = 200
# How often the thread looks whether it is to end [ms].
TURN_MS = 500
# How often it looks for a tree that is not there [s].
ABSENT_S = 2.0


class Waker:
    """A bell that may be rung from threads and signal handlers alike, and waited for."""

    def __init__(self) -> None:
        # A pipe: a lock that the waiting thread holds would stop a signal handler, which runs in that very thread.
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        # Not before nobody can ring any more: the number may be another file's by then.
        weakref.finalize(self, _close, self._out, self._in)

    def ring(self) -> None:
        """Wake who waits, or who will."""
        # A full pipe has been rung.
        with contextlib.suppress(BlockingIOError):
            os.write(self._in, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait for a ring, or for so long [s]."""
        select.select([self._out], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._out, 4096):
                pass


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def check_watchfiles() -> None:
    """Look for the package that tells of changes.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if find_spec("watchfiles") is None:
        raise UsageError("flatcore watch needs watchfiles: pip install 'flatcore[watch]', or --poll to do without it")


class Changes:
    """Hear from the system which paths of a tree have changed, in a thread; a context.

    The paths only say where to look: what is there is seen by looking.

    Attributes
    ----------
    fault
        Why the system tells nothing any more; None while it does.
    """

    def __init__(self, tree: Path, waker: Waker) -> None:
        self._tree, self._waker = tree, waker
        self._heard: queue.SimpleQueue[Collection[Path]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="flatcore-watch-changes", daemon=True)
        self.fault: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def take(self) -> set[Path]:
        """Give the paths that changed since this was last asked; the tree itself where everything may have."""
        paths: set[Path] = set()
        with contextlib.suppress(queue.Empty):
            while True:
                paths.update(self._heard.get_nowait())
        return paths

    def _listen(self) -> None:
        import watchfiles  # noqa: PLC0415 - an extra, and not needed for polling

        while not self._ended.is_set():
            if not self._tree.is_dir():
                self._ended.wait(ABSENT_S)
                continue
            # The system names what it watches, not the link that leads there.
            real, listens = self._tree.resolve(), False
            try:
                for changes in watchfiles.watch(
                    real, watch_filter=None, step=50, debounce=GATHER_MS, rust_timeout=TURN_MS,
                    stop_event=self._ended, yield_on_timeout=True, raise_interrupt=False, force_polling=False,
                    ignore_permission_denied=True,
                ):  # fmt: skip
                    # What came before anybody listened was not heard of.
                    heard = (
                        {self._tree / os.path.relpath(path, real) for _, path in changes} if listens else {self._tree}
                    )
                    listens = True
                    if heard:
                        self._tell(heard)
                    if not self._tree.is_dir():
                        break
            except (OSError, RuntimeError) as error:
                if self._tree.is_dir():
                    # Such as too many folders for the system's limit: looking at intervals always works.
                    self.fault = str(error)
                    self._waker.ring()
                    return

    def _tell(self, paths: Collection[Path]) -> None:
        self._heard.put(paths)
        self._waker.ring()
