"""Fourth stage: straighten the orders, so that each lies on rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.images import Image, Transform

# The shape maps change by far less than a pixel from one pixel to the next: a few steps find where a pixel goes.
STEPS = 4


def straighten(image: Image, transform: Transform) -> Image:
    """Straighten an image by a quadratic spline in which NaN pixels weigh nothing.

    Output pixel (y, x) is the input at x' = dx + A x + B y + SHAPEX, y' = dy + C x + D y + SHAPEY.

    Parameters
    ----------
    image
        Rows by columns, float32; NaN for no value.
    transform
        SHAPEL, SHAPEX and SHAPEY; the maps have the image's shape [pixels].

    Returns
    -------
    ndarray of float32
        The image's shape; NaN where the position is outside, or less than half the weight is on valid pixels.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    return _core.straighten(image, transform.linear, transform.dxmap, transform.dymap)


def straight_positions(positions: NDArray[np.int_], transform: Transform) -> NDArray[np.int_]:
    """Give where pixels of the detector come to lie in the straight image, to the nearest pixel.

    Parameters
    ----------
    positions
        Rows and columns on the detector; pixels by 2.
    transform
        SHAPEL, SHAPEX and SHAPEY.

    Returns
    -------
    ndarray of int
        Rows and columns in the straight image, which they may lie off; pixels by 2.
    """
    dx, dy, *matrix = transform.linear
    inverse = np.linalg.inv(np.reshape(matrix, (2, 2)))
    rows, columns = transform.dxmap.shape
    shift = np.zeros(positions.shape)
    for _ in range(STEPS):
        moved = positions[:, ::-1] - [dx, dy] - shift
        straight = np.rint(moved @ inverse.T).astype(int)
        x, y = np.clip(straight[:, 0], 0, columns - 1), np.clip(straight[:, 1], 0, rows - 1)
        shift = np.stack([transform.dxmap[y, x], transform.dymap[y, x]], axis=1)
    return straight[:, ::-1]


def columns_of(positions: NDArray[np.int_], windows: Sequence[tuple[int, int]], columns: int) -> NDArray[np.bool_]:
    """Tell in which columns of which orders pixels of the straight image, or their neighbours, take part.

    The spline spreads a pixel over its neighbours.

    Parameters
    ----------
    positions
        Rows and columns in the straight image; pixels by 2.
    windows
        First row and number of rows of each order.
    columns
        Columns of the image.

    Returns
    -------
    ndarray of bool
        Orders by columns.
    """
    touched = np.zeros((len(windows), columns), bool)
    for order, (first, count) in enumerate(windows):
        inside = (positions[:, 0] >= first - 1) & (positions[:, 0] <= first + count)
        for offset in (-1, 0, 1):
            x = positions[inside, 1] + offset
            touched[order, x[(x >= 0) & (x < columns)]] = True
    return touched
