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
