"""Which traces belong to one order: pairing of fibres by their distances.

The fibres of an order lie closer to one another than to the next order, and all distances change slowly from order to
order. The most likely sequence of fibres is found by dynamic programming, in which a trace may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Distances may differ from what is expected by this share of the distance of two orders; first and later rounds.
TOLERANCES = (0.12, 0.08, 0.06, 0.06)
# Cost of a missing trace, and greatest cost of a distance.
MISSING_COST, LARGEST_COST = 3.0, 25.0
# Whole orders that may be missing between two traces.
MOST_SKIPPED = 2


@dataclass(frozen=True, eq=False)
class Pairing:
    """Order and fibre of each trace, and order and fibre of those that are missing between or beside others."""

    order: NDArray[np.int_]
    fiber: NDArray[np.int_]
    missing: tuple[tuple[int, int], ...]


def assign(rows: Array, fibers: int) -> Pairing:
    """Give traces their orders and fibres.

    Parameters
    ----------
    rows
        Rows of the traces in the middle of the image, increasing.
    fibers
        Traces per order.

    Returns
    -------
    Pairing
        Orders are numbered from low rows up; an order no trace of which was found has no number.
    """
    count = len(rows)
    index = np.arange(count)
    if fibers == 1 or count <= fibers:
        return _with_missing(index // fibers, index % fibers, fibers)
    gaps = _first_gaps(rows, fibers)
    fiber = index % fibers
    for tolerance in TOLERANCES:
        fiber = _sequence(rows, gaps, fibers, tolerance)
        gaps = _fitted_gaps(rows, fiber, gaps, fibers)
    # A fibre that is not further up than the one before begins a new order.
    order = np.concatenate([[0], np.cumsum(_new_order(rows, fiber, gaps))])
    return _with_missing(order, fiber, fibers)


def _with_missing(order: NDArray[np.int_], fiber: NDArray[np.int_], fibers: int) -> Pairing:
    found = set(zip(order.tolist(), fiber.tolist(), strict=True))
    orders = range(int(order.max()) + 1) if len(order) else range(0)
    missing = tuple((o, f) for o in orders for f in range(fibers) if (o, f) not in found)
    return Pairing(order, fiber, missing)


def _first_gaps(rows: Array, fibers: int) -> Array:
    """Distances after each fibre at each trace, fibres by traces, as the pattern that is seen most often has them."""
    steps = rows[fibers:] - rows[:-fibers]
    middles = 0.5 * (rows[fibers:] + rows[:-fibers])
    spacing = _smooth(middles, steps, rows)
    shares = np.diff(rows)[:, None] / spacing[:-1, None]
    patterns = np.stack([shares[i : len(shares) - fibers + 1 + i, 0] for i in range(fibers)], axis=1)
    # A pattern and all its turns: which one has most others like it?
    best, most = patterns[0], -1.0
    for pattern in patterns:
        apart = np.abs(patterns - pattern).max(axis=1)
        alike = float(np.sum(np.maximum(1 - apart / TOLERANCES[0], 0))) - 10 * abs(float(pattern.sum()) - 1)
        if alike > most:
            best, most = patterns[apart < TOLERANCES[0]].mean(axis=0), alike
    # The widest distance is that to the next order.
    best = np.roll(best, fibers - 1 - int(np.argmax(best)))
    return np.outer(best / best.sum(), spacing)


def _smooth(x: Array, values: Array, at: Array) -> Array:
    """Robust parabola, or less of few values."""
    middle, half = float(np.mean(at)), max(float(np.ptp(at)) / 2, 1.0)
    degree = 2 if len(x) >= 8 else 1 if len(x) >= 4 else 0
    kept = np.ones(len(x), bool)
    found = np.array([float(np.median(values))])
    for _ in range(6):
        found = np.polyfit((x[kept] - middle) / half, values[kept], degree if kept.sum() > degree + 1 else 0)
        away = np.abs(values - np.polyval(found, (x - middle) / half))
        kept = away <= 3 * 1.4826 * np.median(away) + 1e-6 * abs(np.median(values))
    result: Array = np.polyval(found, (at - middle) / half)
    return result


def _sequence(rows: Array, gaps: Array, fibers: int, tolerance: float) -> NDArray[np.int_]:
    """Most likely fibre of each trace."""
    count = len(rows)
    old, new, skipped = np.indices((fibers, fibers, MOST_SKIPPED + 1))
    orders = skipped + (new <= old)
    between = orders * fibers + new - old - 1
    # Orders that are missing altogether cost less than their traces one by one: they are dark.
    lost = MISSING_COST * np.where(between < fibers, between, fibers - 1 + between // fibers)
    here = 0.5 * (gaps[:, :-1] + gaps[:, 1:])
    total = here.sum(axis=0)
    place = np.concatenate([np.zeros((1, count - 1)), np.cumsum(here, axis=0)[:-1]])
    expected = place[new] - place[old] + orders[..., None] * total
    away = np.minimum(((np.diff(rows) - expected) / (tolerance * total)) ** 2, LARGEST_COST) + lost[..., None]
    steps = away.min(axis=2)
    cost = np.empty((count, fibers))
    back = np.zeros((count, fibers), int)
    cost[0] = 0.5 * np.arange(fibers)
    for i in range(1, count):
        ways = cost[i - 1][:, None] + steps[:, :, i - 1]
        back[i], cost[i] = ways.argmin(axis=0), ways.min(axis=0)
    # As at the start, an order that ends early lacks its last fibres.
    fiber = np.zeros(count, int)
    fiber[-1] = int(np.argmin(cost[-1] + 0.5 * (fibers - 1 - np.arange(fibers))))
    for i in range(count - 1, 0, -1):
        fiber[i - 1] = back[i, fiber[i]]
    return fiber


def _new_order(rows: Array, fiber: NDArray[np.int_], gaps: Array) -> NDArray[np.bool_]:
    """Whether each trace after the first begins another order than the one before."""
    here = 0.5 * (gaps[:, :-1] + gaps[:, 1:])
    place = np.concatenate([np.zeros((1, here.shape[1])), np.cumsum(here, axis=0)[:-1]])
    at = np.arange(here.shape[1])
    expected = place[fiber[1:], at] - place[fiber[:-1], at]
    # The same order, unless a whole one lies between.
    return np.asarray((fiber[1:] <= fiber[:-1]) | (np.diff(rows) - expected > 0.5 * here.sum(axis=0)))


def _fitted_gaps(rows: Array, fiber: NDArray[np.int_], gaps: Array, fibers: int) -> Array:
    """Distances after each fibre as smooth functions of the row, from the traces that are next to one another."""
    steps, middles = np.diff(rows), 0.5 * (rows[1:] + rows[:-1])
    here = 0.5 * (gaps[:, 1:] + gaps[:, :-1])
    result = gaps.copy()
    for f in range(fibers):
        pairs = (fiber[:-1] == f) & (fiber[1:] == (f + 1) % fibers)
        pairs &= np.abs(steps - here[f]) < 0.3 * here.sum(axis=0)
        if pairs.sum() >= 2:
            result[f] = _smooth(middles[pairs], steps[pairs], rows)
    return np.maximum(result, 1e-3)
