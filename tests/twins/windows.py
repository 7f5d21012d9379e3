"""What the windows of orders lack, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan
from tests.twins.straighten import source_positions

SAMPLES = 255


@quiet_nan
def window_planes(image, profile, windows, linear, dxmap, dymap):
    """Bad columns, columns off the detector, and coverage; orders by columns."""
    ny, nx = image.shape
    x, y = source_positions(linear, np.asarray(dxmap, float), np.asarray(dymap, float))
    on_image = (x >= 0) & (x <= nx - 1) & (y >= 0) & (y <= ny - 1)
    planes = []
    for first, count in windows:
        rows = np.arange(first, first + count)
        there = (rows >= 0) & (rows < ny)
        on, shape, valued = np.zeros((count, nx), bool), np.full((count, nx), np.nan), np.ones((count, nx), bool)
        on[there], valued[there] = on_image[rows[there]], np.isfinite(image[rows[there]])
        shape[there] = profile[rows[there]]
        shape[~on] = np.nan
        off = ~on.all(axis=0)
        whole = np.flatnonzero(~off)
        sums = np.nansum(shape, axis=0) if whole.size else np.ones(nx)
        sampled = whole if whole.size else np.arange(nx)
        sampled = sampled[:: max(-(-sampled.size // SAMPLES), 1)]
        sampled = sampled[sums[sampled] > 0]
        typical = np.nanmedian(shape[:, sampled] / sums[sampled], axis=1) if sampled.size else np.zeros(count)
        typical = np.where(typical > 0, typical, 0.0)
        typical = typical / typical.sum() if typical.sum() > 0 else np.full(count, 1 / max(count, 1))
        coverage = np.where(off, (typical[:, None] * on).sum(axis=0), 1.0)
        planes.append(((on & ~valued).any(axis=0), off, coverage))
    return tuple(np.array(plane) for plane in zip(*planes, strict=True))
