"""The map of the pixels that get no light, on which the background is measured."""

from __future__ import annotations

from flatcore import _core
from flatcore.bootstrap.settings import UnlitSettings
from flatcore.images import Image, Mask


def unlit_pixels(image: Image, box: int, settings: UnlitSettings, dymap: Image | None = None) -> Mask:
    """Find the pixels between the orders.

    Ribbons of ``box`` columns are narrow enough for orders to lie level in them. The median of each row of a ribbon is
    its cross-order profile; pixels below the running percentile of that over ``box`` rows are dark. A dark pixel
    without another in its neighbourhood of a row is taken out, one with three or more is put in, whatever it is.

    Parameters
    ----------
    image
        Rows by columns, float32; NaN where a pixel is bad.
    box
        Width of the ribbons and of the running percentile [pixels].
    dymap
        SHAPEY [pixels]: ribbons then follow the curve of the orders, whose gaps are else filled in their profile where
        they are steep. None is the method as published.

    Returns
    -------
    ndarray of uint8
        1 where a pixel gets no light.

    Raises
    ------
    ValueError
        A setting is out of range.

    Notes
    -----
    Method: the background map of Cook et al. 2022, PASP 134, 114509, with their numbers as defaults.
    """
    return _core.unlit_mask(image, box, settings.percent, settings.window, settings.least, dymap)
