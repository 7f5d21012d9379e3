"""Beside the second stage: each frame held to the combined one, for lamps that drift and shutters that stick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore.fitsio import FitsImage, read_rows
from flatcore.images import CombinedImage
from flatcore.results import FrameCheck

Array = NDArray[np.float64]

# Rows that are looked at, evenly over the detector, and every which pixel of them: a hundredth of the pixels tells the
# level to a thousandth.
SAMPLED_ROWS, COLUMN_STEP = 96, 4
# A pixel is lit above this share of the sample's bright end, counted from its dark end.
LIT_SHARE = 0.2
DARK_PERCENTILE, BRIGHT_PERCENTILE = 5.0, 95.0
# The image is looked at in this many parts each way.
PARTS = 4
LEAST_PIXELS = 50
# Narrower images are looked at column by column.
LEAST_COLUMNS = 2000
# Percentiles beyond which a pixel's ratio says more of cosmic rays than of the lamp.
EXTREMES = (1.0, 99.0)
# Under this level there is no light to speak of.
NO_LIGHT = 0.1


def check_frames(frames: Sequence[FitsImage], combined: CombinedImage, limit: float) -> tuple[FrameCheck, ...]:
    """Compare each frame with the combined image, on the lit pixels of a sample of rows.

    Parameters
    ----------
    frames
        As combined.
    combined
        Their combination [ADU/s].
    limit
        Largest departure of a frame's level, or of the light in a part of it, from the combined image's.

    Returns
    -------
    tuple of FrameCheck
        One per frame; empty for a single frame.

    Raises
    ------
    InputError
        A frame cannot be read.
    """
    if len(frames) < 2:
        return ()
    rows = np.unique(np.linspace(0, combined.image.shape[0] - 1, SAMPLED_ROWS).astype(int)).tolist()
    step = COLUMN_STEP if combined.image.shape[1] > LEAST_COLUMNS else 1
    reference = combined.image[rows, ::step].astype(float)
    finite = reference[np.isfinite(reference)]
    dark, bright = np.percentile(finite, [DARK_PERCENTILE, BRIGHT_PERCENTILE]) if finite.size else (0.0, 0.0)
    with np.errstate(invalid="ignore"):
        lit = reference > dark + LIT_SHARE * (bright - dark)
    bright_pixels = np.where(lit, reference - dark, np.nan)
    found = []
    for frame in frames:
        pixels = read_rows(frame, rows)[:, ::step] - dark
        level, parts = _compared(pixels, bright_pixels)
        spread = max((abs(part - level) for part in parts), default=0.0)
        mjd = float(frame.header["MJDMID"])
        found.append(FrameCheck(frame.path.name, mjd, level, spread, _words(level, parts, limit)))
    return tuple(found)


def drift(checks: Sequence[FrameCheck]) -> float:
    """Change of the lamp's level from the first to the last frame with light, by :func:`drift_line`; NaN if untold."""
    lit = [(check.mjd_mid, level) for check, level in zip(checks, drift_line(checks), strict=True) if _has_light(check)]
    return float(max(lit)[1] - min(lit)[1]) if lit else float("nan")


def drift_line(checks: Sequence[FrameCheck]) -> Array:
    """Level of the lamp at each frame by a straight line in time; NaN if untold.

    Frames without light say nothing of the lamp.
    """
    lit = np.array([_has_light(check) for check in checks], bool)
    times = np.array([check.mjd_mid for check in checks])
    if np.count_nonzero(lit) < 3 or not np.ptp(times[lit]) > 0:
        return np.full(times.size, np.nan)
    levels = np.array([check.level for check in checks])
    line: Array = np.polynomial.Polynomial.fit(times[lit], levels[lit], 1)(times)
    return line


def _has_light(check: FrameCheck) -> bool:
    return check.level > NO_LIGHT


def _compared(pixels: Array, reference: Array) -> tuple[float, list[float]]:
    """Level of a frame, and of each part of it that is lit in the combined image; of one without a value it is 0."""
    parts = []
    for bands in zip(*(np.array_split(image, PARTS, axis=0) for image in (pixels, reference)), strict=True):
        for part, lit in zip(*(np.array_split(band, PARTS, axis=1) for band in bands), strict=True):
            if np.count_nonzero(np.isfinite(lit)) >= LEAST_PIXELS:
                found = _level(part, lit)
                parts.append(found if np.isfinite(found) else 0.0)
    return _level(pixels, reference), parts


def _level(pixels: Array, reference: Array) -> float:
    """Ratio of the sums over the pixels whose own ratio is not among the extreme ones; NaN for too few pixels.

    The median of the ratios would not do: every frame is itself the median of some pixels, whose ratio is 1.
    """
    finite = np.isfinite(pixels) & np.isfinite(reference)
    if np.count_nonzero(finite) < LEAST_PIXELS:
        return float("nan")
    pixels, reference = pixels[finite], reference[finite]
    ratio = pixels / reference
    low, high = np.percentile(ratio, EXTREMES)
    kept = (ratio >= low) & (ratio <= high)
    return float(pixels[kept].sum() / reference[kept].sum())


def _words(level: float, parts: Sequence[float], limit: float) -> str:
    """Say what is wrong with a frame; nothing where nothing is."""
    if np.isnan(level):
        return "no lit pixel has a value"
    if level < NO_LIGHT:
        return f"next to no light ({level:.2f} of the combined level): the shutter stuck, or the lamp was off"
    if min(parts, default=level) < NO_LIGHT * max(parts, default=level):
        return "part of the image has no light: the shutter stuck half way, or something stood in the beam"
    if abs(level - 1.0) > limit:
        return f"its level is {level:.3f} of the combined one"
    departure = max((part - level for part in parts), key=abs, default=0.0)
    if abs(departure) > limit:
        return f"its light is distributed otherwise: a part of the image departs by {departure:+.3f}"
    return ""
