"""Sections that headers tell: [x1:x2,y1:y2], counted from 1, ends included (IRAF's notation, and NOAO's mosaics)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flatcore.instrument import Flip, Region
from flatcore.survey.files import RawImage

_SECTION = re.compile(r"^\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*$")
# Where the pixels come to lie on the detector, the first that is there.
PLACES = ("DETSEC", "CCDSEC")
MOST_NUMBERED = 16
# What DATASEC leaves beside the data is taken for overscan where nothing else tells and it is this wide; the pixels
# next to the data hold what the transfer of charge left behind.
LEAST_STRIP, TRAIL_PIXELS = 8, 2


@dataclass(frozen=True)
class Section:
    """A section of an image.

    Attributes
    ----------
    region
        Rows and columns, half-open, counted from 0.
    turned_y, turned_x
        Whether it is told from its upper or right end.
    """

    region: Region
    turned_y: bool
    turned_x: bool

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        (top, bottom), (left, right) = self.region
        return bottom - top, right - left


@dataclass(frozen=True)
class FoundAmplifier:
    """An amplifier as headers tell it; fields as of :class:`flatcore.instrument.Amplifier`."""

    hdu: int | str
    data: Region
    overscan: Region | None
    at: tuple[int, int]
    flip: Flip
    header_gain: float | None
    origin: str


def parse_section(text: Any) -> Section | None:
    """Read a section; None where the text is none."""
    match = _SECTION.match(str(text))
    if match is None:
        return None
    x1, x2, y1, y2 = (int(number) for number in match.groups())
    if min(x1, x2, y1, y2) < 1:
        return None
    return Section(((min(y1, y2) - 1, max(y1, y2)), (min(x1, x2) - 1, max(x1, x2))), y2 < y1, x2 < x1)


def find_amplifiers(images: Sequence[RawImage]) -> tuple[tuple[FoundAmplifier, ...], tuple[int, int]] | None:
    """Find the amplifiers that headers describe, and the size of the image they make.

    Returns
    -------
    amplifiers, shape
        None where the headers describe none: the first image is the detector's.
    """
    told = [one for image in images for one in _amplifiers_of(image)]
    if not told:
        return None
    places = [place for _, _, place in told]
    if len(told) > 1 and any(place is None for place in places):
        return None
    found = []
    origin_y = min((place.region[0][0] // _binning(data, place)[0] for _, data, place in told if place), default=0)
    origin_x = min((place.region[1][0] // _binning(data, place)[1] for _, data, place in told if place), default=0)
    for amplifier, data, place in told:
        if place is None:
            found.append(amplifier)
            continue
        by_y, by_x = _binning(data, place)
        at = place.region[0][0] // by_y - origin_y, place.region[1][0] // by_x - origin_x
        found.append(_placed(amplifier, at, place.turned_y != data.turned_y, place.turned_x != data.turned_x))
    rows = max(one.at[0] + one.data[0][1] - one.data[0][0] for one in found)
    columns = max(one.at[1] + one.data[1][1] - one.data[1][0] for one in found)
    return tuple(found), (rows, columns)


def _binning(data: Section, place: Section) -> tuple[int, int]:
    """Detector pixels that make one pixel of the file, in y and x."""
    return tuple(max(1, round(there / here)) for here, there in zip(data.size, place.size, strict=True))  # type: ignore[return-value]


def _placed(amplifier: FoundAmplifier, at: tuple[int, int], turned_y: bool, turned_x: bool) -> FoundAmplifier:
    flip: Flip = "both" if turned_y and turned_x else "y" if turned_y else "x" if turned_x else "none"
    return FoundAmplifier(
        amplifier.hdu, amplifier.data, amplifier.overscan, at, flip, amplifier.header_gain, amplifier.origin
    )


def _amplifiers_of(image: RawImage) -> list[tuple[FoundAmplifier, Section, Section | None]]:
    """Give the amplifiers of one image with their data section and their place; none where it is all data."""
    numbers = ["", *map(str, range(1, MOST_NUMBERED + 1))]
    found = []
    for number in numbers:
        data = parse_section(image.header.get(f"DATASEC{number}", image.header.get(f"TRIMSEC{number}", "")))
        if data is None or not _inside(data, image):
            continue
        bias = parse_section(image.header.get(f"BIASSEC{number}", ""))
        overscan = bias.region if bias is not None and _inside(bias, image) else None
        told = f", BIASSEC{number}" if overscan else ""
        if overscan is None and number == "":
            overscan = _beside(data, image)
            told = ", and what it leaves beside it" if overscan else ""
        sections = (parse_section(image.header.get(f"{name}{number}", "")) for name in PLACES)
        place = next((section for section in sections if section is not None), None)
        gain = image.header.get(f"GAIN{number}")
        amplifier = FoundAmplifier(
            image.name or image.hdu,
            data.region,
            overscan,
            (0, 0),
            "none",
            float(gain) if isinstance(gain, (int, float)) and gain > 0 else None,
            f"DATASEC{number}{told}" + (f", DETSEC{number}" if place else ""),
        )
        found.append((amplifier, data, place))
    if len(found) > 1 and not found[0][0].origin.startswith("DATASEC1"):
        # One that is not numbered speaks for the whole image.
        found = found[1:]
    found = found or _eso_output(image)
    whole = len(found) == 1 and found[0][1].size == image.shape and found[0][0].overscan is None
    return [] if whole and found[0][2] is None else found


def _beside(data: Section, image: RawImage) -> Region | None:
    """Give the strip of columns beside a data section: after it, or else before it."""
    rows, (left, right) = data.region
    width = image.shape[1]
    if width - right >= LEAST_STRIP + TRAIL_PIXELS:
        return rows, (right + TRAIL_PIXELS, width)
    if left >= LEAST_STRIP + TRAIL_PIXELS:
        return rows, (0, left - TRAIL_PIXELS)
    return None


def _eso_output(image: RawImage) -> list[tuple[FoundAmplifier, Section, Section | None]]:
    """Give the amplifier of an image that one output of an ESO detector reads: prescan, data, overscan side by side."""
    header = image.header
    outputs = [n for n in range(1, MOST_NUMBERED + 1) if f"HIERARCH ESO DET OUT{n} NX" in header]
    if len(outputs) != 1:
        return []
    card = f"HIERARCH ESO DET OUT{outputs[0]}"
    columns, before, after = (int(header.get(f"{card} {name}", 0)) for name in ("NX", "PRSCX", "OVSCX"))
    if before + after == 0 or before + columns + after != image.shape[1]:
        return []
    rows = (0, image.shape[0])
    data = Section((rows, (before, before + columns)), False, False)
    overscan = (rows, (before + columns + min(TRAIL_PIXELS, after - 1), image.shape[1])) if after else None
    gain = header.get(f"{card} CONAD")
    amplifier = FoundAmplifier(
        image.name or image.hdu,
        data.region,
        overscan or (rows, (0, before)),
        (0, 0),
        "none",
        float(gain) if isinstance(gain, (int, float)) and gain > 0 else None,
        f"ESO DET OUT{outputs[0]} PRSCX, NX, OVSCX",
    )
    return [(amplifier, data, None)]


def _inside(section: Section, image: RawImage) -> bool:
    (_, bottom), (_, right) = section.region
    return bottom <= image.shape[0] and right <= image.shape[1]
