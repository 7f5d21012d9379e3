"""Bounds, dark, flip, units, crop and bad pixels, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan


def out_of_bounds_to_nan(image, low, high):
    """NaN where the image lies above ``high`` or below ``low``."""
    return np.where((image > high) | (image < low), np.nan, image)


@quiet_nan
def to_electrons(image, low, high, dark, flip, factor, rows, columns, bad):
    """The steps 1 to 6 of the calibration in their order."""
    image = out_of_bounds_to_nan(np.asarray(image, float), low, high)
    if dark is not None:
        image = image - dark
    if flip in ("y", "both"):
        image = image[::-1]
    if flip in ("x", "both"):
        image = image[:, ::-1]
    image = (image * factor)[rows[0] : rows[1], columns[0] : columns[1]]
    return image.copy() if bad is None else np.where(bad != 0, np.nan, image)


@quiet_nan
def pixels_above(image, limit, flip_y, flip_x, rows, columns):
    """Rows and columns in the flipped, cropped frame of the pixels above a limit, in the order of the raw image."""
    y, x = np.divmod(np.flatnonzero(image > limit), image.shape[1])
    y = image.shape[0] - 1 - y if flip_y else y
    x = image.shape[1] - 1 - x if flip_x else x
    found = np.stack([y - rows[0], x - columns[0]], axis=1)
    return found[((found >= 0) & (found < [rows[1] - rows[0], columns[1] - columns[0]])).all(axis=1)]
