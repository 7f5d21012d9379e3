"""Pixels of an unknown instrument: opened by a profile in the making, and measured amplifier by amplifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flatcore.assembly import open_frame
from flatcore.fitsio import read_pixels
from flatcore.images import Image
from flatcore.instrument import Hdu, Profile, Region, Units, profile_from_table
from flatcore.survey.files import Frames
from flatcore.survey.sections import FoundAmplifier
from flatcore.survey.transfer import Transfer, dark_noise, photon_transfer

# Frames that are measured: pairs of flats; darks or biases.
MOST_FLATS, MOST_DARKS = 6, 4


@dataclass(frozen=True)
class Layout:
    """How a file's images make the detector's.

    Attributes
    ----------
    amplifiers
        Those that the headers describe; none where one image is the detector's.
    hdu
        That image, where it is not the first.
    shape
        Rows and columns of the whole, before any transpose.
    origin
        In words.
    """

    amplifiers: tuple[FoundAmplifier, ...]
    hdu: Hdu | None
    shape: tuple[int, int]
    origin: str

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where the amplifiers lie in the whole."""
        if not self.amplifiers:
            return (((0, self.shape[0]), (0, self.shape[1])),)
        placed = []
        for one in self.amplifiers:
            (top, bottom), (left, right) = one.data
            y, x = one.at
            placed.append(((y, y + bottom - top), (x, x + right - left)))
        return tuple(placed)

    @property
    def has_overscan(self) -> bool:
        """Whether every amplifier's level is measured in each frame."""
        return bool(self.amplifiers) and all(one.overscan is not None for one in self.amplifiers)


class PixelReader:
    """Pixels of whole frames in ADU, overscan subtracted, before any transpose."""

    def __init__(self, layout: Layout, units: Units, exposures: Mapping[Path, float], scratch: Path) -> None:
        self._exposures, self._units, self._scratch = exposures, units, scratch
        amplifiers = [
            {"hdu": one.hdu, "data": one.data, "overscan": one.overscan, "at": one.at, "flip": one.flip}
            for one in layout.amplifiers
        ]
        table: dict[str, Any] = {
            "name": "unknown",
            # Counts stay counts: they are divided by one second.
            "keywords": {"EXPTIME": 1.0},
            "detector": {
                "shape": layout.shape,
                "units": "adu",
                "rows": [0, layout.shape[0]],
                "columns": [0, layout.shape[1]],
                "gain": 1.0,
                "hdu": layout.hdu,
                "amplifiers": amplifiers,
            },
            "fibers": {"A": {"channel": 0, "localisation": "A", "below": 1.0, "above": 1.0}},
        }
        self._profile: Profile = profile_from_table(table, "profile in the making")

    def read(self, path: Path) -> Image:
        """Give the pixels of a frame [ADU]; NaN where no amplifier lies."""
        frame = open_frame(path, self._profile, self._scratch)
        pixels = read_pixels(frame)
        if frame.location.path != path:
            frame.location.path.unlink()
        return pixels if self._units == "adu" else pixels * np.float32(self._exposures[path])


@dataclass(frozen=True)
class Measured:
    """What the pixels tell.

    Attributes
    ----------
    flat
        The first flat, free of bias [ADU].
    bias_adu
        Level without light; None where it is subtracted already, or not known.
    transfers
        Of each amplifier; None where no pair of flats tells.
    noises_adu
        Read noise of each amplifier from frames without light; NaN where there is no pair of them [ADU].
    """

    flat: Image
    bias_adu: float | None
    transfers: tuple[Transfer | None, ...]
    noises_adu: tuple[float, ...]


def measure(reader: PixelReader, layout: Layout, frames: Frames, units: Units, bias_adu: float | None) -> Measured:
    """Measure level, gain and read noise.

    Parameters
    ----------
    reader
        Gives the pixels.
    layout
        The amplifiers.
    frames
        The files.
    units
        Of the pixels in the files; of rates there is no bias to be known.
    bias_adu
        Level without light, if it is known [ADU].
    """
    # Of rates, darks have the same reads as flats; of counts, biases have nothing but the read noise.
    unlit = (frames.biases or frames.darks) if units == "adu" else frames.darks
    quiet = [reader.read(path) for path in unlit[:MOST_DARKS]]
    needs_bias = units == "adu" and not layout.has_overscan
    if needs_bias and bias_adu is None and quiet:
        bias_adu = float(np.nanmedian([np.nanmedian(pixels) for pixels in quiet]))
    lit = [reader.read(path) for path in frames.flats[:MOST_FLATS]]
    if needs_bias and bias_adu:
        lit = [pixels - np.float32(bias_adu) for pixels in lit]
    level_known = not needs_bias or bias_adu is not None
    transfers, noises = [], []
    for (top, bottom), (left, right) in layout.regions:
        found = photon_transfer(_parts(lit, top, bottom, left, right))
        transfers.append(found if found is None or level_known else found.without_readnoise())
        noises.append(dark_noise(_parts(quiet, top, bottom, left, right)))
    return Measured(lit[0], bias_adu if needs_bias else None, tuple(transfers), tuple(noises))


def _parts(images: Sequence[Image], top: int, bottom: int, left: int, right: int) -> list[Image]:
    return [image[top:bottom, left:right] for image in images]
