"""Optimal extraction with rejection, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan


def order_rows(centre, below, above):
    """First row and number of rows of an order's window; halves go to even."""
    first, last = int(np.round(centre - below)), int(np.round(centre + above))
    return first, last - first + 1


def window(image, first, count):
    """The rows of a window; rows off the detector are NaN."""
    rows = np.full((count, image.shape[1]), np.nan)
    low, high = max(first, 0), min(first + count, image.shape[0])
    if high > low:
        rows[low - first : high - first] = image[low:high]
    return rows


@quiet_nan
def extract_order(pixels, profile, rejection=True, threshold=10.0):
    """E2DS, E2DSLL, E2DSCC and the number of pixels left out, of one order's rows."""
    total = np.nansum(profile, axis=0)
    profile = np.where(total > 0, profile / np.where(total > 0, total, 1), 1.0)
    amplitude = np.nanmedian(pixels / profile, axis=0)
    distance = np.abs(pixels - amplitude * profile)
    ratio = distance / np.nanmedian(distance, axis=0)
    kept = ratio < threshold if rejection else np.isfinite(ratio)
    norm = np.sum(np.where(kept, profile**2, 0), axis=0)
    stacked = np.where(kept, pixels * profile / norm, np.nan)
    spectrum = np.where(kept.any(axis=0), np.nansum(stacked, axis=0), np.nan)
    return spectrum, stacked, kept, int((~kept).sum())


# Standard deviation of the median of n absolute values of normal noise, in units of that median and of 1 / sqrt(n).
MEDIAN_SCATTER = 1.166
LEAST_VALID = 5


@quiet_nan
def variance_of(pixels, profile, spectrum, kept, smoothing, *, threshold=10.0, readnoise=5.0, photon_variance=1.0):
    """Variance of a spectrum: of the pixels kept, and of the choice which pixels are."""
    total = np.nansum(profile, axis=0)
    profile = np.where(total > 0, profile / np.where(total > 0, total, 1), 1.0)
    expected = np.maximum(spectrum * profile, 0.0) * photon_variance + readnoise**2
    norm = np.sum(np.where(kept, profile**2, 0), axis=0)
    noise = np.sum(np.where(kept, profile**2 * expected * smoothing, 0), axis=0) / norm**2
    if threshold is None:
        return np.where(kept.any(axis=0), noise, np.nan)
    distance = np.abs(pixels - np.nanmedian(pixels / profile, axis=0) * profile)
    limit = threshold * np.nanmedian(distance, axis=0)
    limit_variance = (MEDIAN_SCATTER * limit) ** 2 / np.maximum((~np.isnan(distance)).sum(axis=0), LEAST_VALID)
    # Noise as uniform as it is wide: sqrt(3) deviations to each side.
    position = (limit - distance) / np.sqrt(3 * (expected + limit_variance))
    undecided = np.where(np.abs(position) < 1, (1 + position) / 2 * (1 - position) / 2, 0.0)
    without = np.where(kept, norm - profile**2, norm + profile**2)
    change = np.where(without > 0, profile * (pixels - spectrum * profile) / without, 0.0)
    return np.where(kept.any(axis=0), noise + np.nansum(undecided * change**2, axis=0), np.nan)
