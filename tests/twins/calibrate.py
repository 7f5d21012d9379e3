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
