"""Bad pixels: dead, hot, too bright, non-linear, unstable, or without a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
# Pixels of a sample, rows that are worked on at a time, and threads.
SAMPLE, BAND_ROWS, THREADS = 1_000_000, 64, 4


class Bad(IntFlag):
    """Bits of a bad-pixel map."""

    DEAD = 1
    HOT = 2
    NONLINEAR = 4
    UNSTABLE = 8
    NO_VALUE = 16
    BRIGHT = 32

    @property
    def title(self) -> str:
        """Its name, for people."""
        return str(self.name).lower().replace("_", " ")

    @property
    def words(self) -> str:
        """What the bit says."""
        return WORDS[self]


WORDS: Mapping[Bad, str] = {
    Bad.DEAD: "far darker than its neighbours",
    Bad.HOT: "large dark current",
    Bad.NONLINEAR: "rate depends on the level",
    Bad.UNSTABLE: "varies between like frames",
    Bad.NO_VALUE: "not finite or out of bounds",
    Bad.BRIGHT: "far brighter than its neighbours",
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


def expected_light(image: Image, half: int) -> Image:
    """Give what each pixel should see: the median of the columns to both sides in its row, itself included."""
    return _core.row_medians(image, half)


def followed_light(image: Image, level: Level, settings: BadPixelSettings, light: Image, dymap: Image) -> Image:
    """Give what each pixel should see where orders are steep: the median along their curve.

    Only pixels that might be bad are looked at again; for the others the row does.

    Parameters
    ----------
    light
        Of :func:`expected_light`.
    dymap
        SHAPEY [pixels].
    """

    def suspects(band: slice) -> Mask:
        off = np.abs(image[band] - light[band])
        near = (off > np.float32(0.5 * settings.sigmas) * _noise(light[band], level)) & (
            off > np.float32(0.5 * (1 - settings.dead)) * light[band]
        )
        return np.asarray(near, np.uint8)

    wanted = np.concatenate(_by_bands(suspects, image.shape[0]))
    again = _core.curve_medians(image, dymap, wanted, settings.half)
    return np.where(wanted != 0, again, light)


def steady_bits(
    level: Level,
    light: Image,
    settings: BadPixelSettings,
    *,
    dark: Image | None = None,
    exposure_e: float = 1.0,
    scatter: Image | None = None,
) -> Mask:
    """Find pixels that are bad by themselves: hot, unstable, or without a value.

    Parameters
    ----------
    level
        The flats.
    light
        What each pixel should see [electrons].
    dark
        Dark current [ADU/s], rows by columns; NaN is no value.
    exposure_e
        Electrons of a flat per ADU/s.
    scatter
        Median distance of the frames from their combination [electrons]; None for fewer than three frames.

    Returns
    -------
    ndarray of uint8
        Bits of :class:`Bad`.
    """
    limit = np.inf if dark is None else hot_limit(dark, settings.hot_sigmas, level.readnoise_e / exposure_e)
    single = np.float32(1 / np.sqrt(level.photon_variance))

    def mark(band: slice) -> Mask:
        bits = np.zeros(level.image[band].shape, np.uint8)
        _mark(bits, Bad.NO_VALUE, ~np.isfinite(level.image[band]))
        if dark is not None:
            _mark(bits, Bad.NO_VALUE, ~np.isfinite(dark[band]))
            _mark(bits, Bad.HOT, dark[band] > np.float32(limit))
        if scatter is not None:
            sigma = np.float32(SIGMAS_PER_MEDIAN_DISTANCE) * scatter[band]
            least = np.float32(settings.unstable_sigmas) * single * _noise(light[band], level)
            _mark(bits, Bad.UNSTABLE, (sigma > least) & (sigma > np.float32(settings.unstable) * light[band]))
        return bits

    return np.concatenate(_by_bands(mark, level.image.shape[0]))


def response_bits(
    level: Level, light: Image, settings: BadPixelSettings, others: Sequence[tuple[Level, Image]] = ()
) -> Mask:
    """Find pixels that see too little or too much of the light: dead, too bright, or non-linear.

    Parameters
    ----------
    level
        The flats.
    light
        What each pixel should see [electrons].
    others
        Flats of other levels, each with what its pixels should see.

    Returns
    -------
    ndarray of uint8
        Bits of :class:`Bad`. NaN compares as false: a pixel without a value is not told here.
    """

    def mark(band: slice) -> Mask:
        flat, expected = level.image[band], light[band]
        bits = np.zeros(flat.shape, np.uint8)
        noise = _noise(expected, level)
        below, limit = expected - flat, np.float32(settings.sigmas) * noise
        _mark(bits, Bad.DEAD, (below > limit) & (flat < np.float32(settings.dead) * expected))
        _mark(bits, Bad.BRIGHT, (-below > limit) & (flat > np.float32(2 - settings.dead) * expected))
        for other, other_light in others:
            # Compared on the scale of the main flats, in which their share of the expected light is the same.
            ratio = expected / other_light[band]
            departure = np.abs(other.image[band] * ratio - flat)
            both = np.hypot(noise, _noise(other_light[band], other) * np.abs(ratio))
            lit = (expected > limit) & (other_light[band] > 0)
            far = (departure > np.float32(settings.sigmas) * both) & (
                departure > np.float32(settings.nonlinear) * expected
            )
            _mark(bits, Bad.NONLINEAR, lit & far)
        return bits

    return np.concatenate(_by_bands(mark, level.image.shape[0]))


def hot_limit(dark: Image, sigmas: float, harmful: float) -> float:
    """Give the dark current from which a pixel is hot: far above the others', and enough to matter [ADU/s].

    Parameters
    ----------
    dark
        Dark current [ADU/s].
    sigmas
        Robust standard deviations above the median.
    harmful
        Excess that matters [ADU/s].
    """
    # A sample tells the spread of millions of pixels well enough.
    sample = dark.ravel()[:: max(dark.size // SAMPLE, 1)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return float("inf")
    low, middle, high = np.percentile(sample, [15.87, 50.0, 84.13])
    return float(middle + max(sigmas * 0.5 * (high - low), harmful))


def counts(bits: Mask) -> dict[Bad, int]:
    """Count the pixels of each kind."""
    found = np.bincount(bits.ravel(), minlength=64)
    codes = np.arange(found.size)
    return {kind: int(found[(codes & kind) != 0].sum()) for kind in Bad}


def _noise(light: Image, level: Level) -> Image:
    """Give the standard deviation of the combined image where the light is as expected."""
    variance = np.maximum(light, 0)
    variance += np.float32(level.readnoise_e**2)
    variance *= np.float32(level.photon_variance)
    return np.sqrt(variance, out=variance)


def _by_bands(work: Callable[[slice], Mask], rows: int) -> list[Mask]:
    """Do the work on bands of rows that fit a processor's memory, on a few threads."""

    def quiet(band: slice) -> Mask:
        # NaN is a value like others here, and compares as false.
        with np.errstate(all="ignore"):
            return work(band)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(quiet, (slice(start, start + BAND_ROWS) for start in range(0, rows, BAND_ROWS))))


def _mark(bits: Mask, kind: Bad, where: NDArray[np.bool_]) -> None:
    bits |= where.view(np.uint8) * np.uint8(kind)
