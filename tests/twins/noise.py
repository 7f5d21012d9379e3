"""Noise of straightened pixels, in NumPy: what the quadratic spline makes of white noise."""

import numpy as np

from tests.twins.straighten import source_positions

POLE = np.sqrt(8.0) - 3.0
# Autocorrelation of the prefilter's response K z^|m|, at lags 0, 1 and 2.
PREFILTER = ((1 - POLE) / (1 + POLE)) ** 2 * POLE ** np.arange(3) * ((1 + POLE**2) / (1 - POLE**2) + np.arange(3))


def spline_variance(position):
    """Variance of the spline through white noise of variance 1, at a position between the samples."""
    t = position - np.floor(position + 0.5)
    low, middle, high = 0.5 * (0.5 - t) ** 2, 0.75 - t**2, 0.5 * (0.5 + t) ** 2
    same = low**2 + middle**2 + high**2
    return PREFILTER[0] * same + 2 * PREFILTER[1] * middle * (low + high) + 2 * PREFILTER[2] * low * high


def smoothing(linear, dxmap, dymap):
    """Share of each pixel's variance that a sum across the order keeps: smoothing along x only."""
    x, _ = source_positions(linear, np.asarray(dxmap, float), np.asarray(dymap, float))
    return spline_variance(x)
