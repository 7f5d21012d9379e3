"""What the stages hand on to one another: frozen records of arrays and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore.fitsio import FitsImage, Header

Image = NDArray[np.float32]
Spectra = NDArray[np.float64]
Mask = NDArray[np.uint8]


class Reason(IntFlag):
    """Why a pixel of blaze and flat has no value, or a doubtful one."""

    NO_DATA = 1
    """No pixel of the window was kept."""
    OFF_DETECTOR = 2
    """Part of the window lies off the detector."""
    REJECTED = 4
    """At least one pixel of the window was rejected or had no value."""
    LOW_BLAZE = 8
    """The blaze is under the cut."""
    OUTLIER_SIGMA = 16
    """The flat is further from 1 than its rms allows."""
    OUTLIER_LIMIT = 32
    """The flat is further from 1 than the fixed limit."""
    NO_FIT = 64
    """The blaze of this order could not be fitted."""


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
        Raw rows by columns [ADU/s].
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
        Image before and after the subtraction of ``global_map``.
    local_map
        Scattered light; None where the profile has none.
    global_map
        Smooth background.
    cells
        What the global map is a spline of.
    """

    original: Image
    corrected: Image
    local_map: Image | None
    global_map: Image
    cells: Spectra


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
        The maps, where the background was subtracted.
    """

    image: Image
    readnoise_e: float
    background: BackgroundMaps | None


@dataclass(frozen=True)
class Transform:
    """From a straight image to the detector: SHAPEL, SHAPEX and SHAPEY."""

    linear: tuple[float, float, float, float, float, float]
    dxmap: Image
    dymap: Image


@dataclass(frozen=True)
class FiberSpectra:
    """Extracted orders of a fibre.

    Attributes
    ----------
    e2ds, e2ds_error
        Flux and its standard deviation from photon and read noise, orders by columns [electrons]; NaN for no value.
    e2dsll
        Each pixel's share of the flux, rows of all orders by columns [electrons].
    e2dscc
        1 where a pixel is kept, 0 where it is not.
    windows
        First row and number of rows of each order.
    rejected
        Pixels left out, per order.
    snr
        Signal to noise in the middle columns, per order.
    level_adu
        Mean level of a pixel in the middle columns, per order [ADU].
    saturated
        Orders above the saturation limit.
    readnoise_e
        Effective read noise of the image [electrons].
    """

    fiber: str
    e2ds: Spectra
    e2ds_error: Spectra
    e2dsll: Image
    e2dscc: Mask
    windows: tuple[tuple[int, int], ...]
    rejected: tuple[int, ...]
    snr: NDArray[np.float64]
    level_adu: NDArray[np.float64]
    saturated: NDArray[np.bool_]
    readnoise_e: float


@dataclass(frozen=True)
class BlazeFit:
    """Blaze of one order.

    Attributes
    ----------
    parameters
        A [electrons], P [pixels], L [pixels], Q, C, s; NaN where the fit failed.
    errors
        Their standard errors.
    blaze, blaze_error
        On all columns [electrons]; NaN under the cut or where the fit failed.
    filtered
        The median-filtered order that was fitted.
    fitted
        The columns that were fitted.
    problem
        Why there is no blaze; empty where there is one.
    evaluations
        Evaluations of the model.
    """

    parameters: NDArray[np.float64]
    errors: NDArray[np.float64]
    blaze: NDArray[np.float64]
    blaze_error: NDArray[np.float64]
    filtered: NDArray[np.float64]
    fitted: NDArray[np.bool_]
    problem: str
    evaluations: int


@dataclass(frozen=True)
class FiberFlat:
    """Blaze and flat of a fibre.

    Attributes
    ----------
    e2ds, blaze, flat
        Orders by columns; NaN where masked. ``blaze * flat`` is ``e2ds``, unless the slow part was divided out.
    blaze_error, flat_error
        Standard deviations of blaze and flat.
    reasons
        :class:`Reason` bits.
    rms_before, rms
        Robust scatter of the flat over the fitted pixels, before and after the masks, per order.
    fits
        The orders' fits.
    """

    fiber: str
    e2ds: Spectra
    blaze: Spectra
    blaze_error: Spectra
    flat: Spectra
    flat_error: Spectra
    reasons: Mask
    rms_before: NDArray[np.float64]
    rms: NDArray[np.float64]
    fits: tuple[BlazeFit, ...]


@dataclass(frozen=True)
class QcCheck:
    """One quality check: what was measured, what was asked, and whether it holds."""

    name: str
    value: float
    limit: str
    passed: bool


@dataclass(frozen=True)
class FiberQc:
    """Quality control of a fibre.

    Attributes
    ----------
    checks
        Checks of the whole fibre.
    orders
        Verdict per order: pass, fail, or skipped.
    """

    fiber: str
    checks: tuple[QcCheck, ...]
    orders: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class ChosenCalibration:
    """A calibration file in use.

    Attributes
    ----------
    keyname, fiber
        What was asked for.
    path
        The file.
    mjd_mid
        Its time; NaN where it has none.
    reason
        Why this one.
    sha256
        Its hash.
    """

    keyname: str
    fiber: str
    path: Path
    mjd_mid: float
    reason: str
    sha256: str


@dataclass(frozen=True)
class Product:
    """A file that was written."""

    kind: str
    fiber: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class FiberResult:
    """All about one fibre."""

    spectra: FiberSpectra
    flat: FiberFlat
    qc: FiberQc


@dataclass(frozen=True)
class ImageResult:
    """What a run made of one image: the combined one, or one frame.

    Attributes
    ----------
    stem
        Name of the products without suffix.
    inputs
        Base names of the frames used.
    header
        Header of the combined image.
    readnoise_e
        Effective read noise [electrons].
    fibers
        Results by fibre.
    products
        Files written.
    calibrated, straightened
        The image before and after straightening, where they were asked for.
    """

    stem: str
    inputs: tuple[str, ...]
    header: Header
    readnoise_e: float
    fibers: dict[str, FiberResult]
    products: tuple[Product, ...]
    calibrated: CalibratedImage | None
    straightened: Image | None


@dataclass(frozen=True)
class NightResult:
    """What a run made of a night's flats.

    Attributes
    ----------
    obs_dir
        The observation directory.
    instrument
        Name of the profile.
    images
        One result where frames are combined, else one per frame.
    left_out
        Frames dropped, with their reasons.
    calibrations
        Calibration files in use.
    traces
        By fibre, Chebyshev coefficients of its orders' traces in the image before straightening: orders by terms,
        domain [0, columns], values in rows.
    warnings
        What a user should know.
    seconds
        Time of each stage.
    """

    obs_dir: str
    instrument: str
    images: tuple[ImageResult, ...]
    left_out: tuple[LeftOut, ...]
    calibrations: tuple[ChosenCalibration, ...]
    traces: dict[str, NDArray[np.float64]]
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every fibre of every image passed quality control."""
        return all(fiber.qc.passed for image in self.images for fiber in image.fibers.values())

    @property
    def products(self) -> tuple[Product, ...]:
        """All files written."""
        return tuple(product for image in self.images for product in image.products)
