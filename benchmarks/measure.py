"""The clock: contenders run in turn within one run, and each keeps its best time."""

from __future__ import annotations

import gc
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

# A contender that has had so many seconds is measured well enough; the others go on.
BUDGET_S = 12.0
READ_BYTES = 1 << 24
MEBIBYTE = 1 << 20


def race(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    tell: Callable[[str], None] = lambda text: None,
    budget_s: float = BUDGET_S,
) -> dict[str, float]:
    """Best seconds of each contender, run one after the other, round by round.

    On a machine that does other things too, a burst of foreign work so hits all of them, and the best round is the one
    least disturbed. A contender stops after ``repeats`` rounds, or once it has taken ``budget_s`` in all.
    """
    best: dict[str, float] = {}
    spent = dict.fromkeys(contenders, 0.0)
    for number in range(1, repeats + 1):
        for name, work in contenders.items():
            if number > 1 and spent[name] >= budget_s:
                continue
            tell(f"{name}, round {number} of {repeats}")
            seconds = timed(work)
            spent[name] += seconds
            best[name] = min(seconds, best.get(name, seconds))
    return best


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call; what it returns is dropped after the clock has stopped."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    del result
    return seconds


def read_once(paths: Sequence[Path], buffer: np.ndarray) -> int:
    """Read whole files into a reused buffer, on one thread; the number of bytes."""
    view = memoryview(buffer)
    total = 0
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(view):
                total += count
    return total


def read_buffer() -> np.ndarray:
    """A buffer for :func:`read_once` whose pages are there already."""
    return np.ones(READ_BYTES, np.uint8)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux hands a parent's getrusage peak on to a child that it starts, so there the process's own mark is read.
    """
    status = Path("/proc/self/status")
    if status.exists() and (mark := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(mark[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def clean_environment() -> dict[str, str]:
    """The environment of this process, without what would lead flatcore to another data root or database."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLATCORE_")}
