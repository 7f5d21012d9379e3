"""The clock: contenders run in turn within one run, and each keeps its best time."""

from __future__ import annotations

import gc
import mmap
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

# A contender that has had so many seconds is measured well enough; the others go on.
BUDGET_S = 12.0
# A best round this far below the median round is not one least disturbed, but one that wants explaining.
UNEVEN = 0.6
READ_BYTES = 1 << 24
MEBIBYTE = 1 << 20


def race(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    tell: Callable[[str], None] = lambda text: None,
    budget_s: float = BUDGET_S,
) -> dict[str, list[float]]:
    """Seconds of every round of each contender, run one after the other, round by round.

    On a machine that does other things too, a burst of foreign work so hits all of them, and the best round is the one
    least disturbed. A contender stops after ``repeats`` rounds, or once it has taken ``budget_s`` in all.
    """
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, repeats + 1):
        for name, work in contenders.items():
            if number > 1 and sum(rounds[name]) >= budget_s:
                continue
            tell(f"{name}, round {number} of {repeats}")
            rounds[name].append(timed(work))
    return rounds


def best_of(rounds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Best seconds of each contender."""
    return {name: min(seconds) for name, seconds in rounds.items()}


def uneven(rounds: Mapping[str, Sequence[float]]) -> list[str]:
    """Say which contenders' best round is far below their median: a ratio of those is not to be trusted."""
    return [
        f"{name} took {min(seconds):.3f} s at best, "
        f"{statistics.median(seconds):.3f} s in the median of {len(seconds)} rounds"
        for name, seconds in rounds.items()
        if min(seconds) < UNEVEN * statistics.median(seconds)
    ]


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call; what it returns is dropped after the clock has stopped."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    del result
    return seconds


def read_once(paths: Sequence[Path], buffer: np.ndarray) -> int:
    """Read whole files into a reused buffer, on one thread; the number of bytes.

    Raises
    ------
    OSError
        Fewer or more bytes came than the files hold: then a time of it would be of something else.
    """
    view = memoryview(buffer)
    total = 0
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(view):
                total += count
    expected = sum(path.stat().st_size for path in paths)
    if total != expected:
        raise OSError(f"read {total} bytes of {expected}")
    return total


def read_buffer() -> np.ndarray:
    """A buffer for :func:`read_once` that begins with a page, and whose pages are there already.

    Where a buffer begins is not a detail: 16 bytes into a page, as a fresh NumPy array does, copying from the page
    cache takes up to three times as long on some processors, and which it is would depend on what ran before.
    """
    buffer = np.frombuffer(mmap.mmap(-1, READ_BYTES), np.uint8)
    buffer[:] = 1
    return buffer


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
