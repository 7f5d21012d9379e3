"""The whole night in NumPy and SciPy: what the golden values were made with, one stage after the other."""

import numpy as np
from numpy.polynomial import chebyshev

from tests.twins.quiet import quiet_nan
from tests.twins.statistics import robust_sigma


def effective_readnoise(image, unlit):
    """Robust sigma of the successive differences of the unlit pixels."""
    return robust_sigma(np.diff(np.asarray(image, float)[unlit])) / np.sqrt(2)


def moved_trace(coefficients, linear, nx):
    """A trace after the linear transform, refitted to its own degree; its coefficients."""
    dx, dy, a, b, c, d = linear
    x = np.arange(nx, dtype=float)
    y = chebyshev.chebval(2 * x / nx - 1, coefficients)
    inverse = np.linalg.inv([[a, b], [c, d]])
    x2, y2 = inverse @ np.array([x, y]) - np.array([[dx], [dy]])
    return chebyshev.chebfit(2 * x2 / nx - 1, y2, len(coefficients) - 1)


def straight_row(coefficients, linear, nx):
    """The moved trace at the middle column."""
    return chebyshev.chebval(2 * (nx // 2) / nx - 1, moved_trace(coefficients, linear, nx))


@quiet_nan
def signal_to_noise(e2ds, readnoise, width):
    """Flux of the middle 100 columns over its noise."""
    middle = e2ds.size // 2
    flux = np.nansum(e2ds[middle - 50 : middle + 50]) / 100
    return flux / np.sqrt(flux + readnoise**2 * width)
