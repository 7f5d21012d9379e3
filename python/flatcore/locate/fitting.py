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
# Below so many traces each stands alone, and its coefficients may differ from the field's by so much [pixels].
FEW, ALONE = 4, 3.0
ROUNDS = 8
# No point has an error below this share of what is usual for its trace.
CERTAIN = 0.3


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


def fit_traces(scaled: Array, rows: Array, errors: Array, start: Array, clip: float, *, shared: bool = True) -> Fits:
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
    basis = np.asarray(chebyshev.chebvander(scaled, terms - 1), dtype=np.float64)
    far = np.full(terms, 1e-8)
    expected, hold = start, np.array([1e-8, *np.full(terms - 1, 1 / ALONE**2)])
    if shared and count >= FEW:
        free, _, spread = _fit(basis, rows, errors, start, far, clip)
        expected, scatter = _neighbours(start, free, spread)
        hold = np.array([1e-8, *(1 / (LENIENCE * scatter) ** 2)])
    coefficients, used, spread = _fit(basis, rows, errors, expected, hold, clip)
    away = np.where(used, rows - coefficients @ basis.T, 0.0)
    counts = used.sum(axis=1)
    rms = np.where(counts > 0, np.sqrt((away**2).sum(axis=1) / np.maximum(counts, 1)), np.nan)
    rows_variance = np.where(used, np.einsum("bi,nij,bj->nb", basis, spread, basis, optimize=True), np.nan)
    error = np.full(count, np.nan)
    error[counts > 0] = np.sqrt(np.nanmedian(rows_variance[counts > 0], axis=1))
    return Fits(coefficients, used, rms, error)


def fit_shifts(scaled: Array, shifts: Array, errors: Array, degree: int, clip: float) -> Array:
    """Chebyshev coefficients of smooth shifts through rough ones, none where nothing is known; traces by terms."""
    basis = np.asarray(chebyshev.chebvander(scaled, degree), dtype=np.float64)
    hold = 0.1 * (1 + np.arange(degree + 1.0)) ** 2
    return _fit(basis, shifts, errors, np.zeros((len(shifts), degree + 1)), hold, clip)[0]


def _fit(  # noqa: PLR0917 - a problem of least squares has so many parts
    basis: Array, rows: Array, errors: Array, expected: Array, hold: Array, clip: float
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Weighted least squares of all traces towards expected coefficients; outlying points are left out.

    Gives coefficients, the points used, and the coefficients' covariances.
    """
    known = np.isfinite(rows) & np.isfinite(errors)
    rows, variance = np.where(known, rows, 0.0), np.where(known, errors**2 + LEAST_ERROR**2, 1.0)
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    terms = basis.shape[1]
    # A point that something has hit says that it is certain: none is taken to be much more so than most.
    variance = np.maximum(variance, (CERTAIN**2 * _medians(variance, known))[:, None])
    used = known
    for _ in range(ROUNDS):
        weight = used / variance
        normal = (weight @ products).reshape(-1, terms, terms) + np.diag(hold)
        right = (weight * rows) @ basis + hold * expected
        found = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        away = np.abs(rows - found @ basis.T) / np.sqrt(variance)
        # Errors may be told too small: what is usual for a trace counts too.
        usual = np.maximum(1.0, 1.4826 * _medians(away, used))
        kept = known & (away <= clip * usual[:, None])
        if (kept == used).all():
            break
        used = kept
    return np.asarray(found, dtype=np.float64), used, np.asarray(np.linalg.inv(normal), dtype=np.float64)


def _medians(values: Array, used: NDArray[np.bool_]) -> Array:
    """Median of the used values of each row (the lower of two); 0 where there are none."""
    ordered = np.sort(np.where(used, values, np.inf), axis=1)
    middle = np.maximum(used.sum(axis=1) - 1, 0) // 2
    found = np.take_along_axis(ordered, middle[:, None], axis=1)[:, 0]
    return np.where(used.any(axis=1), found, 0.0)


def _neighbours(start: Array, free: Array, covariances: Array) -> tuple[Array, Array]:
    """Coefficients as smooth functions of the middle row, and the usual scatter around them, from the 1st on."""
    count, terms = free.shape
    place = start @ chebyshev.chebvander(np.zeros(1), terms - 1)[0]
    spread = max(float(np.ptp(place)), 1.0)
    t = 2 * (place - place.min()) / spread - 1
    degree = min(3, max(count // 4, 0))
    basis = chebyshev.chebvander(t, degree)
    expected, scatter = start.copy(), np.empty(terms - 1)
    for k in range(1, terms):
        own = covariances[:, k, k]
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
