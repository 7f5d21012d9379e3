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

    Frames of infrared arrays are rates without a bias level: the dark is the median rate. A bias level B [ADU] is in
    every frame whatever its exposure, so that a rate holds B / EXPTIME of it: the dark current is the darks' rate less
    B / EXPTIME of theirs, and what is subtracted from flats is that plus B / EXPTIME of theirs.

    Attributes
    ----------
    shape
        Raw rows and columns.
    current
        Dark current, raw rows by columns [ADU/s]; NaN where no frame has a value. None without dark frames.
    bias
        Bias level [ADU]; None without bias frames.
    """

    shape: tuple[int, int]
    current: Image | None = None
    bias: Image | None = None

    @property
    def is_zero(self) -> bool:
        """Whether nothing is known, and so nothing subtracted."""
        return self.current is None and self.bias is None

    def image(self, exptime_s: float) -> Image:
        """Give what is subtracted from flats of an exposure time [ADU/s]; with a bias level, from those alone.

        Parameters
        ----------
        exptime_s
            Exposure time of the flats [s].
        """
        if self.bias is None:
            return np.zeros(self.shape, np.float32) if self.current is None else self.current
        level = self.bias / np.float32(exptime_s)
        return level if self.current is None else self.current + level


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
    shape: tuple[int, int], rate: Image | None, bias: Image | None = None, dark_exptime_s: float = 1.0
) -> DarkReference:
    """Make the dark reference of a night.

    Parameters
    ----------
    shape
        Raw rows and columns, for a night without darks and biases.
    rate
        Median of the darks [ADU/s].
    bias
        Median of the biases [ADU].
    dark_exptime_s
        Exposure time of the darks [s].
    """
    if rate is not None and bias is not None:
        rate = rate - bias / np.float32(dark_exptime_s)
    return DarkReference(shape, rate, bias)
