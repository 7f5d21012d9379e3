"""Signals held back where an exception at any moment would leave half a step behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

# Ctrl-C, and what systems ask a process to end by.
HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let SIGINT and SIGTERM take effect when the block ends, however it ends.

    Python turns a signal into an exception between any two steps of the main thread, those of a library's cleaning up
    included. Elsewhere than in the main thread there is nothing to hold back. Whoever waits within, for a lock or a
    server, is not to be interrupted either: keep it short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in HELD}
    try:
        yield
    finally:
        # Ctrl-C last: once it may strike again, all else is as it was.
        for number, handler in reversed(before.items()):
            # None is a handler that Python knows nothing of, and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for held in dict.fromkeys(came):
            signal.raise_signal(held)
