"""Fourth stage: straighten the orders, so that each lies on rows."""

from __future__ import annotations

from flatcore import _core
from flatcore.images import Image, Transform


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
