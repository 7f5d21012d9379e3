"""Amplifiers put together to the detector's image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from flatcore.errors import InputError
from flatcore.instrument import Amplifier, Detector, Region

Image = NDArray[np.float32]

# Lines over which the level of an overscan is smoothed: the electronics drift slowly, and a level of more pixels adds
# less noise of its own.
SMOOTHED_LINES = 31


def assembled(raw: Mapping[int | str, Image], detector: Detector, path: Path) -> Image:
    """Put amplifiers together: overscan or bias subtracted, and all in the ADU of the detector's gain.

    Parameters
    ----------
    raw
        Images by HDU, rows by columns.
    detector
        The profile's table.
    path
        The file, for error messages.

    Returns
    -------
    ndarray of float32
        Rows by columns of ``detector.mosaic_shape``; NaN where no amplifier lies.

    Raises
    ------
    InputError
        A section lies outside its HDU's image.
    """
    mosaic = np.full(detector.mosaic_shape, np.nan, dtype=np.float32)
    for i, amplifier in enumerate(detector.amplifiers):
        image = raw[amplifier.hdu]
        pixels = _cut(image, amplifier.data, f"{path}: HDU {amplifier.hdu!r}: data section of amplifier {i}")
        level = _level(image, amplifier, detector, f"{path}: HDU {amplifier.hdu!r}: overscan of amplifier {i}")
        gain = np.float32((amplifier.gain or detector.gain) / detector.gain)
        step_y, step_x = -1 if amplifier.flip in ("y", "both") else 1, -1 if amplifier.flip in ("x", "both") else 1
        (top, bottom), (left, right) = amplifier.placed
        mosaic[top:bottom, left:right] = ((pixels - level) * gain)[::step_y, ::step_x]
    return mosaic


def _level(image: Image, amplifier: Amplifier, detector: Detector, named: str) -> Image:
    """Level to subtract from a data section: a number, a column of one per row, or a row of one per column."""
    if amplifier.overscan is None:
        return np.array(detector.bias if amplifier.bias is None else amplifier.bias, dtype=np.float32)
    region = _cut(image, amplifier.overscan, named)
    (top, bottom), (left, right) = amplifier.data
    rows, columns = amplifier.overscan
    if rows[0] <= top and rows[1] >= bottom:
        return overscan_level(region)[top - rows[0] : bottom - rows[0], None]
    if columns[0] <= left and columns[1] >= right:
        return overscan_level(region.T)[None, left - columns[0] : right - columns[0]]
    return np.array(np.nanmedian(region), dtype=np.float32)


def overscan_level(overscan: Image) -> Image:
    """Level of each row of an overscan.

    The median of each row, which a cosmic ray or a trail of charge does not move, then a straight line through
    ``SMOOTHED_LINES`` rows around each (Savitzky and Golay 1964, Anal. Chem. 36, 1627), through the last ones at the
    ends.

    Parameters
    ----------
    overscan
        Rows by columns [ADU].

    Returns
    -------
    ndarray of float32
        One level per row [ADU].
    """
    medians = np.median(overscan, axis=1).astype(np.float64)
    size = min(SMOOTHED_LINES, medians.size - 1 + medians.size % 2)
    smooth = savgol_filter(medians, size, 1, mode="interp") if size > 2 else medians
    return np.asarray(smooth, dtype=np.float32)


def _cut(image: Image, region: Region, named: str) -> Image:
    (top, bottom), (left, right) = region
    rows, columns = image.shape
    if bottom > rows or right > columns:
        raise InputError(
            f"{named}: rows [{top}, {bottom}], columns [{left}, {right}] lie outside its image of {rows} x {columns}"
        )
    return image[top:bottom, left:right]
