"""How much an order's columns scatter about its blaze, for the errors of what was fitted to their running median."""

from __future__ import annotations

import numpy as np

from flatcore import _core
from flatcore.blaze.model import Vector

# Boxes over the fitted columns in which the scatter is measured: noise and response go with the flux.
BOXES = 12
# Share of the columns over which they are taken to scatter together: the straightening's spline, and waves of the
# response, which a smooth blaze averages out where they are shorter than that.
LAG_SHARE = 1 / 20
# Share of the variance within that reach which each fitted term takes away, by simulation: a little less than all.
LOST_PER_TERM = 0.75
# Correlation never makes the variance smaller than this much.
LEAST_GROWTH = 0.3
# Residuals beyond this many deviations are cut: outliers, which the running median does not follow.
CUT = 4.0
# Standard deviation of a normal distribution over its median absolute deviation.
NORMAL = 1.4826


def long_run_variance(residual: Vector, width: int, terms: int = 0) -> Vector:
    """Variance that each column adds to a mean over many columns of the running median.

    The square of the local scatter; times 1 + 2 sum (1 - k / (K + 1)) rho_k over K lags for the columns' correlation
    (Newey & West 1987, Econometrica 55, 703); times what a running median scatters more than a running mean; over the
    share that is left of such slow scatter after as many terms were fitted to it.

    Parameters
    ----------
    residual
        Spectrum less blaze at the fitted columns, not filtered; NaN for no value.
    width
        Of the running median [pixels].
    terms
        Number of smooth terms that were fitted.

    Returns
    -------
    ndarray of float64
        One value per column, in the square of the residual's unit.
    """
    deviation = _local_deviation(residual)
    if not (deviation > 0).any():
        return np.zeros(residual.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = np.clip(residual / deviation, -CUT, CUT)
    normal = np.where(np.isfinite(normal), normal, 0.0)
    normal -= normal.mean()
    left = 1.0 - min(LOST_PER_TERM * LAG_SHARE * terms, 0.5)
    variance: Vector = np.square(deviation) * _growth(normal) * running_median_inefficiency(width) / left
    return variance


def _growth(normal: Vector) -> float:
    """Growth of the variance of a mean by the correlation of its columns."""
    # A power of two, twice as long: no column meets another round the end.
    size = 2 ** int(np.ceil(np.log2(2 * normal.size)))
    power = np.square(np.abs(np.fft.rfft(normal, size)))
    covariance = np.fft.irfft(power, size)
    lags = np.arange(1, int(LAG_SHARE * normal.size) + 1)
    if not covariance[0] > 0:
        return 1.0
    correlation = covariance[lags] / covariance[0]
    growth = 1.0 + 2.0 * float(np.sum((1.0 - lags / (lags.size + 1)) * correlation))
    return max(growth, LEAST_GROWTH)


def running_median_inefficiency(width: int) -> float:
    """Variance that a running median over ``width`` normal values leaves in smooth terms, over a running mean's.

    A median alone scatters pi n / (2 n + pi - 2) times more than a mean. In the mean of a whole order this is nearly
    reached, and less and less of it in each further term: a third on the average of the first six, by simulation.
    """
    alone = np.pi * width / (2.0 * width + np.pi - 2.0)
    return float(1.0 + (alone - 1.0) / 3.0)


def _local_deviation(residual: Vector) -> Vector:
    """Robust standard deviation in boxes, and between their middles by lines."""
    medians = _core.box_medians(np.abs(residual), BOXES)
    known = np.isfinite(medians)
    if not known.any():
        return np.zeros(residual.size)
    centres = (np.arange(BOXES) + 0.5) * residual.size / BOXES
    deviation: Vector = np.interp(np.arange(residual.size) + 0.5, centres[known], NORMAL * medians[known])
    return deviation
