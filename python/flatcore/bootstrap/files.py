"""Calibrations as FITS files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.bootstrap.naming import HASH, NIGHT, OUTPUT_IDS
from flatcore.combine import combined_header
from flatcore.fitsio import FitsImage
from flatcore.hdu import Hdu, Header, image_hdu, primary_hdu, primary_header
from flatcore.header import ascii_text
from flatcore.products.headers import STRUCTURE
from flatcore.version import VERSION, VERSION_DATE

Card = tuple[Any, str]


@dataclass(frozen=True)
class Origin:
    """What every file of a bootstrap says of where it comes from.

    Attributes
    ----------
    obs_dir
        The night.
    instrument
        Name of the profile.
    pid
        The bootstrap.
    fingerprint
        Hash of all that the files depend on.
    """

    obs_dir: str
    instrument: str
    pid: str
    fingerprint: str


def calibration_hdus(  # noqa: PLR0917 - what it is, of what, and from where
    keyname: str,
    fiber: str,
    image: NDArray[Any],
    frames: Sequence[FitsImage],
    origin: Origin,
    cards: Mapping[str, Card] | None = None,
    tables: Sequence[Hdu] = (),
) -> list[Hdu]:
    """Make the HDUs of a calibration: the header alone, then the image, then its tables.

    Parameters
    ----------
    image
        Its pixels; a float image that is zero everywhere is written as bytes.
    frames
        What it is made of; the first one's header is its own, with MJDMID the mean.
    cards
        Further keywords, each with value and comment.
    tables
        Tables that follow the image.
    """
    header = combined_header(frames)
    for keyword in [*STRUCTURE, "NAXIS*", "QCC*"]:
        for found in list(header[keyword]) if keyword.endswith("*") else [keyword]:
            header.remove(found, ignore_missing=True, remove_all=True)
    header = primary_header(header)
    _describe(header, keyname, fiber, origin)
    for keyword, card in (cards or {}).items():
        header[keyword] = card
    if image.dtype == np.float32 and not image.any():
        image = np.zeros(image.shape, np.uint8)
    return [primary_hdu(header), image_hdu(image, keyname), *tables]


def _describe(header: Header, keyname: str, fiber: str, origin: Origin) -> None:
    now = datetime.now(UTC)
    header["VERSION"] = (VERSION, "flatcore version")
    header["DRSPID"] = (origin.pid, "run that made this file")
    header["DRSPDATE"] = (f"{now:%Y-%m-%dT%H:%M:%S}", "time of processing, UTC")
    header["DRSVDATE"] = (VERSION_DATE, "date of the version")
    header["DRSOUTID"] = (OUTPUT_IDS[keyname], "kind of calibration")
    header["KEYNAME"] = (keyname, "key in the calibration database")
    header["DRSINST"] = (origin.instrument, "instrument profile")
    header["QCC_ALL"] = (True, "all quality checks passed")
    if fiber:
        header["FIBER"] = (fiber, "fibre")
    header[NIGHT] = (ascii_text(origin.obs_dir), "night of the bootstrap")
    header[HASH] = (origin.fingerprint, "frames, settings and version")


def trace_cards(coefficients: NDArray[np.float64], widths: NDArray[np.float64]) -> dict[str, Card]:
    """Keywords of traces and their widths: Chebyshev coefficients, traces by terms, on the domain [0, columns]."""
    traces, terms = coefficients.shape
    cards: dict[str, Card] = {
        "LONBO": (traces, "number of traces"),
        "LODEGCTR": (terms - 1, "degree of the traces"),
        "LODEGFWH": (widths.shape[1] - 1, "degree of the widths"),
        "LOPTYPE": ("chebyshev", "kind of polynomial, domain 0 to NAXIS1"),
    }
    for stem, values, what in (("LOCE", coefficients, "trace"), ("LOFW", widths, "width")):
        cards |= {f"{stem}{i:04d}": (v, f"coefficient of a {what}") for i, v in enumerate(values.ravel().tolist())}
    return cards


def rows_of(coefficients: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Rows of traces at every column; traces by columns."""
    return np.atleast_2d(chebyshev.chebval(2 * np.arange(columns) / columns - 1, coefficients.T))


def staging_folder(store: Path, obs_dir: str) -> Path:
    """Where a night's calibrations lie until they are registered; hidden, and of this night alone."""
    return store / f".{obs_dir.replace('/', '-')}.bootstrap"
