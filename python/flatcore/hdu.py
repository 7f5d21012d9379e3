"""HDUs to be written: headers by astropy, values as the kernel takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from numpy.typing import NDArray

__all__ = ["Hdu", "Header", "image_hdu", "primary_hdu", "primary_header", "table_hdu"]

# What BITPIX says of the values of an image.
BITPIX = {"u1": 8, "i2": 16, "f4": -32, "f8": -64}
# Form of a table's column, and its values in the file, by kind of array; text has the width of its longest entry.
COLUMN_FORMS = {"f": ("D", ">f8"), "i": ("J", ">i4"), "u": ("J", ">i4"), "b": ("L", "u1")}
# Keywords without a value.
COMMENTARY = ("COMMENT", "HISTORY", "")
# Bytes that headers are a multiple of.
BLOCK = 2880
NO_VALUES = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Hdu:
    """A header and its values, ready to be written.

    Attributes
    ----------
    header
        Text in whole blocks of 2880 bytes, with cards CHECKSUM and DATASUM for the kernel to fill in.
    values
        Of an image, uint8, int16, float32 or float64; of a table the bytes of its rows; empty for a header alone.
    """

    header: bytes
    values: NDArray[Any]


def primary_header(header: Header | None = None) -> Header:
    """Give the header of a primary HDU without values before extensions, and a header's keywords after it.

    Keywords that describe another HDU's values are left out.

    Raises
    ------
    VerifyError
        A card breaks the FITS standard.
    """
    primary = fits.PrimaryHDU(header=header)
    # astropy checks cards when they are made, but not those it reads.
    primary.verify("exception")
    whole: Header = primary.header
    whole.set("EXTEND", True, after="NAXIS")
    return whole


def primary_hdu(header: Header) -> Hdu:
    """Make a primary HDU of a header that was made from one of :func:`primary_header`."""
    return Hdu(_text(header), NO_VALUES)


def image_hdu(data: NDArray[Any], name: str = "", keywords: Mapping[str, Any] | None = None, comment: str = "") -> Hdu:
    """Make an image extension.

    Parameters
    ----------
    data
        uint8, int16, float32 or float64.
    name
        EXTNAME; none if empty.
    keywords
        Values, or values and comments, of further keywords.
    comment
        COMMENT; none if empty.
    """
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "IMAGE", "Image extension"),
        ("BITPIX", BITPIX[data.dtype.str[1:]], "array data type"),
        ("NAXIS", data.ndim, "number of array dimensions"),
        *((f"NAXIS{i}", size) for i, size in enumerate(reversed(data.shape), start=1)),
        ("PCOUNT", 0, "number of parameters"),
        ("GCOUNT", 1, "number of groups"),
    ]
    if name:
        cards.append(("EXTNAME", name, "extension name"))
    cards += ((key, *value) if isinstance(value, tuple) else (key, value) for key, value in (keywords or {}).items())
    if comment:
        cards.append(("COMMENT", comment))
    return Hdu(_text(Header(cards)), np.ascontiguousarray(data))


def table_hdu(
    name: str, columns: Mapping[str, Sequence[Any] | NDArray[Any]], units: Mapping[str, str] | None = None
) -> Hdu:
    """Make a binary table; text columns are as wide as their longest entry.

    astropy's own tables take several times as long, and import astropy.table.
    """
    arrays = {key: np.asarray(values) for key, values in columns.items()}
    forms, fields = {}, []
    for key, array in arrays.items():
        width = max(array.dtype.itemsize // 4, 1)
        forms[key], kind = (f"{width}A", f"S{width}") if array.dtype.kind == "U" else COLUMN_FORMS[array.dtype.kind]
        fields.append((key, kind))
    rows = np.zeros(len(next(iter(arrays.values()))), dtype=fields)
    for key, array in arrays.items():
        rows[key] = np.where(array, ord("T"), ord("F")) if array.dtype.kind == "b" else array
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", rows.dtype.itemsize, "length of dimension 1"),
        ("NAXIS2", rows.size, "length of dimension 2"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(arrays), "number of table fields"),
    ]
    for i, (key, form) in enumerate(forms.items(), start=1):
        cards += [(f"TTYPE{i}", key), (f"TFORM{i}", form)]
        if units and key in units:
            cards.append((f"TUNIT{i}", units[key]))
    cards.append(("EXTNAME", name, "extension name"))
    return Hdu(_text(Header(cards)), rows.view(np.uint8))


def _text(header: Header) -> bytes:
    """Give a header's text, with empty checksums where astropy has them: before the comments that close it."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    checksum = f"CHECKSUM= '{'0' * 16}'   / HDU checksum updated {now}"
    datasum = f"DATASUM = '0       '           / data unit checksum updated {now}"
    text: str = header.tostring(endcard=False, padding=False)
    closing = takewhile(lambda card: card.keyword in COMMENTARY, reversed(header.cards))
    place = len(text) - sum(len(str(card)) for card in closing)
    text = f"{text[:place]}{checksum:<80}{datasum:<80}{text[place:]}{'END':<80}"
    return f"{text:<{-len(text) % BLOCK + len(text)}}".encode("ascii")
