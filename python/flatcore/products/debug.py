"""Intermediate arrays, kept on request for whoever looks for a fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.hdu import image_hdu, primary_hdu, primary_header
from flatcore.images import CalibratedImage, CombinedImage, Image
from flatcore.results import FiberResult
from flatcore.writing import write_together


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
    files = {folder / f"{combined.stem}_{name}.fits": array for name, array in arrays.items()}
    primary = primary_hdu(primary_header())
    write_together({path: [primary, image_hdu(data, keywords={"BUNIT": unit})] for path, (data, unit) in files.items()})
