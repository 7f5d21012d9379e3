"""Chebyshev polynomials through the points of each trace, with what the other traces say of its shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Error that every point has, whatever its noise [pixels]: profiles change along an order.
LEAST_ERROR = 0.02
# Coefficients may differ from those of the neighbours by this many times what is usual.
LENIENCE = 3.0
LEAST_SCATTER = 0.03


@dataclass(frozen=True)
class Fits:
    """Polynomials of all traces.

    Attributes
    ----------
    coefficients
        Traces by terms.
    used
        Points that were fitted; traces by blocks.
    rms
        Of the points fitted around their polynomial [pixels].
    error
        Standard error of the row, median over the blocks of its points [pixels].
    """

    coefficients: Array
    used: NDArray[np.bool_]
    rms: Array
    error: Array


def fit_traces(
    scaled: Array, rows: Array, errors: Array, start: Array, clip: float, *, shared: bool = True
) -> Fits:
    """Fit all traces.

    Parameters
    ----------
    scaled
        Columns of the blocks from -1 to 1.
    rows, errors
        Points and their errors, traces by blocks [pixels]; NaN for no point.
    start
        Coefficients that describe a trace of which nothing else is known; traces by terms.
    clip
        Points further from their trace are left out, in deviations.
    shared
        Hold each trace's coefficients to what the others say: one trace is much like the next.
    """
    count, terms = start.shape
    basis = chebyshev.chebvander(scaled, terms - 1)
    far = np.diag(np.full(terms, 1e-8))
    free = [_fit(basis, rows[i], errors[i], start[i], far, clip) for i in range(count)]
    if not shared or count < 4:
        loose = np.diag([1e-8, *np.full(terms - 1, 1 / 3.0**2)])
        fits = [_fit(basis, rows[i], errors[i], start[i], loose, clip) for i in range(count)]
    else:
        expected, scatter = _neighbours(start, np.array([one[0] for one in free]), [one[2] for one in free])
        hold = np.diag([1e-8, *(1 / (LENIENCE * scatter) ** 2)])
        fits = [_fit(basis, rows[i], errors[i], expected[i], hold, clip) for i in range(count)]
    coefficients = np.array([one[0] for one in fits])
    used = np.array([one[1] for one in fits])
    away = rows - coefficients @ basis.T
    rms, error = np.full(count, np.nan), np.full(count, np.nan)
    for i in range(count):
        if used[i].any():
            rms[i] = np.sqrt(np.mean(away[i, used[i]] ** 2))
            spread = np.einsum("bi,ij,bj->b", basis[used[i]], fits[i][2], basis[used[i]])
            error[i] = np.sqrt(np.median(np.maximum(spread, 0)))
    return Fits(coefficients, used, rms, error)


def _fit(
    basis: Array, rows: Array, errors: Array, expected: Array, hold: Array, clip: float
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Weighted least squares towards expected coefficients; outlying points are left out."""
    known = np.isfinite(rows) & np.isfinite(errors)
    used = known.copy()
    found, covariance = expected.copy(), np.linalg.inv(hold)
    for _ in range(8):
        if not used.any():
            break
        variance = errors[used] ** 2 + LEAST_ERROR**2
        b = basis[used]
        normal = b.T @ (b / variance[:, None]) + hold
        right = b.T @ (rows[used] / variance) + hold @ expected
        found = np.linalg.solve(normal, right)
        covariance = np.linalg.inv(normal)
        away = np.abs(rows - basis @ found) / np.sqrt(errors**2 + LEAST_ERROR**2)
        # Errors may be told too small: what is usual for this trace counts too.
        usual = max(1.0, 1.4826 * float(np.median(away[used])))
        kept = known & (np.nan_to_num(away, nan=np.inf) <= clip * usual)
        if (kept == used).all():
            break
        used = kept
    return found, used, covariance


def _neighbours(start: Array, free: Array, covariances: list[Array]) -> tuple[Array, Array]:
    """Coefficients as smooth functions of the row in the middle, and the usual scatter around them (without the 0th)."""
    count, terms = free.shape
    place = start @ chebyshev.chebvander(np.zeros(1), terms - 1)[0]
    spread = max(float(np.ptp(place)), 1.0)
    t = 2 * (place - place.min()) / spread - 1
    degree = min(3, max(count // 4, 0))
    basis = chebyshev.chebvander(t, degree)
    expected, scatter = start.copy(), np.empty(terms - 1)
    for k in range(1, terms):
        own = np.array([covariance[k, k] for covariance in covariances])
        usual = LEAST_SCATTER
        robust = np.ones(count)
        found = np.zeros(degree + 1)
        for _ in range(12):
            weight = robust / (own + usual**2)
            normal = basis.T @ (weight[:, None] * basis) + 1e-9 * weight.sum() * np.eye(degree + 1)
            found = np.linalg.solve(normal, basis.T @ (weight * free[:, k]))
            away = free[:, k] - basis @ found
            sigma = np.sqrt(own + usual**2)
            robust = 1 / (1 + (away / (2 * sigma)) ** 2)
            certain = own < np.median(own) * 4 + LEAST_SCATTER**2
            usual = max(1.4826 * float(np.median(np.abs(away[certain]))), LEAST_SCATTER)
        expected[:, k] = basis @ found
        scatter[k - 1] = usual
    return expected, scatter
