"""Median of many frames: in memory against a copy and bottleneck, from files against reading them once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import bottleneck
import numpy as np
from numpy.typing import NDArray

from benchmarks import data, twins
from benchmarks.agreement import compare
from benchmarks.bench import Bench, Row
from benchmarks.measure import clean_environment, read_buffer, read_once, timed
from flatcore import _core
from flatcore.combine import combine_frames
from flatcore.fitsio import open_image

MANY = 40
# Of rounding to single precision.
TOLERANCE = 1e-6
MEGABYTE = 1e6
REPOSITORY = Path(__file__).parents[2]


def median_of_frames(bench: Bench) -> list[Row]:
    """Ten frames of 4096 x 4096 float32 in memory."""
    paths = data.frame_paths(bench.root)
    # Read twice: the first time may wait for the disk.
    twins.read_stack(paths)
    bench.twin_seconds["read"] = timed(lambda: twins.read_stack(paths))
    stack = twins.read_stack(paths)
    # Touched already: the copy is to cost no fresh memory.
    buffer = np.ones_like(stack)
    frames = list(stack)
    times = bench.race(
        "median in memory",
        {
            "flatcore": lambda: combine_frames(frames),
            "copy": lambda: np.copyto(buffer, stack),
            "bottleneck": lambda: twins.median_of_frames(stack),
        },
    )
    bench.twin_seconds["median"] = times["bottleneck"]
    agreement = compare(combine_frames(frames), twins.median_of_frames(stack), TOLERANCE)
    work = f"median of {len(stack)} × 4096² float32 in memory"
    return [
        Row(work, "a copy of the same bytes", times["flatcore"], times["copy"], 3.0, faster=False),
        Row("the same", "bottleneck.nanmedian", times["flatcore"], times["bottleneck"], 6.0, agreement=agreement),
    ]


def median_of_files(bench: Bench) -> list[Row]:
    """Forty frames of 4096 x 4096 float32 in files that are in the page cache; and memory from 10 to 80 frames."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    bench.tell(f"{MANY} frames of noise")
    with data.noise_frames(bench.folder, MANY) as paths:
        buffer = read_buffer()
        read_once(paths, buffer)
        times = bench.race(
            "median of files",
            {"flatcore": lambda: combined(paths), "reading": lambda: read_once(paths, buffer)},
        )
        row = slice(0, 64)
        some = np.stack([_rows(path, row) for path in paths])
        agreement = compare(combined(paths)[row], bottleneck.nanmedian(some, axis=0), TOLERANCE)
        bench.tell("memory of 10 and 80 frames")
        # The memory of a mapped file does not depend on whether another is the same: each file serves as two.
        base, few = peak_in_process(paths[:10])
        _, many = peak_in_process(paths * 2)
    note = f"{base / MEGABYTE:.0f} MB of them before the median begins; {2 * MANY} frames are {MANY} files opened twice"
    return [
        Row(
            f"median of {MANY} × 4096² float32 from files",
            "reading them once, one thread",
            times["flatcore"],
            times["reading"],
            2.5,
            faster=False,
            agreement=agreement,
        ),
        Row(f"peak memory, {2 * MANY} frames", "the limit", many / MEGABYTE, 1000.0, 1.0, False, "MB", note=note),
        Row("the same", "10 frames", many / MEGABYTE, few / MEGABYTE, 1.05, False, "MB"),
    ]


def combined(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Median of frames in files, as a run makes it."""
    return _core.combine_files([open_image(path).location.source() for path in paths], "median", 5.0, 1.0, 0.0)


def peak_in_process(paths: Sequence[Path]) -> tuple[int, int]:
    """Peak memory of a process of its own, before and after the median of these files, in bytes."""
    command = [sys.executable, "-m", "benchmarks.peak", *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment(), cwd=REPOSITORY)
    found = json.loads(done.stdout)
    return found["before"], found["after"]


def _rows(path: Path, rows: slice) -> NDArray[np.float32]:
    location = open_image(path).location
    pixels = np.memmap(location.path, ">f4", "r", location.offset, location.shape)
    return pixels[rows].astype(np.float32)
