"""Intermediate arrays, kept on request for whoever looks for a fault."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.fitsio import write_together
from flatcore.images import CalibratedImage, CombinedImage, Image
from flatcore.results import FiberResult


def write_intermediates(
    folder: Path,
    combined: CombinedImage,
    calibrated: CalibratedImage,
    straight: Image,
    fibers: Mapping[str, FiberResult],
) -> None:
    """Write the images between the stages, and the filtered orders that the blaze was fitted to.

    Raises
    ------
    OutputError
        A file cannot be written; none is left behind.
    """
    arrays: dict[str, tuple[NDArray[Any], str]] = {
        "combined": (combined.image, "adu / s"),
        "calibrated": (calibrated.image, "electron"),
        "straight": (straight, "electron"),
    }
    for name, fiber in fibers.items():
        arrays[f"filtered_{name}"] = (np.stack([fit.filtered for fit in fiber.flat.fits]), "electron")
    write_together(
        {folder / f"{combined.stem}_{name}.fits": partial(_hdus, data, unit) for name, (data, unit) in arrays.items()}
    )


def _hdus(data: NDArray[Any], unit: str) -> list[Any]:
    image = fits.ImageHDU(data)
    image.header["BUNIT"] = unit
    return [fits.PrimaryHDU(), image]
