"""SHAPEY: the shifts of rows that make the orders straight, from their traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.bootstrap.settings import ShapeSettings
from flatcore.images import Image

Array = NDArray[np.float64]

# Columns on which the smooth surface is fitted: a trace bends over hundreds of them.
NODES = 64
FIT_ROUNDS = 8
# An order that lies closer to the surface than this is never an outlier [pixels].
NEVER_OUT_PIXELS = 1.0


@dataclass(frozen=True)
class TracedOrder:
    """A trace and the columns on which it was followed.

    Attributes
    ----------
    coefficients
        Chebyshev coefficients of the row [pixels], domain [0, columns].
    first, last
        First and last column on which the trace was followed.
    """

    coefficients: Array
    first: int
    last: int


@dataclass(frozen=True)
class ShapeMap:
    """SHAPEY.

    Attributes
    ----------
    dymap
        Rows by columns [pixels], float32: the straight row r passes through row r + dymap[r, x] of the detector.
    rows
        Straight row of each trace: its row at the middle column [pixels].
    left_out
        Numbers of the traces that were not used.
    rms
        Scatter of the traces about the smooth surface alone [pixels].
    steepest
        Largest slope of a trace where it was followed [rows per column].
    """

    dymap: Image
    rows: Array
    left_out: tuple[int, ...]
    rms: float
    steepest: float


def shape_from_traces(orders: Sequence[TracedOrder], shape: tuple[int, int], settings: ShapeSettings) -> ShapeMap:
    """Make SHAPEY from traces.

    A smooth surface through the departures of all traces from their rows at the middle column tells what lies between
    and beyond the orders; what each trace departs from it is added, by a line between neighbouring orders and as a
    constant beyond the first and the last and beyond the columns on which a trace was followed.

    Parameters
    ----------
    orders
        All traces of all fibres.
    shape
        Rows and columns of the detector.

    Raises
    ------
    ValueError
        There are no traces.
    """
    if not orders:
        raise ValueError("no traces")
    nx = shape[1]
    coefficients = np.array([order.coefficients for order in orders])
    rows = chebyshev.chebval(2 * (nx // 2) / nx - 1, coefficients.T)
    columns = np.arange(nx, dtype=float)
    departures = chebyshev.chebval(2 * columns / nx - 1, coefficients.T) - rows[:, None]
    first = np.array([order.first for order in orders])
    last = np.array([order.last for order in orders])
    followed = (columns >= first[:, None]) & (columns <= last[:, None])
    nodes = np.unique(np.linspace(0, nx - 1, NODES).astype(int))
    surface = _fit(departures[:, nodes], followed[:, nodes], rows, nodes, shape, settings)
    smooth = surface.at(rows, columns)
    residuals = departures - smooth
    scatter = np.array(
        [np.median(np.abs(r[f])) if f.any() else np.inf for r, f in zip(residuals, followed, strict=True)]
    )
    used = scatter <= max(settings.outlier * 1.4826 * float(np.median(scatter)), NEVER_OUT_PIXELS)
    residuals = _held(residuals, first, last)[used]
    dymap = surface.everywhere()
    _add_between(dymap, rows[used], residuals.astype(np.float32))
    slopes = np.abs(np.diff(departures, axis=1))[followed[:, 1:] & used[:, None]]
    return ShapeMap(
        dymap=dymap,
        rows=rows,
        left_out=tuple(np.flatnonzero(~used).tolist()),
        rms=float(np.sqrt(np.mean((departures - smooth)[followed & used[:, None]] ** 2))),
        steepest=float(slopes.max()) if slopes.size else 0.0,
    )


def moved_along(dymap: Image, dxmap: Image) -> Image:
    """Give SHAPEY for columns that SHAPEX moves: a trace is met where the column comes from.

    Parameters
    ----------
    dymap
        SHAPEY for columns that stay where they are [pixels].
    dxmap
        SHAPEX [pixels].
    """
    columns = np.arange(dymap.shape[1], dtype=float)
    moved = np.empty_like(dymap)
    for row, (dy, dx) in enumerate(zip(dymap, dxmap, strict=True)):
        moved[row] = np.interp(columns + dx, columns, dy) if dx.any() else dy
    return moved


@dataclass(frozen=True)
class _Surface:
    """Chebyshev polynomials in x and in the row; beyond the outermost orders it goes on as a line."""

    coefficients: Array
    middle: float
    half: float
    shape: tuple[int, int]

    def at(self, rows: Array, columns: Array) -> Array:
        return np.asarray(self._in_rows(rows) @ self._in_columns(columns))

    def everywhere(self) -> Image:
        ny, nx = self.shape
        in_rows, in_columns = self._in_rows(np.arange(ny, dtype=float)), self._in_columns(np.arange(nx, dtype=float))
        return np.ascontiguousarray(in_rows.astype(np.float32) @ in_columns.astype(np.float32))

    def _in_rows(self, rows: Array) -> Array:
        degree = self.coefficients.shape[0] - 1
        v = (rows - self.middle) / self.half
        inside = np.clip(v, -1, 1)
        values = chebyshev.chebvander(inside, degree)
        slope = np.array([chebyshev.chebval(np.sign(v), chebyshev.chebder(unit)) for unit in np.eye(degree + 1)]).T
        return np.asarray(values + (v - inside)[:, None] * slope)

    def _in_columns(self, columns: Array) -> Array:
        nx = self.shape[1]
        u = 2 * (columns - nx // 2) / nx
        # A factor u: the map vanishes at the middle column, where a trace is its straight row.
        basis = u[:, None] * chebyshev.chebvander(u, self.coefficients.shape[1] - 1)
        return np.asarray(self.coefficients @ basis.T)


def _fit(  # noqa: PLR0917 - values and where they are
    departures: Array,
    seen: NDArray[np.bool_],
    rows: Array,
    nodes: Array,
    shape: tuple[int, int],
    settings: ShapeSettings,
) -> _Surface:
    """Fit the surface; nodes far off count less and less (weights of Cauchy)."""
    degree_y = min(settings.degree_y, max(len(rows) // 2 - 1, 0))
    middle = 0.5 * (rows.min() + rows.max())
    half = max(0.5 * (rows.max() - rows.min()), 1.0)
    nx = shape[1]
    u = 2 * (nodes - nx // 2) / nx
    in_y = chebyshev.chebvander((rows - middle) / half, degree_y)
    in_x = u[:, None] * chebyshev.chebvander(u, settings.degree_x - 1)
    basis = np.einsum("ri,cj->rcij", in_y, in_x)[seen].reshape(int(seen.sum()), -1)
    values = departures[seen]
    weight = np.ones(values.size)
    solution = np.zeros(basis.shape[1])
    for _ in range(FIT_ROUNDS):
        # Normal equations: the polynomials are nearly orthogonal, and terms that no trace tells stay 0.
        weighted = basis.T * weight
        solution = np.linalg.lstsq(weighted @ basis, weighted @ values, rcond=1e-12)[0]
        off = np.abs(values - basis @ solution)
        scale = max(1.4826 * float(np.median(off)), 1e-3)
        weight = 1 / (1 + (off / (3 * scale)) ** 2)
    return _Surface(solution.reshape(in_y.shape[1], in_x.shape[1]), middle, half, shape)


def _held(residuals: Array, first: NDArray[np.int_], last: NDArray[np.int_]) -> Array:
    """Hold what is left of each trace at its value where the trace ends."""
    columns = np.arange(residuals.shape[1])
    inside = np.clip(columns, first[:, None], last[:, None])
    return np.take_along_axis(residuals, inside, axis=1)


def _add_between(image: Image, rows: Array, residuals: Image) -> None:
    """Add what is left of the traces to every row: by a line between neighbours, constant beyond the outermost."""
    order = np.argsort(rows, kind="stable")
    places = np.interp(np.arange(len(image)), rows[order], np.arange(rows.size))
    for y, place in enumerate(places):
        lower = min(int(place), rows.size - 1)
        share = np.float32(place - lower)
        image[y] += (1 - share) * residuals[order[lower]]
        if share:
            image[y] += share * residuals[order[lower + 1]]
