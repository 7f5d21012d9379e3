"""What a run comes to: quality control, products, and all of a night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore.fitsio import Header
from flatcore.images import CalibratedImage, Image, LeftOut
from flatcore.spectra import FiberFlat, FiberSpectra


@dataclass(frozen=True)
class FrameCheck:
    """A frame held to the combined image.

    Attributes
    ----------
    name, mjd_mid
        The frame.
    level
        Ratio of its lit pixels to the combined image's; NaN where none has a value.
    spread
        Largest departure from the level in a part of the image.
    words
        What is wrong with it; empty where nothing is.
    """

    name: str
    mjd_mid: float
    level: float
    spread: float
    words: str


@dataclass(frozen=True)
class FiberDiagnostics:
    """How good each order of a fibre is; one value per order, NaN where there is none.

    Attributes
    ----------
    chi2
        Reduced chi^2 of the unfiltered spectrum about the blaze, from photon and read noise: what is above 1 is the
        pixels' response, or a misfit.
    residual_rms
        Root mean square of the spectrum less the blaze over the fitted columns, over the blaze's maximum.
    snr_measured
        1 / scatter of the flat from pixel to pixel, where the blaze is above half its maximum.
    snr_photon
        The same if there were nothing but the photons of all frames.
    snr_ratio
        Measured over photon-limited.
    fringe_amplitude, fringe_period, fringe_chance
        Strongest wave of the flat, its period [pixels], and the probability that noise alone made it.
    """

    chi2: NDArray[np.float64]
    residual_rms: NDArray[np.float64]
    snr_measured: NDArray[np.float64]
    snr_photon: NDArray[np.float64]
    snr_ratio: NDArray[np.float64]
    fringe_amplitude: NDArray[np.float64]
    fringe_period: NDArray[np.float64]
    fringe_chance: NDArray[np.float64]


@dataclass(frozen=True)
class FiberChange:
    """How a fibre's flat and blaze differ from an earlier night's; one value per order, NaN where there is none.

    Attributes
    ----------
    name, age_days
        The earlier flat.
    flat
        Scatter of the ratio of the flats from pixel to pixel.
    blaze
        Change of the blaze's shape: 95 % of its columns changed by less.
    level
        Ratio of the blazes' levels: the lamp, and the exposure time; NaN where the earlier one has another unit.
    """

    name: str
    age_days: float
    flat: NDArray[np.float64]
    blaze: NDArray[np.float64]
    level: NDArray[np.float64]


def check_verdict(passed: bool, decisive: bool) -> str:
    """Give the word for what came of a check: pass; fail; or warns, where it fails and the fibre does not with it."""
    return "pass" if passed else "fail" if decisive else "warns"


@dataclass(frozen=True)
class QcCheck:
    """One quality check: what was measured, what was asked, whether it holds, and whether the fibre fails with it."""

    name: str
    value: float
    limit: str
    passed: bool
    decisive: bool = True
    words: str = ""


@dataclass(frozen=True)
class FiberQc:
    """Quality control of a fibre.

    Attributes
    ----------
    checks
        Checks of the whole fibre.
    orders
        Verdict per order: pass, fail, or skipped.
    words
        Per order, what is to be said of it; empty where nothing is.
    """

    fiber: str
    checks: tuple[QcCheck, ...]
    orders: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every decisive check holds."""
        return all(check.passed for check in self.checks if check.decisive)


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
    """All about one fibre; ``change`` is None where there is no earlier night to compare with."""

    spectra: FiberSpectra
    flat: FiberFlat
    diagnostics: FiberDiagnostics
    change: FiberChange | None
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
    frames
        Each frame held to the combined image; empty for a single frame.
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
    frames: tuple[FrameCheck, ...]
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
