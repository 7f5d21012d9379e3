"""Robust sigma and the running nan-median, in NumPy."""

import numpy as np
from scipy.special import erf

from tests.twins.quiet import quiet_nan


@quiet_nan
def robust_sigma(values):
    """Half the distance of the percentiles 100 erf(1) and 100 - 100 erf(1); NaN left out."""
    high, low = np.nanpercentile(values, [100 * erf(1), 100 - 100 * erf(1)])
    return (high - low) / 2


@quiet_nan
def running_median(row, width):
    """Centred nan-median of ``width`` samples that shrinks at the ends; NaN below ``width // 2`` finite ones."""
    before, after = (width - 1) // 2, width // 2
    result = np.full(row.shape, np.nan)
    for i in range(row.size):
        window = row[max(0, i - before) : i + after + 1]
        if np.isfinite(window).sum() >= width // 2:
            result[i] = np.nanmedian(window)
    return result
