"""The profile of every order across the dispersion, column by column."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore import _core
from flatcore.bootstrap.settings import OrderProfileSettings
from flatcore.images import Image, Mask

Traces = NDArray[np.float64]


def strips(traces: Traces, others: Traces, below: float, above: float, shape: tuple[int, int]) -> Mask:
    """Tell the pixels that belong to a fibre's orders: near a trace, and nearer to it than to one of another fibre.

    Parameters
    ----------
    traces, others
        Chebyshev coefficients, domain [0, columns]: the fibre's traces, and those of other localisations.
    below, above
        Rows to both sides of a trace [pixels].
    shape
        Rows and columns of the detector.

    Returns
    -------
    ndarray of uint8
        1 where a pixel belongs to the fibre.
    """
    ny, nx = shape
    x = 2 * np.arange(nx) / nx - 1
    mask = np.zeros(shape, np.uint8)
    own = chebyshev.chebval(x, traces.T)
    foreign = chebyshev.chebval(x, others.T) if len(others) else np.empty((0, nx))
    columns = np.arange(nx)
    height = int(np.ceil(below) + np.ceil(above)) + 3
    for trace in own:
        first = np.floor(trace - below).astype(int)
        rows = first + np.arange(height)[:, None]
        inside = (rows >= trace - below) & (rows <= trace + above) & (rows >= 0) & (rows < ny)
        if len(foreign):
            distance = foreign - trace
            # Half-way to the nearest neighbour on either side belongs to each of the two.
            over = np.where(distance > 0, distance, np.inf).min(axis=0) / 2
            under = np.where(distance < 0, distance, -np.inf).max(axis=0) / 2
            inside &= (rows < trace + over) & (rows > trace + under)
        mask[rows[inside], np.broadcast_to(columns, rows.shape)[inside]] = 1
    return mask


def order_profile(image: Image, wanted: Mask, dymap: Image, settings: OrderProfileSettings) -> Image:
    """Give the light of each pixel as the nan-median over the columns to both sides, along the curve of its order.

    Parameters
    ----------
    image
        Calibrated flat, rows by columns, float32; NaN where a pixel is bad.
    wanted
        Not 0 where the profile is asked for, uint8.
    dymap
        SHAPEY [pixels], which tells the curve.

    Returns
    -------
    ndarray of float32
        The image's unit; 0 where it is not asked for, NaN where all columns are bad.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    return _core.curve_medians(image, dymap, wanted, settings.half)
