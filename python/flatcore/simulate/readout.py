"""From a frame as the stages see it to a raw file as the instrument's profile has it: the way back of assembly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.errors import UsageError
from flatcore.instrument import Amplifier, Keywords, Profile, Region, Source
from flatcore.simulate.files import DAY_S, Card, write_fits, write_hdus
from flatcore.simulate.options import SimulationOptions
from flatcore.simulate.streams import Stream, generator
from flatcore.simulate.transform import Image

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
# What a header of flatcore's own says and a raw one of another instrument does not.
PREPROCESSED = ("DRSOUTID", "DRSMODE", "QCC_ALL")
# Differences of the level between amplifiers, and its drift while one is read.
BIAS_STEP_SHARE = 0.03
BIAS_DRIFT_ADU = 2.0
LARGEST_COUNT = 65535


def write_raw(path: Path, cards: Mapping[str, Card], frame: Image, options: SimulationOptions, number: int) -> Path:
    """Write a raw frame.

    Parameters
    ----------
    path
        The file.
    cards
        Its header, by the names that flatcore reads.
    frame
        Assembled, before flip and crop [ADU/s].
    options
        The night.
    number
        Which frame of the night.

    Raises
    ------
    UsageError
        The profile's keywords cannot be followed.
    OutputError
        The file could not be written; nothing of it is left.
    """
    profile = options.profile
    detector = profile.detector
    cards = raw_cards(cards, profile)
    plain = detector.dispersion == "rows" and detector.units == "adu/s" and detector.hdu is None
    integers = options.simulated.integers
    if plain and not detector.amplifiers and not integers:
        return write_fits(path, cards, frame)
    if detector.units == "adu":
        frame = frame * np.float32(_number(cards, profile, "EXPTIME"))
    mosaic = frame if detector.dispersion == "rows" else frame.T
    if detector.amplifiers:
        noise = generator(options.seed, Stream.OVERSCAN_NOISE, number) if options.noise else None
        images = _amplified(mosaic, options, noise)
    else:
        images = {1 if detector.hdu is None else detector.hdu: (mosaic + np.float32(detector.bias), {})}
    whole = detector.units == "adu" if integers is None else integers
    return write_hdus(path, _hdus(cards, images, whole))


def raw_cards(cards: Mapping[str, Card], profile: Profile) -> dict[str, Card]:
    """Give a header as the instrument writes it: values where the profile's keywords say they are.

    Raises
    ------
    UsageError
        A value cannot be brought to the form that the profile describes.
    """
    keywords = profile.keywords
    if not keywords:
        return dict(cards)
    raw = {key: value for key, value in cards.items() if key not in keywords and key not in PREPROCESSED}
    seconds = float(cards["EXPTIME"])
    for keyword, source in keywords.items():
        if source.keyword is not None and keyword in cards:
            raw |= _untranslated(keyword, source, cards[keyword], seconds)
    return raw


def _untranslated(keyword: str, source: Source, value: Card, seconds: float) -> dict[str, Card]:
    name = str(source.keyword)
    if source.values:
        fitting = (pattern for pattern, meaning in source.values.items() if meaning == value)
        pattern = next(fitting, str(value))
        return {name: pattern.replace("*", "").replace("?", "X")}
    if isinstance(value, (str, bool)):
        return {name: value}
    number = (value - source.offset - source.exposures * seconds / DAY_S) / source.factor
    if "DATE" not in name:
        return {name: number}
    if not keyword.startswith("MJD"):
        raise UsageError(f"simulation: keywords.{keyword} takes a number from {name}, which is written as a date")
    when = MJD_EPOCH + timedelta(days=number)
    if source.time is None:
        return {name: when.strftime("%Y-%m-%dT%H:%M:%S.%f")}
    return {name: when.strftime("%Y-%m-%d"), source.time: when.strftime("%H:%M:%S.%f")}


def _number(cards: Mapping[str, Card], profile: Profile, keyword: str) -> float:
    """Give the number that a reader finds by the profile's keywords."""
    source = _source(profile.keywords, keyword)
    value = cards[str(source.keyword)] if source.keyword is not None else source.value
    if not isinstance(value, (int, float)):
        raise UsageError(f"simulation: keywords.{keyword} gives {value!r}, expected a number")
    return value * source.factor + source.offset


def _source(keywords: Keywords, keyword: str) -> Source:
    return keywords.get(keyword, Source(keyword=keyword))


def _amplified(
    mosaic: Image, options: SimulationOptions, noise: np.random.Generator | None
) -> dict[int | str, tuple[Image, dict[str, Card]]]:
    """Read the detector out: images by HDU [raw ADU, or ADU/s], and the sections they are made of."""
    detector, simulated = options.profile.detector, options.simulated
    by_hdu: dict[int | str, list[tuple[int, Amplifier]]] = {}
    for i, amplifier in enumerate(detector.amplifiers):
        by_hdu.setdefault(amplifier.hdu, []).append((i, amplifier))
    images: dict[int | str, tuple[Image, dict[str, Card]]] = {}
    for hdu, amplifiers in by_hdu.items():
        regions = [region for _, one in amplifiers for region in (one.data, one.overscan) if region is not None]
        image = np.zeros((max(rows[1] for rows, _ in regions), max(columns[1] for _, columns in regions)), np.float32)
        cards: dict[str, Card] = {}
        for number, (i, amplifier) in enumerate(amplifiers, start=1):
            gain = amplifier.gain or detector.gain
            pixels = _placed(mosaic, amplifier) * np.float32(detector.gain / gain)
            level = _level(image.shape, i, options)
            if amplifier.overscan is not None:
                overscan = _slices(amplifier.overscan)
                image[overscan] = level[overscan]
                if noise is not None:
                    shape = image[overscan].shape
                    image[overscan] += noise.normal(0, simulated.readnoise / gain, shape).astype(np.float32)
            data = _slices(amplifier.data)
            image[data] = pixels + level[data]
            cards |= _sections(amplifier, gain, "" if len(amplifiers) == 1 else str(number))
        images[hdu] = (image, cards)
    return images


def _level(shape: tuple[int, int], number: int, options: SimulationOptions) -> Image:
    """Bias level of an amplifier on every pixel of its HDU [ADU]; where it has an overscan, it drifts along it."""
    detector = options.profile.detector
    amplifier = detector.amplifiers[number]
    if amplifier.overscan is None:
        return np.full(shape, detector.bias if amplifier.bias is None else amplifier.bias, dtype=np.float32)
    by_rows = amplifier.overscan[0][0] <= amplifier.data[0][0] and amplifier.overscan[0][1] >= amplifier.data[0][1]
    lines = shape[0] if by_rows else shape[1]
    drift = BIAS_DRIFT_ADU * np.sin(np.pi * np.arange(lines) / lines)
    level = options.simulated.bias * (1 + BIAS_STEP_SHARE * number) + (drift[:, None] if by_rows else drift[None, :])
    return np.broadcast_to(level.astype(np.float32), shape)


def _placed(mosaic: Image, amplifier: Amplifier) -> Image:
    """Give an amplifier's part of the detector as it reads it."""
    part = mosaic[_slices(amplifier.placed)]
    return part[
        :: -1 if amplifier.flip in ("y", "both") else 1,
        :: -1 if amplifier.flip in ("x", "both") else 1,
    ]


def _slices(region: Region) -> tuple[slice, slice]:
    return slice(*region[0]), slice(*region[1])


def _sections(amplifier: Amplifier, gain: float, number: str) -> dict[str, Card]:
    """Describe an amplifier as IRAF headers do: [x1:x2,y1:y2], counted from 1, ends included."""
    cards: dict[str, Card] = {f"DATASEC{number}": _iraf(amplifier.data)}
    if amplifier.overscan is not None:
        cards[f"BIASSEC{number}"] = _iraf(amplifier.overscan)
    placed = _iraf(amplifier.placed, turned_y=amplifier.flip in ("y", "both"), turned_x=amplifier.flip in ("x", "both"))
    return cards | {f"DETSEC{number}": placed, f"GAIN{number}": gain}


def _iraf(region: Region, turned_y: bool = False, turned_x: bool = False) -> str:
    (top, bottom), (left, right) = region
    x = f"{right}:{left + 1}" if turned_x else f"{left + 1}:{right}"
    y = f"{bottom}:{top + 1}" if turned_y else f"{top + 1}:{bottom}"
    return f"[{x},{y}]"


def _hdus(
    cards: Mapping[str, Card], images: Mapping[int | str, tuple[Image, dict[str, Card]]], integers: bool
) -> fits.HDUList:
    """Put images into the HDUs that the profile names; numbered ones where they belong, the others in what is free."""
    last = max((hdu for hdu in images if isinstance(hdu, int)), default=0)
    by_place: dict[int, int | str] = {hdu: hdu for hdu in images if isinstance(hdu, int)}
    for hdu in images:
        if isinstance(hdu, str):
            place = next(i for i in range(1, last + len(images) + 1) if i not in by_place)
            by_place[place] = hdu
    hdus: list[fits.PrimaryHDU | fits.ImageHDU] = []
    for place in range(max(by_place) + 1):
        name = by_place.get(place)
        pixels, own = (None, {}) if name is None else images[name]
        data = None if pixels is None else _counts(pixels) if integers else np.ascontiguousarray(pixels)
        hdu = fits.PrimaryHDU(data) if place == 0 else fits.ImageHDU(data, name=name if isinstance(name, str) else None)
        hdu.header.update(dict(cards) | own if place == 0 else own)
        hdus.append(hdu)
    return fits.HDUList(hdus)


def _counts(pixels: Image) -> NDArray[np.uint16]:
    """Give whole counts, as a converter of 16 bits does."""
    return np.clip(np.rint(pixels), 0, LARGEST_COUNT).astype(np.uint16)
