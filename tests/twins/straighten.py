"""Straightening by a quadratic spline with NaN weights, in SciPy."""

import numpy as np
from scipy import ndimage

from tests.twins.quiet import quiet_nan


def source_positions(linear, dxmap, dymap):
    """Where each output pixel lies in the input: (x', y') of the spec."""
    dx, dy, a, b, c, d = linear
    y, x = np.indices(dxmap.shape, float)
    return dx + a * x + b * y + dxmap, dy + c * x + d * y + dymap


@quiet_nan
def straighten(image, linear, dxmap, dymap, min_weight=0.5):
    """The image at its source positions; NaN pixels weigh nothing, and too little weight gives NaN."""
    x, y = source_positions(linear, np.asarray(dxmap, float), np.asarray(dymap, float))
    valid = np.isfinite(image)
    filled = np.where(valid, image, 0.0)
    values = ndimage.map_coordinates(filled, [y, x], order=2, mode="constant", cval=np.nan)
    weights = ndimage.map_coordinates(valid.astype(float), [y, x], order=2, mode="constant", cval=0.0)
    return np.where(weights < min_weight, np.nan, values / weights)
