"""Extraction along the curved trace, from the pixels as they are, in NumPy."""

import numpy as np

from tests.twins import horne
from tests.twins.quiet import quiet_nan
from tests.twins.straighten import source_positions

STEPS = 12


def bilinear(image, y, x):
    """An image between its pixels; beyond its edges the value of the edge."""
    rows, columns = image.shape
    y, x = np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)
    top, left = np.minimum(y.astype(int), max(rows - 2, 0)), np.minimum(x.astype(int), max(columns - 2, 0))
    down, right = np.minimum(top + 1, rows - 1), np.minimum(left + 1, columns - 1)
    ty, tx = y - top, x - left
    upper = image[top, left] * (1 - tx) + image[top, right] * tx
    lower = image[down, left] * (1 - tx) + image[down, right] * tx
    return upper * (1 - ty) + lower * ty


def straight_positions(linear, dxmap, dymap):
    """Straight position (x, y) of every pixel of the detector, by fixed-point steps."""
    dx, dy, a, b, c, d = linear
    dxmap, dymap = np.asarray(dxmap, float), np.asarray(dymap, float)
    target_y, target_x = np.indices(dxmap.shape, dtype=float)
    x, y = target_x.copy(), target_y.copy()
    for _ in range(STEPS):
        step_x = target_x - (dx + a * x + b * y + bilinear(dxmap, y, x))
        step_y = target_y - (dy + c * x + d * y + bilinear(dymap, y, x))
        x, y = x + step_x, y + step_y
    return x, y


@quiet_nan
def extract_order(image, profile, window, linear, dxmap, dymap, **how):
    """Flux, variance, shares of the flux (window's rows by columns), whether all are kept, and bad columns."""
    first, count = window
    x, y = straight_positions(linear, dxmap, dymap)
    ny, columns = image.shape
    # Straight rows of the window that lie on the detector.
    there_x, there_y = source_positions(linear, np.asarray(dxmap, float), np.asarray(dymap, float))
    seen = (there_x >= 0) & (there_x <= columns - 1) & (there_y >= 0) & (there_y <= ny - 1)
    seen = seen[max(first, 0) : max(first + count, 0)].sum(axis=0)
    overlap = np.clip(np.minimum(y - (first - 1), first + count - y), 0, 1)
    rows, native = np.nonzero(overlap > 0)
    # Two shares of each pixel: the columns to its left and right.
    left = np.floor(x[rows, native]).astype(int)
    part = x[rows, native] - left
    column = np.concatenate([left, left + 1])
    share = np.concatenate([1 - part, part]) * np.tile(overlap[rows, native], 2)
    used = (column >= 0) & (column < columns) & (share > 0)
    column, share = column[used], share[used]
    rows, native = np.tile(rows, 2)[used], np.tile(native, 2)[used]
    order = np.argsort(column, kind="stable")
    column, share, rows, native = (a[order] for a in (column, share, rows, native))
    place = np.arange(column.size) - np.searchsorted(column, column)
    depth = place.max(initial=0) + 1
    shape = (depth, columns)
    pixels, light, shares = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    pixels[place, column] = image[rows, native]
    light[place, column] = profile[rows, native]
    shares[place, column] = share
    flux, variance, stacked, kept = horne.extract_order(pixels, light, shares, rows=seen, **how)
    row = np.clip(np.floor(y[rows, native] + 0.5).astype(int) - first, 0, count - 1)
    stack, missing = np.zeros((count, columns)), np.zeros((count, columns), int)
    there = np.zeros((count, columns), int)
    np.add.at(stack, (row, column), np.where(kept, stacked, 0)[place, column])
    np.add.at(missing, (row, column), ~kept[place, column])
    np.add.at(there, (row, column), kept[place, column])
    bad = (~np.isfinite(pixels) & (shares > 0)).any(axis=0)
    return flux, variance, np.where(there > 0, stack, np.nan), (there > 0) & (missing == 0), bad
