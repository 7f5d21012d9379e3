"""What lies in FITS files of an unknown instrument: images, and which frames are flats, darks and biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flatcore.errors import InputError
from flatcore.fitsio import Header, open_images, opened
from flatcore.images import Image

# A frame whose light is below this share of the brightest frame's is a dark.
DARK_SHARE = 0.05
# Percentiles whose difference is the light of a frame: orders against what lies between them.
LIGHT_PERCENTILES = (5.0, 99.0)


@dataclass(frozen=True)
class RawImage:
    """An image of a file.

    Attributes
    ----------
    hdu
        Its index.
    name
        EXTNAME; empty where there is none.
    header
        With the primary header's keywords.
    shape
        Rows and columns.
    integers
        Whether its pixels are counts: integers that BSCALE leaves as they are.
    """

    hdu: int
    name: str
    header: Header
    shape: tuple[int, int]
    integers: bool


@dataclass(frozen=True)
class Frames:
    """The files given, by what they show."""

    flats: tuple[Path, ...]
    darks: tuple[Path, ...]
    biases: tuple[Path, ...]


def images_of(path: Path, scratch: Path) -> tuple[RawImage, ...]:
    """List the images of a file.

    Raises
    ------
    InputError
        The file cannot be read or holds no image.
    """
    # Opened once to check it as every file is, with the words of that.
    open_images(path, [None], scratch)
    with opened(path, path) as hdus:
        found = [
            (i, "" if i == 0 else str(hdu.name))
            for i, hdu in enumerate(hdus)
            if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2
        ]
    images = []
    for (i, name), image in zip(found, open_images(path, [i for i, _ in found], scratch), strict=True):
        location = image.location
        counts = location.bitpix > 0 and location.bscale == 1.0
        images.append(RawImage(i, name, image.header, location.shape, counts))
    return tuple(images)


def sort_frames(
    files: Sequence[Path],
    darks: Sequence[Path],
    biases: Sequence[Path],
    exposures: Mapping[Path, float],
    read: Callable[[Path], Image],
) -> Frames:
    """Tell flats from darks and biases: a bias has no exposure time, a dark hardly any light.

    Parameters
    ----------
    files
        Frames of any kind.
    darks, biases
        Frames of which it is known.
    exposures
        Exposure times of ``files`` [s].
    read
        Gives a frame's pixels.

    Raises
    ------
    InputError
        No frame has light.
    """
    timed = [path for path in files if exposures[path] != 0]
    light = {path: _light(read(path)) for path in timed}
    brightest = max(light.values(), default=0.0)
    if not brightest > 0:
        raise InputError(f"{', '.join(path.name for path in files)}: no frame has light; a flat is needed")
    lit = tuple(path for path in timed if light[path] >= DARK_SHARE * brightest)
    return Frames(
        lit,
        (*(path for path in timed if path not in lit), *darks),
        (*(path for path in files if path not in timed), *biases),
    )


def _light(pixels: Image) -> float:
    """Difference between lit and unlit pixels."""
    low, high = np.nanpercentile(pixels[::4, ::4], LIGHT_PERCENTILES)
    return float(high - low)
