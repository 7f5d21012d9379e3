"""The figures of many nights as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.truth.figures import Array, FiberFigures
from benchmarks.truth.nights import COMBINING, EXTRACTING

COLUMNS = (
    "extraction",
    "combining",
    "noise",
    "noise of 8 columns",
    "pulls, std",
    "68 % intervals hold",
    "flat [1e-3]",
    "flat by profile weights [1e-3]",
    "blaze [1e-3]",
    "blaze put in [1e-3]",
)


@dataclass(frozen=True)
class Pulls:
    """Standard deviation of the pulls, and the share of them within one, of all fibres and of each."""

    deviation: float
    coverage: float

    @classmethod
    def of(cls, pulls: Array) -> Pulls:
        """Measure them."""
        return cls(float(pulls.std()), float((np.abs(pulls) < 1).mean()))


@dataclass(frozen=True)
class Line:
    """One way to combine and extract, over all nights, fibres and orders: each figure's median and 95th percentile.

    Attributes
    ----------
    pulls, fiber_pulls
        Of all columns, and of each fibre's.
    """

    extracting: str
    combining: str
    noise: tuple[float, float]
    binned_noise: tuple[float, float]
    flat_bias: tuple[float, float]
    response_bias: tuple[float, float]
    blaze_bias: tuple[float, float]
    put_in_bias: tuple[float, float]
    pulls: Pulls
    fiber_pulls: dict[str, Pulls]


def lines(figures: Iterable[FiberFigures]) -> list[Line]:
    """Sum up by way of extracting and combining."""
    figures = list(figures)
    return [
        _line(chosen)
        for extracting in EXTRACTING
        for combining in COMBINING
        if (chosen := [one for one in figures if (one.extracting, one.combining) == (extracting, combining)])
    ]


def _line(figures: Sequence[FiberFigures]) -> Line:
    def spread(name: str) -> tuple[float, float]:
        values = np.concatenate([getattr(one, name) for one in figures])
        return float(np.median(values)), float(np.percentile(values, 95))

    fibers = dict.fromkeys(one.fiber for one in figures)
    return Line(
        figures[0].extracting,
        figures[0].combining,
        *(
            spread(name)
            for name in ("noise", "binned_noise", "flat_bias", "response_bias", "blaze_bias", "put_in_bias")
        ),
        Pulls.of(np.concatenate([one.pulls for one in figures])),
        {name: Pulls.of(np.concatenate([one.pulls for one in figures if one.fiber == name])) for name in fibers},
    )


def cells(line: Line) -> tuple[str, ...]:
    """Give a line's texts, in the order of the columns."""
    deviations = [pulls.deviation for pulls in line.fiber_pulls.values()]
    coverages = [pulls.coverage for pulls in line.fiber_pulls.values()]
    noises = [f"{median:.3f}, {most:.3f}" for median, most in (line.noise, line.binned_noise)]
    biases = [
        f"{1e3 * median:.2f}, {1e3 * most:.2f}"
        for median, most in (line.flat_bias, line.response_bias, line.blaze_bias, line.put_in_bias)
    ]
    return (
        line.extracting,
        line.combining,
        *noises,
        f"{line.pulls.deviation:.3f} ({min(deviations):.3f} to {max(deviations):.3f})",
        f"{line.pulls.coverage:.3f} ({min(coverages):.3f} to {max(coverages):.3f})",
        *biases,
    )


def markdown(found: Sequence[Line]) -> str:
    """Write the table as Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(cells(line) for line in found)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
