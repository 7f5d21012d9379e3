"""FITS files: headers, and where a file's pixels lie."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from flatcore import _core
from flatcore.errors import InputError
from flatcore.unpacking import gunzipped, untiled

__all__ = [
    "FITS_SUFFIXES",
    "FitsImage",
    "Header",
    "ImageLocation",
    "header_of_stream",
    "open_image",
    "open_images",
    "opened",
    "read_doubles",
    "read_header",
    "read_image",
    "read_mask",
    "read_pixels",
    "sha256_of",
]

FITS_SUFFIXES = (".fits", ".fits.gz", ".fits.fz")


@dataclass(frozen=True)
class ImageLocation:
    """Where an image's pixels lie in an uncompressed file, and how they scale to physical values.

    Attributes
    ----------
    path
        The file that is read; a temporary copy where the original is compressed.
    offset
        Byte at which the pixels begin.
    shape
        Rows and columns.
    bitpix, bscale, bzero, blank
        The FITS keywords of the same names.
    """

    path: Path
    offset: int
    shape: tuple[int, int]
    bitpix: int
    bscale: float
    bzero: float
    blank: int | None

    def source(self) -> tuple[str, int, tuple[int, int], int, float, float, int | None]:
        """Give the location in the form the kernels take."""
        return str(self.path), self.offset, self.shape, self.bitpix, self.bscale, self.bzero, self.blank


@dataclass(frozen=True)
class FitsImage:
    """A FITS file's header and the location of its first image."""

    path: Path
    header: Header
    location: ImageLocation


def open_image(path: Path, scratch: Path | None = None) -> FitsImage:
    """Read a file's header and find its first image.

    Parameters
    ----------
    path
        A FITS file: plain, gzip-compressed (``.gz``) or with a tile-compressed image (``.fz``).
    scratch
        Folder for an uncompressed copy of a compressed image; without one a compressed file is refused.

    Returns
    -------
    FitsImage
        The primary header with the image's own keywords added, and where the pixels lie.

    Raises
    ------
    InputError
        The file is missing, not FITS, truncated, or holds no two-dimensional image.
    """
    return open_images(path, [None], scratch)[0]


def open_images(path: Path, wanted: Sequence[int | str | None], scratch: Path | None = None) -> tuple[FitsImage, ...]:
    """Read a file's header and find some of its images.

    Parameters
    ----------
    path, scratch
        As of :func:`open_image`.
    wanted
        Indices or names (EXTNAME) of HDUs; None is the first that holds an image.

    Raises
    ------
    InputError
        As of :func:`open_image`; or there is no such HDU, or it holds no image.
    """
    _check_fits(path)
    plain = gunzipped(path, scratch) if path.suffix == ".gz" else path
    with opened(plain, path) as hdus:
        return tuple(_image_of(_hdu_of(hdus, which, path), hdus[0].header, plain, path, scratch) for which in wanted)


def _image_of(hdu: Any, primary: Header, plain: Path, path: Path, scratch: Path | None) -> FitsImage:
    if isinstance(hdu, fits.CompImageHDU):
        location = _locate(untiled(hdu, path, scratch), path)
    else:
        location = _location(hdu, plain, path)
    return FitsImage(path, _merged_header(primary, hdu.header), location)


def _hdu_of(hdus: Any, which: int | str | None, path: Path) -> Any:
    """Give the HDU asked for, which must hold an image."""
    if which is None:
        for hdu in hdus:
            if _holds_image(hdu):
                return hdu
        raise InputError(f"{path}: holds no image")
    names = [str(hdu.name) for hdu in hdus]
    known = [name.casefold() for name in names]
    index = known.index(which.casefold()) if isinstance(which, str) and which.casefold() in known else which
    if isinstance(index, str) or index >= len(names):
        told = ", ".join(f"{i} {name}".strip() for i, name in enumerate(names))
        raise InputError(f"{path}: HDU {which!r} is missing, found {told}")
    if not _holds_image(hdus[index]):
        raise InputError(f"{path}: HDU {which!r} holds no image of two axes")
    return hdus[index]


def _holds_image(hdu: Any) -> bool:
    return bool(hdu.is_image and hdu.header.get("NAXIS", 0) >= 2)


def read_header(path: Path) -> Header:
    """Read a file's primary header with the keywords of its first image added.

    Raises
    ------
    InputError
        The file is missing or not FITS.
    """
    _check_fits(path)
    with opened(path, path) as hdus:
        return _first_header(hdus)


def header_of_stream(stream: BinaryIO, named: str) -> Header:
    """Read a header as :func:`read_header` does, from a stream that can seek.

    Parameters
    ----------
    named
        The file, for messages.

    Raises
    ------
    InputError
        It is not FITS.
    """
    with opened(stream, named) as hdus:
        return _first_header(hdus)


def _first_header(hdus: Any) -> Header:
    """Give the primary header with the keywords of the first image added."""
    for hdu in hdus:
        if _holds_image(hdu):
            return _merged_header(hdus[0].header, hdu.header)
    return hdus[0].header.copy()


def read_image(path: Path, scratch: Path | None = None) -> tuple[Header, NDArray[np.float32]]:
    """Read a file's header and its first image as physical values.

    Returns
    -------
    header
        As of :func:`open_image`.
    image
        Rows by columns, float32.

    Raises
    ------
    InputError
        As of :func:`open_image`.
    """
    image = open_image(path, scratch)
    return image.header, read_pixels(image)


def read_doubles(path: Path) -> NDArray[np.float64]:
    """Read a file's first image in double precision; for small images.

    Raises
    ------
    InputError
        As of :func:`open_image`.
    """
    _check_fits(path)
    with opened(path, path) as hdus:
        for hdu in hdus:
            if hdu.is_image and hdu.header.get("NAXIS", 0) >= 1:
                raw: NDArray[np.float64] = np.asarray(hdu.data, dtype=float)
                return raw * float(hdu.header.get("BSCALE", 1.0)) + float(hdu.header.get("BZERO", 0.0))
    raise InputError(f"{path}: holds no image")


def read_mask(image: FitsImage) -> NDArray[np.uint8]:
    """Read an opened image as a mask: 1 where a value is not 0 (NaN included), uint8."""
    try:
        return _core.read_mask(image.location.source())
    except OSError as error:
        raise InputError(str(error)) from error


def read_pixels(image: FitsImage) -> NDArray[np.float32]:
    """Read an opened image as physical values, float32."""
    try:
        return _core.read_pixels(image.location.source())
    except OSError as error:
        raise InputError(str(error)) from error


def read_rows(image: FitsImage, rows: Sequence[int]) -> NDArray[np.float32]:
    """Read some rows of an opened image as physical values, float32."""
    try:
        return _core.read_rows(image.location.source(), list(rows))
    except OSError as error:
        raise InputError(str(error)) from error


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_fits(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            start = file.read(9)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if start != b"SIMPLE  =":
        raise InputError(f"{path}: not a FITS file (it begins with {start!r}, expected b'SIMPLE  =')")


@contextlib.contextmanager
def opened(path: Path | BinaryIO, named: Path | str) -> Iterator[Any]:
    """Open a FITS file, with any fault of its structure named as the file's."""
    try:
        with warnings.catch_warnings():
            # Told by an error of our own where it matters.
            warnings.filterwarnings("ignore", "File may have been truncated", AstropyUserWarning)
            warnings.filterwarnings("ignore", "(?s)Error validating header", AstropyUserWarning)
            with fits.open(path, memmap=isinstance(path, Path), do_not_scale_image_data=True) as hdus:
                yield hdus
    except (OSError, EOFError, KeyError, ValueError, TypeError, fits.VerifyError) as error:
        raise InputError(f"{named}: not a readable FITS file: {error}") from error


def _location(hdu: Any, plain: Path, named: Path) -> ImageLocation:
    header = hdu.header
    extra = [header[f"NAXIS{i}"] for i in range(3, header["NAXIS"] + 1)]
    if any(size != 1 for size in extra):
        raise InputError(f"{named}: the image has {header['NAXIS']} axes, expected 2")
    shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
    offset = int(hdu.fileinfo()["datLoc"])
    bitpix = int(header["BITPIX"])
    needed = offset + shape[0] * shape[1] * abs(bitpix) // 8
    found = plain.stat().st_size
    if found < needed:
        raise InputError(f"{named}: truncated: the image ends at byte {needed}, the file at {found}")
    blank = header.get("BLANK") if bitpix > 0 else None
    if isinstance(blank, float) and not blank.is_integer():
        raise InputError(f"{named}: header keyword BLANK = {blank!r}: expected an integer")
    return ImageLocation(
        plain,
        offset,
        shape,
        bitpix,
        float(header.get("BSCALE", 1.0)),
        float(header.get("BZERO", 0.0)),
        None if blank is None else int(blank),
    )


def _locate(plain: Path, named: Path) -> ImageLocation:
    with opened(plain, named) as hdus:
        return _location(hdus[0], plain, named)


_STRUCTURE = {"SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE",
              "BZERO", "BLANK", "CHECKSUM", "DATASUM", "EXTNAME", "EXTVER", ""}  # fmt: skip


def _merged_header(primary: Header, image: Header) -> Header:
    """Add the image's own keywords to the primary header; the primary's win."""
    merged = primary.copy()
    if image is not primary:
        merged.extend(
            (card for card in image.cards if card.keyword not in _STRUCTURE and not card.keyword.startswith("NAXIS")),
            unique=True,
        )
    return merged
