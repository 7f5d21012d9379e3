"""Units, gain, read noise and saturation of an unknown detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from flatcore.fitsio import open_images, read_pixels
from flatcore.instrument import Units
from flatcore.survey import keywords
from flatcore.survey.answers import Answers
from flatcore.survey.evidence import Evidence, Notes, image_in_use
from flatcore.survey.files import RawImage
from flatcore.survey.transfer import Transfer

# A measured gain that is further from the header's is told.
GAINS_AGREE = 0.2
# Counts above this share of what the converter can tell are taken for saturated.
SATURATION_SHARE = 0.95
RATE_UNITS = ("adu/s", "adu / s", "adu s-1", "adu s^-1", "counts/s", "count/s", "count / s", "dn/s", "dn / s")
COUNT_UNITS = ("adu", "count", "counts", "dn")


def find_units(image: RawImage, first: Path, scratch: Path, notes: Notes) -> Units:
    """Tell counts from rates: by BUNIT, or because converters give integers."""
    unit = str(image.header.get("BUNIT", "")).strip().casefold()
    if unit in RATE_UNITS or unit in COUNT_UNITS:
        units: Units = "adu/s" if unit in RATE_UNITS else "adu"
        notes.found("units", units, f"BUNIT = {unit!r}", "detector.units")
        return units
    if image.integers:
        notes.found("units", "adu", "integers", "detector.units")
        return "adu"
    sample = read_pixels(open_images(first, [image.hdu], scratch)[0])[::16, ::16]
    if np.array_equal(sample, np.rint(sample), equal_nan=True):
        notes.found("units", "adu", "whole numbers", "detector.units")
        return "adu"
    notes.found("units", "adu/s", "fractions, and no BUNIT", "detector.units")
    notes.doubts.append("fractions without BUNIT are taken for ADU/s; --units adu if they are counts")
    return "adu/s"


def find_electronics(answers: Answers, evidence: Evidence, notes: Notes) -> tuple[Answers, list[float]]:
    """Settle gain and read noise: what was given wins over what was measured, and that over the header.

    Returns
    -------
    answers
        With both.
    gains
        Of each amplifier [electrons per ADU].
    """
    layout, measured, header = evidence.layout, evidence.measured, evidence.header
    if measured.bias_adu:
        origin = (
            "median of the biases"
            if evidence.frames.biases
            else "median of the darks"
            if evidence.frames.darks
            else "given"
        )
        notes.found("bias", f"{measured.bias_adu:.1f} ADU", origin, "detector.bias")
    elif answers.units == "adu" and not layout.has_overscan:
        notes.doubts.append("the level without light is not known (no overscan, bias or dark): give --bias or darks")
    told = keywords.number(header, keywords.GAINS)
    gains, noises = [], []
    for i, (transfer, noise_adu) in enumerate(zip(measured.transfers, measured.noises_adu, strict=True)):
        own = layout.amplifiers[i].header_gain if layout.amplifiers else None
        from_header = own or (told[1] if told else None)
        gain, origin = _gain(answers, transfer, from_header, told[0] if told else "GAIN")
        where = f" of amplifier {i}" if layout.amplifiers else ""
        key = f"amplifiers.{i}.gain" if layout.amplifiers else "detector.gain"
        notes.found(f"gain{where}", f"{gain:.4g} e-/ADU", origin, key)
        if transfer is not None and from_header and abs(transfer.gain / from_header - 1) > GAINS_AGREE:
            notes.doubts.append(
                f"gain{where}: measured {transfer.gain:.3g}, but the header has {from_header:.3g} e-/ADU; "
                "are the pixels in the units that were found?"
            )
        gains.append(gain)
        by_darks = gain * noise_adu
        noises.append(by_darks if math.isfinite(by_darks) else transfer.readnoise_e if transfer else math.nan)
    gain = float(np.median(gains))
    if layout.amplifiers:
        notes.found("gain", f"{gain:.4g} e-/ADU", "median of the amplifiers", "detector.gain")
    if answers.gain is None and all(transfer is None for transfer in measured.transfers):
        notes.doubts.append("the gain was not measured: it takes two flats of the same light")
    return replace(answers, gain=gain, readnoise_e=_readnoise(answers, noises, evidence, notes)), gains


def _gain(answers: Answers, transfer: Transfer | None, from_header: float | None, keyword: str) -> tuple[float, str]:
    if answers.gain is not None:
        return answers.gain, "given"
    if transfer is not None:
        pairs = f"{transfer.pairs} pair{'s' if transfer.pairs > 1 else ''} of flats"
        return transfer.gain, f"measured, +-{transfer.gain_error:.2g}, {pairs}"
    if from_header is not None:
        return from_header, f"header, {keyword}"
    return 1.0, "not known"


def _readnoise(answers: Answers, noises: Sequence[float], evidence: Evidence, notes: Notes) -> float | None:
    known = [noise for noise in noises if math.isfinite(noise)]
    told = keywords.number(evidence.header, keywords.READNOISES)
    if answers.readnoise_e is not None:
        value, origin = answers.readnoise_e, "given"
    elif known:
        quiet = any(math.isfinite(noise) for noise in evidence.measured.noises_adu)
        value = float(np.median(known))
        origin = f"measured, {'frames without light' if quiet else 'faint end of the flats'}"
    elif told is not None:
        value, origin = told[1], f"header, {told[0]}"
    else:
        notes.doubts.append("the read noise was not found: give --readnoise, two darks or two biases")
        return None
    notes.found("read noise", f"{value:.3g} e-", origin, "keywords.RDNOISE")
    return value


def find_saturation(answers: Answers, evidence: Evidence, notes: Notes) -> Answers:
    """Settle the saturation level [ADU above the bias]: given, of the header, or of a 16-bit converter."""
    if answers.saturation_adu is not None:
        notes.found("saturation", f"{answers.saturation_adu:g} ADU", "given", "detector.saturation")
        return answers
    told = keywords.number(evidence.header, keywords.SATURATIONS)
    if told is not None:
        notes.found("saturation", f"{told[1]:g} ADU", f"header, {told[0]}", "detector.saturation")
        return replace(answers, saturation_adu=told[1])
    image = image_in_use(evidence.images, evidence.layout)
    (raw,) = open_images(evidence.first, [image.hdu], evidence.scratch)
    flat = evidence.measured.flat
    if raw.location.bitpix == 16 and image.integers:
        largest = 2.0**15 - 1 + raw.location.bzero
        level = max(0.0, float(np.nanpercentile(read_pixels(raw), 1) - np.nanpercentile(flat, 1)))
        value = SATURATION_SHARE * largest - level
        origin = f"{SATURATION_SHARE:.0%} of a converter of 16 bits, less the level of {level:.0f} ADU"
    else:
        value = 2 * float(np.nanpercentile(flat, 99.99))
        origin = "not known: twice the brightest pixels"
        notes.doubts.append("the saturation level was not found: give --saturation")
    value = float(f"{value:.4g}")
    notes.found("saturation", f"{value:g} ADU", origin, "detector.saturation")
    return replace(answers, saturation_adu=value)
