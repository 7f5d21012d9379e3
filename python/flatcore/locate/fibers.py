"""Which traces belong to one order: pairing of fibres by their distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairing:
    """Order and fibre of each trace, and which are missing."""

    order: NDArray[np.int_]
    fiber: NDArray[np.int_]
    missing: tuple[tuple[int, int], ...]


def assign(rows: Array, fibers: int) -> Pairing:
    """Give traces, by their rows in the middle from low to high, their orders and fibres."""
    count = len(rows)
    index = np.arange(count)
    return Pairing(index // fibers, index % fibers, ())
