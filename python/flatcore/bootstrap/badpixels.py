"""Bad pixels: dead, hot, too bright, non-linear, unstable, or without a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.bootstrap.settings import BadPixelSettings
from flatcore.images import Image, Mask

# Standard deviations in a median distance of normal values.
SIGMAS_PER_MEDIAN_DISTANCE = 1.482602218505602
# Fewer frames do not tell an unstable pixel from a cosmic ray.
LEAST_FRAMES = 3


class Bad(IntFlag):
    """Bits of a bad-pixel map."""

    DEAD = 1
    HOT = 2
    NONLINEAR = 4
    UNSTABLE = 8
    NO_VALUE = 16
    BRIGHT = 32

    @property
    def words(self) -> str:
        """What the bit says."""
        return WORDS[self]


WORDS: Mapping[Bad, str] = {
    Bad.DEAD: "dead: far darker than its neighbours",
    Bad.HOT: "hot: large dark current",
    Bad.NONLINEAR: "non-linear: its rate depends on the level",
    Bad.UNSTABLE: "unstable: varies between like frames",
    Bad.NO_VALUE: "no value: not finite, or beyond the bounds",
    Bad.BRIGHT: "bright: far brighter than its neighbours",
}


@dataclass(frozen=True)
class Level:
    """Combined flats of one level, in the frame of the calibrations.

    Attributes
    ----------
    image
        Rows by columns, per frame [electrons]; the dark is subtracted.
    photon_variance
        Variance of the combination relative to one frame's.
    readnoise_e
        Read noise of one frame [electrons].
    """

    image: Image
    photon_variance: float
    readnoise_e: float


def expected_light(image: Image, half: int, dymap: Image | None = None) -> Image:
    """Give what each pixel should see: the median of its like in the columns to both sides, itself included.

    Parameters
    ----------
    image
        Rows by columns.
    half
        Columns to each side.
    dymap
        SHAPEY [pixels], to follow the curve of orders that are steep; None stays in the row.
    """
    if dymap is None:
        return _core.row_medians(image, half)
    return _core.curve_medians(image, dymap, np.ones(image.shape, np.uint8), half)


def bad_pixels(
    main: Level,
    settings: BadPixelSettings,
    *,
    dark: Image | None = None,
    exposure_e: float = 1.0,
    others: Sequence[Level] = (),
    scatter: Image | None = None,
    dymap: Image | None = None,
) -> Mask:
    """Find the bad pixels.

    Parameters
    ----------
    main
        The flats.
    dark
        Dark current [ADU/s], rows by columns; NaN is no value.
    exposure_e
        Electrons of a flat per ADU/s.
    others
        Flats of other levels.
    scatter
        Median distance of the frames from their combination [electrons]; None for fewer than three frames.
    dymap
        SHAPEY [pixels], where the orders are steep.

    Returns
    -------
    ndarray of uint8
        Bits of :class:`Bad`; 0 is good.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    flat = main.image
    bits = np.zeros(flat.shape, np.uint8)
    light = expected_light(flat, settings.half, dymap)
    noise = _noise(light, main)
    with np.errstate(invalid="ignore", over="ignore"):
        below = light - flat
        limit = np.float32(settings.sigmas) * noise
        # NaN compares as false: a pixel without a value has a bit of its own.
        _mark(bits, Bad.DEAD, (below > limit) & (flat < np.float32(settings.dead) * light))
        _mark(bits, Bad.BRIGHT, (-below > limit) & (flat > np.float32(2 - settings.dead) * light))
        _mark(bits, Bad.NO_VALUE, ~np.isfinite(flat))
        if dark is not None:
            _mark(bits, Bad.HOT, hot(dark, settings.hot_sigmas, main.readnoise_e / exposure_e))
            _mark(bits, Bad.NO_VALUE, ~np.isfinite(dark))
        if scatter is not None:
            sigma = np.float32(SIGMAS_PER_MEDIAN_DISTANCE) * scatter
            expected = noise / np.float32(np.sqrt(main.photon_variance))
            varies = (sigma > np.float32(settings.unstable_sigmas) * expected) & (
                sigma > np.float32(settings.unstable) * light
            )
            _mark(bits, Bad.UNSTABLE, varies)
        for other in others:
            _mark(bits, Bad.NONLINEAR, _disagree(main, light, noise, other, settings, dymap))
    return bits


def hot(dark: Image, sigmas: float, harmful: float) -> NDArray[np.bool_]:
    """Tell the pixels whose dark current is far above the others' and matters.

    Parameters
    ----------
    dark
        Dark current [ADU/s].
    sigmas
        Robust standard deviations above the median.
    harmful
        Excess that matters [ADU/s].
    """
    finite = dark[np.isfinite(dark)]
    if not finite.size:
        return np.zeros(dark.shape, bool)
    # A sample tells the spread of millions of pixels well enough.
    sample = finite[:: max(finite.size // 1_000_000, 1)]
    low, middle, high = np.percentile(sample, [15.87, 50.0, 84.13])
    with np.errstate(invalid="ignore"):
        return np.asarray(dark > np.float32(middle + max(sigmas * 0.5 * (high - low), harmful)))


def counts(bits: Mask) -> dict[Bad, int]:
    """Number of pixels of each kind."""
    found = np.bincount(bits.ravel(), minlength=64)
    codes = np.arange(found.size)
    return {kind: int(found[(codes & kind) != 0].sum()) for kind in Bad}


def _noise(light: Image, level: Level) -> Image:
    """Standard deviation of the combined image where the light is as expected [electrons]."""
    variance = np.maximum(light, 0)
    variance += np.float32(level.readnoise_e**2)
    variance *= np.float32(level.photon_variance)
    return np.sqrt(variance, out=variance)


def _disagree(
    main: Level, light: Image, noise: Image, other: Level, settings: BadPixelSettings, dymap: Image | None
) -> NDArray[np.bool_]:
    """Tell where the ratio of two levels is not that of the neighbourhood."""
    other_light = expected_light(other.image, settings.half, dymap)
    # Compared on the scale of the main flats, in which their share of the expected light is the same.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = light / other_light
        departure = np.abs(other.image * ratio - main.image)
        both = np.hypot(noise, _noise(other_light, other) * np.abs(ratio))
        lit = (light > settings.sigmas * noise) & (other_light > 0)
        return np.asarray(
            lit & (departure > np.float32(settings.sigmas) * both) & (departure > np.float32(settings.nonlinear) * light)
        )


def _mark(bits: Mask, kind: Bad, where: NDArray[np.bool_]) -> None:
    bits |= where.view(np.uint8) * np.uint8(kind)
