"""Raw files as their profile describes them, made into what the stages take: ADU/s, the dispersion along rows.

What needs no other pixels costs nothing: header values, another HDU, and raw counts, whose division by EXPTIME goes
into BSCALE and BZERO. Amplifiers and a transpose make a plain copy in the scratch folder.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore.assembly.keywords import header_with
from flatcore.errors import InputError
from flatcore.fitsio import FitsImage, Header, ImageLocation, open_images, read_header, read_pixels
from flatcore.header import required
from flatcore.instrument import Detector, Profile

__all__ = ["frame_header", "header_with", "kind_of", "open_frame"]

# What no longer holds of an image that was put together.
SECTIONS = ("DATASEC", "BIASSEC", "TRIMSEC", "DETSEC", "CCDSEC", "AMPSEC")


def frame_header(path: Path, profile: Profile) -> Header:
    """Read a raw frame's header with the values that the profile's keywords give.

    Raises
    ------
    InputError
        The file is missing or not FITS, or a keyword that the profile names is missing.
    """
    return header_with(read_header(path), profile.keywords, path)


def kind_of(header: Header, profile: Profile, path: Path) -> str:
    """Tell what a raw frame shows: its DPRTYPE, from where the profile finds it; empty where there is none.

    Raises
    ------
    InputError
        The keyword that the profile names for it is missing.
    """
    source = {key: source for key, source in profile.keywords.items() if key == "DPRTYPE"}
    return str(header_with(header, source, path).get("DPRTYPE", "")).strip()


def open_frame(path: Path, profile: Profile, scratch: Path | None = None) -> FitsImage:
    """Open a raw frame as its instrument's profile describes it.

    Amplifiers are assembled, their overscan or bias subtracted and their gains brought to the detector's; columns are
    transposed to rows; raw counts are divided by EXPTIME. Flip and crop are left to the calibration of the image.

    Parameters
    ----------
    path
        The file.
    profile
        The instrument.
    scratch
        Folder for plain copies of what is compressed or has to be assembled.

    Returns
    -------
    FitsImage
        With the original's path; its pixels are ADU/s, rows by columns of ``detector.shape`` where the file is as the
        profile says, NaN where no amplifier lies. Its header has the values that the profile's keywords give.

    Raises
    ------
    InputError
        The file cannot be read, an HDU or keyword is missing, or a section lies outside its HDU's image; the message
        names file, HDU, what was found and expected.
    """
    detector = profile.detector
    if not detector.amplifiers:
        (image,) = open_images(path, [detector.hdu], scratch)
        header = header_with(image.header, profile.keywords, path)
        location = _per_second(image.location, header, detector, path)
        if detector.dispersion == "rows":
            return FitsImage(path, _in_units(header, detector), location)
        pixels = read_pixels(FitsImage(path, header, location)).T
        return _copied(path, _in_units(header, detector), pixels, scratch)
    from flatcore.assembly.mosaic import assembled  # noqa: PLC0415 - scipy.signal only where there are amplifiers

    hdus = list(dict.fromkeys(amplifier.hdu for amplifier in detector.amplifiers))
    images = dict(zip(hdus, open_images(path, hdus, scratch), strict=True))
    header = header_with(images[hdus[0]].header, profile.keywords, path)
    for keyword in SECTIONS:
        header.pop(keyword, None)
    raw = {hdu: read_pixels(image) for hdu, image in images.items()}
    mosaic = assembled(raw, detector, path)
    if detector.units == "adu":
        mosaic /= np.float32(_exposure(header, path))
    return _copied(path, _in_units(header, detector), mosaic if detector.dispersion == "rows" else mosaic.T, scratch)


def _per_second(location: ImageLocation, header: Header, detector: Detector, path: Path) -> ImageLocation:
    """Put the division of raw counts by EXPTIME into the scale of the pixels."""
    if detector.units == "adu/s":
        return location
    seconds = _exposure(header, path)
    return replace(location, bscale=location.bscale / seconds, bzero=(location.bzero - detector.bias) / seconds)


def _exposure(header: Header, path: Path) -> float:
    seconds: float = required(header, "EXPTIME", path)
    if seconds <= 0:
        raise InputError(f'{path}: header keyword EXPTIME = {seconds:g}: expected a number above 0 for units = "adu"')
    return seconds


def _in_units(header: Header, detector: Detector) -> Header:
    """Say what the pixels are now, where the header said what they were."""
    if detector.units == "adu" and "BUNIT" in header:
        header["BUNIT"] = "adu / s"
    return header


def _copied(path: Path, header: Header, pixels: NDArray[np.float32], scratch: Path | None) -> FitsImage:
    """Write pixels to a plain file of the scratch folder."""
    if scratch is None:
        raise InputError(f"{path}: has to be assembled, and no folder for the copy was given")
    handle, name = tempfile.mkstemp(suffix=".pixels", dir=scratch)
    with os.fdopen(handle, "wb") as file:
        np.ascontiguousarray(pixels, dtype=">f4").tofile(file)
    rows, columns = pixels.shape
    return FitsImage(path, header, ImageLocation(Path(name), 0, (rows, columns), -32, 1.0, 0.0, None))
