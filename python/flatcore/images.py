"""What the stages up to straightening hand on: frozen records of frames and images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.fitsio import FitsImage, Header

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class LeftOut:
    """A frame that does not take part, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FrameSet:
    """The frames of a run, agreeing with one another.

    Attributes
    ----------
    frames
        Sorted by time, then name.
    dprtype
        FLAT_FLAT, DARK_FLAT or FLAT_DARK.
    left_out
        Frames dropped, with their reasons.
    """

    frames: tuple[FitsImage, ...]
    dprtype: str
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Exposure:
    """The numbers of an exposure that the calibration needs.

    Attributes
    ----------
    exptime_s, frame_time_s
        Exposure and frame time [s].
    readnoise_e
        Read noise of one frame [electrons].
    gain
        Electrons per ADU.
    saturation_adu
        Saturation level [ADU].
    """

    exptime_s: float
    frame_time_s: float
    readnoise_e: float
    gain: float
    saturation_adu: float

    @property
    def electrons_per_unit(self) -> float:
        """Electrons per ADU/s of the raw frames."""
        return self.gain * self.exptime_s


@dataclass(frozen=True)
class CombinedImage:
    """One image made of the frames.

    Attributes
    ----------
    image
        Raw rows by columns [ADU/s]; none once they are used and not to be written.
    header
        The first frame's, with the times and EXPTIME of the whole.
    stem
        Name of the products without suffix.
    inputs
        Base names of the frames.
    mjd_mid
        Mean of the frames' MJDMID.
    photon_variance
        Variance of the combined image relative to one frame's.
    """

    image: Image
    header: Header
    stem: str
    inputs: tuple[str, ...]
    mjd_mid: float
    exposure: Exposure
    photon_variance: float


@dataclass(frozen=True)
class BackgroundMaps:
    """Background of the calibrated image [electrons].

    Attributes
    ----------
    original, corrected
        Image before and after the subtraction of the global map.
    cells
        What the global map is a spline of.
    scatter
        Amplitude and kernel (y, x, range in widths) of the scattered light; None where the profile has none.
    """

    original: Image
    corrected: Image
    cells: NDArray[np.float64]
    scatter: tuple[float, float, float, float] | None

    @cached_property
    def local_map(self) -> Image | None:
        """Scattered light, made when it is asked for; None where the profile has none."""
        return None if self.scatter is None else _core.scattered_light(self.original, *self.scatter)

    @cached_property
    def global_map(self) -> Image:
        """Smooth background, made from the cells when it is asked for."""
        rows, columns = self.original.shape
        return _core.background_map(self.cells, rows, columns)


@dataclass(frozen=True)
class CalibratedImage:
    """The image in electrons, in the frame of the calibrations.

    Attributes
    ----------
    image
        Rows by columns [electrons]; NaN where there is no value.
    readnoise_e
        Effective read noise, measured on the unlit pixels [electrons].
    background
        The maps, where the background was subtracted and they are to be kept.
    saturated
        Rows and columns of the pixels above the saturation level; pixels by 2.
    """

    image: Image
    readnoise_e: float
    background: BackgroundMaps | None
    saturated: NDArray[np.int_]


@dataclass(frozen=True)
class Transform:
    """From a straight image to the detector: SHAPEL, SHAPEX and SHAPEY."""

    linear: tuple[float, float, float, float, float, float]
    dxmap: Image
    dymap: Image
