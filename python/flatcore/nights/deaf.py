"""Loaded by workers of this machine: Ctrl-C is for the process that began them, which ends them in order."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Do not listen to Ctrl-C, which a terminal tells to every process of its group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
