"""Header values: checked when they are read, and fit for FITS when they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from flatcore.errors import InputError

__all__ = ["Header", "ascii_text", "failed_quality_control", "required", "writable_header"]


def required(header: Header, keyword: str, path: Path, kind: type = float) -> Any:
    """Give a header value of the kind asked for.

    Raises
    ------
    InputError
        The keyword is missing or of another kind; the message names file, keyword and value.
    """
    if keyword not in header:
        raise InputError(f"{path}: header keyword {keyword} is missing")
    value = header[keyword]
    number = kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
    if number:
        return float(value)
    if kind is not float and isinstance(value, kind):
        return value
    expected = {float: "a finite number", str: "text", int: "an integer", bool: "T or F"}[kind]
    raise InputError(f"{path}: header keyword {keyword} = {value!r}: expected {expected}")


def failed_quality_control(header: Header) -> bool:
    """Tell whether a header's QCC_ALL says that the file failed its quality control."""
    return str(header.get("QCC_ALL", True)).strip().upper() in ("FALSE", "F", "0")


def writable_header(header: Header) -> tuple[Header, list[str]]:
    """Give a header without the cards that FITS cannot hold, and the keywords of those.

    astropy reads more than it writes: lower-case keywords, NaN, characters beyond ASCII.
    """
    clean, dropped = Header(), []
    for card in header.cards:
        try:
            # astropy reads HIERARCH off a keyword, and warns of making such a card when it is not there.
            hierarch = "HIERARCH " if len(card.keyword) > 8 else ""
            copy = fits.Card(f"{hierarch}{card.keyword}", card.value, card.comment)
            copy.verify("exception")
            str(copy)
            clean.append(copy, end=True)
        except (ValueError, fits.VerifyError):
            dropped.append(card.keyword)
    return clean, dropped


def ascii_text(text: str) -> str:
    """Write text in the characters FITS holds; others are escaped."""
    return text.encode("ascii", "backslashreplace").decode()
