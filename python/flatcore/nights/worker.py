"""Loaded by workers when they start: ``dask worker --preload flatcore.nights.worker`` does what local workers do."""

from __future__ import annotations

import signal
from typing import Any

from flatcore.tuning import settle_process


def dask_setup(worker: Any) -> None:
    """Settle the process, and do not listen to Ctrl-C.

    A terminal tells every process of its group; the one that began the workers ends them in order.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle_process()
