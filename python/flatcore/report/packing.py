"""Spectra small enough for a page: 16 bits a value, differences along the order, deflated.

Each order of a plane is quantised between its own least and greatest value to 65 534 steps, 0 standing for NaN: far
below the noise of any order. Every column is kept, as long as all fibres
together have no more than ``MOST_PIXELS``; beyond that each few columns give way to the two of them where the flat (or
else the spectrum) is least and greatest, so that no spike and no dip is lost to the eye.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.report.products import FiberPlanes

# A full SPIRou night has 800 000; what this many need on a page is below 10 MB.
MOST_PIXELS = 2_000_000
STEPS = 65534


def packed_fibers(fibers: Sequence[FiberPlanes], most_pixels: int = MOST_PIXELS) -> dict[str, Any]:
    """Pack the planes of all fibres in a form that JSON holds and ``browser.js`` reads."""
    pixels = sum(fiber.mask.size for fiber in fibers)
    # Two columns stay of each group.
    group = 1 if pixels <= most_pixels else 2 * -(-pixels // most_pixels)
    return {"group": group, "fibers": [_packed_fiber(fiber, group) for fiber in fibers]}


def _packed_fiber(fiber: FiberPlanes, group: int) -> dict[str, Any]:
    columns = kept_columns(fiber, group)

    def kept(plane: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(plane, columns, axis=1)

    return {
        "fiber": fiber.fiber,
        "unit": "e⁻" if fiber.unit == "electron" else fiber.unit,
        "orders": fiber.mask.shape[0],
        "width": columns.shape[1],
        "columns": deflated(columns.astype(np.uint16)),
        "mask": deflated(kept(fiber.mask).astype(np.uint16)),
        **{name: packed(kept(getattr(fiber, name))) for name in ("e2ds", "blaze", "flat")},
    }


def kept_columns(fiber: FiberPlanes, group: int) -> NDArray[np.intp]:
    """Give the columns that are kept of each order, rising: all, or two of each group."""
    orders, width = fiber.mask.shape
    if group <= 1:
        return np.broadcast_to(np.arange(width), (orders, width))
    shown = np.where(np.isfinite(fiber.flat), fiber.flat, np.nan_to_num(fiber.e2ds))
    rows = []
    for row in shown:
        starts = range(0, width, group)
        chosen = {start + pick for start in starts for pick in _extremes(row[start : start + group])}
        rows.append(sorted(chosen))
    # Orders of a plane are of one length; short ones end with their last column again.
    longest = max(len(row) for row in rows)
    return np.array([row + [row[-1]] * (longest - len(row)) for row in rows])


def _extremes(values: NDArray[np.float64]) -> tuple[int, int]:
    return int(np.argmin(values)), int(np.argmax(values))


def packed(plane: NDArray[np.float64]) -> dict[str, Any]:
    """Quantise a plane order by order, and pack it with each order's least and greatest value."""
    finite = np.isfinite(plane)
    low = np.where(finite, plane, np.inf).min(axis=1)
    high = np.where(finite, plane, -np.inf).max(axis=1)
    empty = ~finite.any(axis=1)
    low[empty], high[empty] = 0.0, 0.0
    span = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):
        steps = np.rint((plane - low[:, None]) / span[:, None] * (STEPS - 1)) + 1
    values = np.where(finite, steps, 0).astype(np.uint16)
    return {"low": low.tolist(), "span": span.tolist(), "data": deflated(values)}


def deflated(plane: NDArray[np.uint16]) -> str:
    """Deflate the differences along each order, low bytes before high ones, as base64 text."""
    differences = np.diff(plane, axis=1, prepend=np.uint16(0)).astype("<u2")
    bytes_apart = differences.reshape(-1, 1).view(np.uint8).T
    return base64.b64encode(zlib.compress(np.ascontiguousarray(bytes_apart).tobytes(), 9)).decode()


def unpacked(text: str, orders: int) -> NDArray[np.uint16]:
    """Give back what :func:`deflated` packed, as ``browser.js`` does."""
    apart = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, -1)
    differences = np.ascontiguousarray(apart.T).view("<u2").reshape(orders, -1)
    return np.cumsum(differences, axis=1, dtype=np.uint16)
