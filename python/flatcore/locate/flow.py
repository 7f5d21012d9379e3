"""How all orders run together: neighbouring orders have nearly the same shape, so one smooth field describes them.

The field is found in two steps. First the slope of the light is measured everywhere, by correlating neighbouring blocks
of columns in windows of rows; a low polynomial through the slopes is integrated along the dispersion. Then the image is
straightened by it, and what is left is measured against the light of the middle, further and further outwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import ndimage

from flatcore.locate.strips import Strips

Array = NDArray[np.float64]

# Rows of a window, and blocks whose correlations are added.
CELL_ROWS, CELL_BLOCKS = 40, 8
# Of more blocks than twice these only a part is looked at.
MOST_BLOCKS = 128
# Shares of the half-width up to which the field is refined, one after the other, and degrees along it: what a short
# piece does not tell must not be carried outwards.
REACHES = ((0.3, 1), (0.5, 2), (0.8, 3), (1.0, 4))
LAGS = 4
DEGREE_X, DEGREE_Y = 5, 3
SLOPE_DEGREE_X, SLOPE_DEGREE_Y = 3, 2


@dataclass(frozen=True)
class Field:
    """Row of a trace along the columns, from its row in the middle.

    Attributes
    ----------
    coefficients
        Of T_j(u) T_k(v), u the column and v the row in the middle, each from -1 to 1; j from 1.
    shape
        Rows and columns of the image.
    """

    coefficients: Array
    shape: tuple[int, int]

    def u(self, columns: Array) -> Array:
        """Columns from -1 to 1."""
        return 2 * columns / self.shape[1] - 1

    def v(self, rows: Array) -> Array:
        """Rows from -1 to 1."""
        return 2 * rows / self.shape[0] - 1

    def displacement(self, middle: Array, columns: Array) -> Array:
        """Distance of traces from their rows in the middle; traces by columns."""
        along = _along(self.u(columns), self.coefficients.shape[0])
        across = chebyshev.chebvander(self.v(middle), self.coefficients.shape[1] - 1)
        return across @ self.coefficients.T @ along.T

    def rows(self, middle: Array, columns: Array) -> Array:
        """Rows of traces; traces by columns."""
        return middle[:, None] + self.displacement(middle, columns)


def _along(u: Array, terms: int) -> Array:
    """T_1 ... T_terms at u, each less its value in the middle."""
    at_zero = chebyshev.chebvander(np.zeros(1), terms)
    return (chebyshev.chebvander(u, terms) - at_zero)[..., 1:]


def find_field(strips: Strips, light: NDArray[np.float32], shape: tuple[int, int], max_slope: float) -> Field:
    """Find the field of an image from its normalised light."""
    field = _integrated(light, strips, shape, max_slope)
    for reach, degree in REACHES:
        field = _refined(field, light, strips, reach, degree)
    return field


def _integrated(light: NDArray[np.float32], strips: Strips, shape: tuple[int, int], max_slope: float) -> Field:
    """Measure slopes, fit a polynomial through them and integrate it from the middle column outwards."""
    x, y, slope, weight = _slopes(light, strips.columns, max_slope)
    rows, columns = shape
    u, v = 2 * x / columns - 1, 2 * y / rows - 1
    basis = (
        chebyshev.chebvander(u, SLOPE_DEGREE_X)[:, :, None] * chebyshev.chebvander(v, SLOPE_DEGREE_Y)[:, None, :]
    ).reshape(len(u), -1)
    found = robust_solve(basis, slope, weight, _roughness(SLOPE_DEGREE_X + 1, SLOPE_DEGREE_Y + 1))
    c = found.reshape(SLOPE_DEGREE_X + 1, SLOPE_DEGREE_Y + 1)

    middle = np.linspace(-0.2 * rows, 1.2 * rows, 60)
    steps = 128
    grid = np.linspace(0, 1, steps + 1)
    paths = {}
    for side in (-1, 1):
        path = np.empty((len(middle), steps + 1))
        path[:, 0] = middle
        step = side / steps * columns / 2
        for i in range(steps):
            s0 = _slope_at(c, side * grid[i], path[:, i], rows, max_slope)
            s1 = _slope_at(c, side * grid[i + 1], path[:, i] + s0 * step, rows, max_slope)
            path[:, i + 1] = path[:, i] + 0.5 * (s0 + s1) * step
        paths[side] = path
    us = np.concatenate([-grid[:0:-1], grid])
    ys = np.concatenate([paths[-1][:, :0:-1], paths[1]], axis=1) - middle[:, None]
    along = _along(us, DEGREE_X)
    across = chebyshev.chebvander(2 * middle / rows - 1, DEGREE_Y)
    # Separable least squares: first along, then across.
    per_row = np.linalg.lstsq(along, ys.T, rcond=None)[0]
    coefficients = np.linalg.lstsq(across, per_row.T, rcond=None)[0].T
    return Field(coefficients, shape)


def _slope_at(c: Array, u: float, y: Array, rows: int, limit: float) -> Array:
    v = np.clip(2 * y / rows - 1, -1.2, 1.2)
    return np.clip(chebyshev.chebval2d(np.full_like(v, u), v, c), -limit, limit)


def _slopes(light: NDArray[np.float32], columns: Array, max_slope: float) -> tuple[Array, Array, Array, Array]:
    """Column, row, slope and weight of the light's slope in windows; blocks have their middles at ``columns``."""
    smooth = ndimage.gaussian_filter1d(light, 1.0, axis=0, mode="constant")
    rows, blocks = smooth.shape
    step = float(np.median(np.diff(columns)))
    most = int(np.ceil(max_slope * step)) + 1
    # Of many blocks every second or third pair is enough.
    pairs = np.arange(0, blocks - 1, max(blocks // MOST_BLOCKS, 1))
    lag, weight = _peaks(_correlations(smooth[:, pairs], smooth[:, pairs + 1], most, CELL_BLOCKS), most)
    y = (np.arange(lag.shape[0]) + 0.5) * CELL_ROWS
    middles = 0.5 * (columns[pairs] + columns[pairs + 1])
    starts = np.arange(0, len(pairs), CELL_BLOCKS)
    x = np.add.reduceat(middles, starts) / np.diff(np.append(starts, len(pairs)))
    xx, yy = np.meshgrid(x, np.minimum(y, rows - 1))
    slope = lag / step
    weight = np.where(np.abs(slope) <= max_slope, weight, 0.0)
    return xx.ravel(), yy.ravel(), slope.ravel(), weight.ravel()


def _shifted(image: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    """Rows moved down by ``lag``, 0 where there are none."""
    result = np.zeros_like(image)
    if lag > 0:
        result[:-lag] = image[lag:]
    elif lag < 0:
        result[-lag:] = image[:lag]
    else:
        result[:] = image
    return result


def _cells(image: NDArray[np.float32], blocks: int = CELL_BLOCKS) -> Array:
    """Add over windows of rows, which fade into one another, and over blocks."""
    rows = np.add.reduceat(image, np.arange(0, image.shape[0], CELL_ROWS), axis=0, dtype=np.float64)
    cells = np.add.reduceat(rows, np.arange(0, image.shape[1], blocks), axis=1)
    return np.asarray(ndimage.convolve1d(cells, [0.5, 1.0, 0.5], axis=0, mode="constant"))


def _correlations(left: NDArray[np.float32], right: NDArray[np.float32], most: int, blocks: int) -> Array:
    """How alike windows are at lags from -most to most, each between -1 and 1.

    Every lag is measured by the light it meets: else windows would lean to where the light is brighter.
    """
    own, other = _cells(left * left, blocks), right * right
    tiny = 1e-6 * float(own.max(initial=0.0)) + 1e-30
    result = []
    for lag in range(-most, most + 1):
        met = _cells(_shifted(other, lag), blocks)
        result.append(_cells(left * _shifted(right, lag), blocks) / np.sqrt((own + tiny) * (met + tiny)))
    return np.stack(result)


def _peaks(alike: Array, most: int) -> tuple[Array, Array]:
    """Lag at which windows are most alike by a parabola through three, and its weight: 0 where there is none."""
    best = np.argmax(alike, axis=0)
    inside = (best > 0) & (best < 2 * most)
    at = np.clip(best, 1, 2 * most - 1)
    low, high, up = (np.take_along_axis(alike, (at + d)[None], axis=0)[0] for d in (-1, 0, 1))
    bend = 2 * high - low - up
    lag = at - most + np.where(bend > 0, 0.5 * (up - low) / np.maximum(bend, 1e-30), 0.0)
    likeness = np.clip(high, 0, 1)
    # Noise is alike by chance at some lag: what is hardly alike counts for next to nothing.
    weight = bend**2 * likeness**4 / (1.02 - likeness**2)
    return lag, np.where(inside & (bend > 0) & (likeness > 0.15), weight, 0.0)


def straightened(
    image: NDArray[np.float32], good: NDArray[np.bool_], rows: Array
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values of blocks between their rows (linear); the result has the shape of ``rows``, traces by blocks."""
    count, blocks = image.shape
    floor = np.floor(rows)
    share = (rows - floor).astype(np.float32)
    index = floor.astype(np.int64)
    inside = (index >= 0) & (index < count - 1)
    index = np.clip(index, 0, max(count - 2, 0))
    flat = index * blocks + np.arange(blocks)[None, :]
    lower, upper = image.ravel()[flat], image.ravel()[flat + blocks]
    known = inside & good.ravel()[flat] & good.ravel()[flat + blocks]
    return np.where(known, lower + share * (upper - lower), np.float32(0)), known


def middle_rows(field: Field, columns: Array) -> Array:
    """Rows in the middle of all traces that touch the image anywhere, so far as they are not too far off."""
    rows = field.shape[0]
    ends = np.abs(field.displacement(np.array([0.0, rows - 1.0]), columns))
    pad = int(min(np.ceil(np.max(ends)), 0.2 * rows)) + 4
    return np.arange(-pad, rows + pad, dtype=float)


def _refined(field: Field, light: NDArray[np.float32], strips: Strips, reach: float, degree: int) -> Field:
    """Measure what the field misses up to a share of the half-width, and take it in."""
    u = field.u(strips.columns)
    use = np.flatnonzero(np.abs(u) <= reach + 0.02)[:: max(len(u) // MOST_BLOCKS, 1)]
    inner = np.abs(u[use]) <= max(reach - 0.15, 0.12) if reach < 1 else np.ones(len(use), bool)
    middle = middle_rows(field, strips.columns[use])
    straight, known = straightened(light[:, use], strips.good[:, use], field.rows(middle, strips.columns[use]))
    template = straight[:, inner].sum(axis=1, dtype=np.float64) / np.maximum(known[:, inner].sum(axis=1), 1)
    template = ndimage.gaussian_filter1d(template, 0.7).astype(np.float32)
    group = max(CELL_BLOCKS // 2, 1)
    starts = np.arange(0, straight.shape[1], group)
    summed = np.add.reduceat(straight, starts, axis=1)
    lag, weight = _peaks(_correlations(np.broadcast_to(template[:, None], summed.shape), summed, LAGS, 1), LAGS)
    y = middle[0] + (np.arange(lag.shape[0]) + 0.5) * CELL_ROWS
    x = np.add.reduceat(strips.columns[use], starts) / np.diff(np.append(starts, straight.shape[1]))
    xx, yy = np.meshgrid(x, np.minimum(y, middle[-1]))
    xx, yy = xx.ravel(), yy.ravel()
    along = _along(field.u(xx), degree)
    across = chebyshev.chebvander(field.v(yy), DEGREE_Y)
    basis = (along[:, :, None] * across[:, None, :]).reshape(len(xx), -1)
    found = robust_solve(basis, lag.ravel(), weight.ravel(), _roughness(degree, DEGREE_Y + 1))
    coefficients = field.coefficients.copy()
    coefficients[:degree] += found.reshape(degree, DEGREE_Y + 1)
    return Field(coefficients, field.shape)


def _roughness(terms_x: int, terms_y: int) -> Array:
    """Weights by which coefficients are held to 0: the higher the degree the more."""
    degree = np.arange(terms_x)[:, None] + 1.5 * np.arange(terms_y)[None, :]
    return (1e-4 * (1 + degree) ** 3).ravel()


def weighted_median(values: Array, weight: Array) -> float:
    """Value below which half the weight lies."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def robust_solve(basis: Array, values: Array, weight: Array, hold: Array, rounds: int = 8) -> Array:
    """Least squares with Cauchy weights, coefficients held to 0 by ``hold`` relative to the weights' sum."""
    used = weight > 0
    if used.sum() < 4:
        return np.zeros(basis.shape[1])
    basis, values, weight = basis[used], values[used], weight[used]
    weight = np.minimum(weight / np.percentile(weight, 95), 1.0)
    robust = np.ones_like(values)
    found: Array = np.zeros(basis.shape[1])
    for _ in range(rounds):
        w = weight * robust
        normal = basis.T @ (w[:, None] * basis) + np.diag(hold * w.sum())
        found = np.asarray(np.linalg.solve(normal, basis.T @ (w * values)), dtype=np.float64)
        away = np.abs(values - basis @ found)
        scale = max(1.4826 * weighted_median(away, weight), 1e-3)
        robust = 1 / (1 + (away / (2 * scale)) ** 2)
    return found
