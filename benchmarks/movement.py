"""How fast a run could be if it only moved its bytes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.bench import Bench, Detail
from benchmarks.measure import read_buffer, read_once
from benchmarks.steps import Steps

GIGABYTE = 1e9
COPIED_BYTES = 1 << 28
# Bytes of a pixel of float32 and of a mask.
PIXEL, MASK = 4, 1


def passes(steps: Steps) -> dict[str, int]:
    """Bytes that each step reads and writes in memory, every array it needs counted once.

    The frames and the calibrations come from files and the products go to files: they are counted there.
    """
    raw = steps.combined.image.size
    kept = steps.straight.size
    extracted = sum(
        count * steps.straight.shape[1] * (2 * PIXEL + PIXEL + MASK)
        for windows in steps.windows.values()
        for _, count in windows
    )
    image = kept * PIXEL
    return {
        "median written": raw * PIXEL,
        "to electrons: image, dark, bad pixels read; image written": 2 * raw * PIXEL + kept * MASK + image,
        "scattered light: image read": image,
        "background: image, unlit pixels read; image read, written": 3 * image + kept * MASK,
        "hot pixels and bounds: image, bad pixels read; image written": 2 * image + kept * MASK,
        "read noise: image, unlit pixels read": image + kept * MASK,
        f"straightening {1 + len(steps.straight_profiles)} images: image, two maps read; image written": (
            4 * image * (1 + len(steps.straight_profiles))
        ),
        "extraction: image, profile read; E2DSLL, E2DSCC written": extracted,
    }


def floor(bench: Bench, summary: dict[str, Any], reached_s: float) -> Detail:
    """Bytes of a run over the bandwidths measured beside it, and the time the run took."""
    bench.tell("bandwidths")
    frames = data.frame_paths(bench.root)
    calibrations = sorted({Path(file["path"]).name for file in summary["calibrations"]})
    inputs = [*frames, *(bench.root / "calib" / name for name in calibrations)]
    read_bytes = sum(path.stat().st_size for path in inputs)
    buffer = read_buffer()
    here, there = np.ones(COPIED_BYTES, np.uint8), np.ones(COPIED_BYTES, np.uint8)
    with tempfile.NamedTemporaryFile(dir=bench.folder, buffering=0) as file:

        def write() -> None:
            file.seek(0)
            file.write(memoryview(here))
            os.fsync(file.fileno())

        times = bench.race(
            "bandwidths",
            {"read": lambda: read_once(frames, buffer), "copy": lambda: np.copyto(there, here), "write": write},
        )
    read_rate = sum(path.stat().st_size for path in frames) / times["read"]
    # A copy reads every byte and writes it.
    memory_rate = 2 * COPIED_BYTES / times["copy"]
    write_rate = COPIED_BYTES / times["write"]
    moves = [
        ("frames and calibrations read, page cache", read_bytes, read_rate),
        *((name, count, memory_rate) for name, count in passes(bench.steps).items()),
        ("products written and synced to disk", summary["product_bytes"], write_rate),
    ]
    lines = [
        (name, f"{count / 1e6:,.0f}", f"{rate / GIGABYTE:.2f}", f"{count / rate:.3f}") for name, count, rate in moves
    ]
    least = sum(count / rate for _, count, rate in moves)
    lines.append(("sum", f"{sum(count for _, count, _ in moves) / 1e6:,.0f}", "", f"{least:.3f}"))
    lines.append(("reached by flatcore run", "", "", f"{reached_s:.3f}"))
    return Detail("Bytes that a run must move", ["what", "MB", "GB/s", "seconds"], lines)
