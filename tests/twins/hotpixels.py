"""Repair of hot pixels, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan

AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def shifted(image, dy, dx):
    """The neighbour at (y + dy, x + dx) of every pixel, wrapping."""
    return np.roll(image, (-dy, -dx), axis=(0, 1))


@quiet_nan
def residual_scale(image):
    """Residual from the smoothed flattened image and its local scale."""
    flat = np.asarray(image, float).ravel()
    medians = np.nanmedian([np.roll(flat, k) for k in range(-2, 3)], axis=0)
    smooth = np.mean([np.roll(medians, k) for k in range(-2, 3)], axis=0)
    residual = np.abs(flat - smooth).reshape(image.shape)
    scale = np.nanmedian([shifted(residual, *s) for s in AROUND], axis=0)
    floor = np.nanmedian(scale) / 2
    return residual, np.where(scale < floor, floor, scale)


@quiet_nan
def repair_hot_pixels(image, bad, threshold=10.0):
    """Replace bad pixels with enough good neighbours; the others stay as they are."""
    residual, scale = residual_scale(image)
    good = ~((residual > threshold * scale) | (bad != 0) | ~np.isfinite(image))
    values = np.where(good, image, 0.0)
    near = [s for s in AROUND if s != (0, 0)]
    count = sum(shifted(good, *s).astype(int) for s in near)
    edges = sum(shifted(values, *s) for s in near if 0 in s)
    corners = sum(shifted(values, *s) for s in near if 0 not in s)
    repaired = np.array(image, float)
    whole = ~good & (count == 8)
    partly = ~good & ((count == 6) | (count == 7))
    repaired[whole] = (2 * edges / 4 - corners / 4)[whole]
    repaired[partly] = ((edges + corners) / np.maximum(count, 1))[partly]
    return repaired
