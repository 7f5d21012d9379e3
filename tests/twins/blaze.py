"""Blaze fit and flat of one order, the way the recipe in use does it: curve_fit without a Jacobian, twice."""

import numpy as np
from scipy.optimize import curve_fit

from tests.twins.quiet import quiet_nan
from tests.twins.statistics import robust_sigma, running_median


def sinc2(x, amplitude, period, centre, quadratic, cubic, slope):
    """A sinc^2 with a slope, and without it."""
    d = x - centre
    theta = 2 * np.pi * (d + quadratic * d**2 + cubic * d**3) / period
    plain = amplitude * np.sinc(theta / np.pi) ** 2
    return plain * (1 + slope * d), plain


@quiet_nan
def fit_blaze(e2ds, width=25, cut=0.1, fit_cubic=True):
    """Blaze of one order, the pixels it was fitted on and its parameters."""
    return fit_filtered(running_median(e2ds, width), cut, fit_cubic)


@quiet_nan
def fit_filtered(filtered, cut=0.1, fit_cubic=True):
    """The same, of the order's running median."""
    x = np.arange(filtered.size, dtype=float)
    p95 = np.nanpercentile(filtered, 95)
    fitted = np.isfinite(filtered) & (filtered > 0.05 * p95) & (filtered < 2 * p95)
    start = [
        p95,
        2.0 * np.count_nonzero(filtered[fitted] > p95 / 2),
        np.nanmedian(np.where(filtered > p95, x, np.nan)),
        0.0,
        0.0,
        0.0,
    ]
    low = [0, 0, 0, -np.inf, -np.inf, -np.inf]
    high = [1.5 * p95, np.inf, filtered.size - 1, np.inf, np.inf, np.inf]

    free = list(range(6)) if fit_cubic else [0, 1, 2, 3, 5]

    def model(x, *parameters):
        full = np.zeros(6)
        full[free] = parameters
        return sinc2(x, *full)[0]

    parameters = np.array(start)[free]
    bounds = (np.array(low)[free], np.array(high)[free])
    for _ in range(2):
        parameters, _ = curve_fit(model, x[fitted], filtered[fitted], p0=parameters, bounds=bounds)
    full = np.zeros(6)
    full[free] = parameters
    blaze, plain = sinc2(x, *full)
    return np.where(plain < cut * full[0], np.nan, blaze), fitted, full


@quiet_nan
def make_flat(e2ds, blaze, fitted, sigma_cut=10.0, limit=0.2):
    """Flat, masked flat, blaze, E2DS and the rms before and after masking, of one order."""
    e2ds = np.where(np.isnan(blaze), np.nan, e2ds)
    flat = e2ds / blaze
    rms = robust_sigma(flat[fitted])
    wild = (np.abs(flat - 1) > sigma_cut * rms) | (np.abs(flat - 1) > limit)
    flat, blaze, e2ds = (np.where(wild, np.nan, a) for a in (flat, blaze, e2ds))
    return flat, blaze, e2ds, robust_sigma(flat[fitted])


@quiet_nan
def low_pass(flat, width=501):
    """Slow part of a flat: box medians, linearly joined."""
    n = flat.size
    positions, values = [], []
    for i in range(-(width + 1) // 2, n + width // 2, width // 4):
        low, high = max(i, 0), min(i + width, n - 1)
        box = flat[low:high]
        if high - low < 3 or not np.isfinite(box).any():
            continue
        positions.append(np.mean(np.arange(low, high)))
        values.append(np.nanmedian(box))
    unique, inverse = np.unique(positions, return_inverse=True)
    means = np.bincount(inverse, weights=values) / np.bincount(inverse)
    return np.interp(np.arange(n), unique, means)
