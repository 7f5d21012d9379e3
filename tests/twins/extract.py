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
