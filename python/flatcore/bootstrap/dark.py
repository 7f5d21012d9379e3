"""Dark current from dark frames, with the bias level where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flatcore import _core
from flatcore.errors import InputError
from flatcore.fitsio import FitsImage
from flatcore.images import Image


@dataclass(frozen=True)
class DarkReference:
    """What a frame without light shows.

    Attributes
    ----------
    image
        Raw rows by columns [ADU/s]; NaN where no frame has a value.
    current
        The dark current alone, without the bias level [ADU/s]; it tells hot pixels. None where it is not known.
    frames, biases
        Numbers of dark and of bias frames.
    """

    image: Image
    current: Image | None
    frames: int
    biases: int


def combined_rate(frames: Sequence[FitsImage]) -> Image:
    """Median of frames, pixel by pixel, in their own unit.

    Raises
    ------
    InputError
        A frame cannot be read, or the frames differ in shape.
    """
    try:
        return _core.combine_files([frame.location.source() for frame in frames], "median", 5.0, 1.0, 0.0)
    except (OSError, ValueError) as error:
        raise InputError(f"{frames[0].path} and {len(frames) - 1} more: {error}") from error


def dark_reference(
    shape: tuple[int, int],
    dark_rate: Image | None,
    bias_adu: Image | None = None,
    *,
    dark_exptime_s: float = 1.0,
    flat_exptime_s: float = 1.0,
    frames: int = 0,
    biases: int = 0,
) -> DarkReference:
    """Make the image that is subtracted from the flats [ADU/s].

    Frames of infrared arrays are rates without a bias level: the dark is the median rate. A bias level B [ADU] is in
    every frame whatever its exposure, so that a rate holds B / EXPTIME of it: with bias frames the dark current is
    (dark - B / EXPTIME of the darks), and what is subtracted is that plus B / EXPTIME of the flats. The result then
    serves flats of this EXPTIME only.

    Parameters
    ----------
    shape
        Raw rows and columns, for a night without darks and biases.
    dark_rate
        Median of the darks [ADU/s].
    bias_adu
        Median of the biases [ADU].
    dark_exptime_s, flat_exptime_s
        Exposure times [s].

    Returns
    -------
    DarkReference
        Zero everywhere without darks and biases.
    """
    if dark_rate is None and bias_adu is None:
        return DarkReference(np.zeros(shape, np.float32), None, 0, 0)
    if bias_adu is None:
        assert dark_rate is not None
        return DarkReference(dark_rate, dark_rate, frames, 0)
    current = None if dark_rate is None else dark_rate - bias_adu / np.float32(dark_exptime_s)
    level = bias_adu / np.float32(flat_exptime_s)
    return DarkReference(level if current is None else current + level, current, frames, biases)
