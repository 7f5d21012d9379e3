"""Gain and read noise by photon transfer: the variance of the difference of two equal frames against their mean.

Source: Janesick, Photon Transfer (SPIE 2007), chapter 5. Differences are free of what is the same in both frames, the
light's structure and the pixels' response above all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flatcore.images import Image

Array = NDArray[np.float64]

BINS, LEAST_IN_BIN = 60, 200
ITERATIONS = 6
# Differences further than this many deviations are not of photons and electronics: cosmic rays, unstable pixels.
CLIP = 5.0
# Means above this share of the largest are left out: where a detector saturates its variance falls.
LARGEST_SHARE = 0.9
# Pixels enough: of larger images bands of rows are taken.
PIXELS, BAND_ROWS = 4_000_000, 128
RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) / 8.0


@dataclass(frozen=True)
class Transfer:
    """What pairs of flats tell of an amplifier.

    Attributes
    ----------
    gain
        Electrons per ADU.
    gain_error
        Its standard error: scatter of the pairs, or that of the fit where there is one pair.
    readnoise_e
        From the variance without light; NaN where the level without light is not known [electrons].
    pairs
        Number of pairs.
    levels
        Least and greatest mean that took part [ADU].
    """

    gain: float
    gain_error: float
    readnoise_e: float
    pairs: int
    levels: tuple[float, float]

    def without_readnoise(self) -> Transfer:
        """Give it for frames whose level without light is not known: the gain alone holds."""
        return replace(self, readnoise_e=float("nan"))


def photon_transfer(frames: Sequence[Image]) -> Transfer | None:
    """Measure gain and read noise from frames of the same light.

    Parameters
    ----------
    frames
        Rows by columns, free of bias [ADU]; NaN for no value. Neighbours in the sequence make the pairs.

    Returns
    -------
    Transfer or None
        None where no pair has light enough at different levels.
    """
    pairs = zip(frames[::2], frames[1::2], strict=False)
    fits = [fit for a, b in pairs if (fit := _fit_pair(_sampled(a), _sampled(b))) is not None]
    if not fits:
        return None
    gains = np.array([1 / fit[1] for fit in fits])
    floors = np.array([fit[0] for fit in fits])
    gain = float(np.mean(gains))
    scatter = float(np.std(gains, ddof=1) / np.sqrt(len(fits))) if len(fits) > 1 else gain * fits[0][2] / fits[0][1]
    floor = float(np.mean(floors))
    levels = min(fit[3][0] for fit in fits), max(fit[3][1] for fit in fits)
    return Transfer(gain, scatter, gain * float(np.sqrt(floor)) if floor > 0 else float("nan"), len(fits), levels)


def dark_noise(frames: Sequence[Image]) -> float:
    """Read noise of frames without light, from the differences of neighbours [ADU]; NaN where there is no pair."""
    variances = []
    for a, b in pairwise(frames):
        apart = _sampled(a) - _sampled(b)
        difference = apart[np.isfinite(apart)].astype(np.float64)
        difference -= np.median(difference)
        kept = difference
        for _ in range(ITERATIONS):
            deviation = float(np.sqrt(np.mean(kept**2))) if kept is not difference else _robust(difference)
            kept = difference[np.abs(difference) <= CLIP * max(deviation, 1e-30)]
        variances.append(np.mean(kept**2) / 2)
    return float(np.sqrt(np.mean(variances))) if variances else float("nan")


def _sampled(image: Image) -> Image:
    """Give an image, or evenly spaced bands of its rows where it is large."""
    bands = image.shape[0] // BAND_ROWS
    wanted = max(1, PIXELS // (BAND_ROWS * image.shape[1]))
    if bands <= wanted:
        return image
    starts = np.linspace(0, image.shape[0] - BAND_ROWS, wanted).astype(int)
    return np.concatenate([image[start : start + BAND_ROWS] for start in starts])


def _robust(values: Array) -> float:
    low, high = np.percentile(values, [15.87, 84.13])
    return float(high - low) / 2


def _fit_pair(a: Image, b: Image) -> tuple[float, float, float, tuple[float, float]] | None:
    """Variance without light, its slope with the mean and the slope's error, and the levels in use."""
    ratio = _ratio(a, b)
    mean = (a.astype(np.float64) + ratio * b) / 2
    # By its neighbours a pixel is put among those of its level: its own noise would choose, and bias, its bin.
    level = ndimage.convolve(mean, RING, mode="nearest")
    usable = np.isfinite(level) & np.isfinite(mean)
    if usable.any():
        largest = LARGEST_SHARE * float(np.percentile(level[usable], 99.99))
        # Hot and saturated pixels stand above their neighbours.
        usable &= np.maximum(level, mean) < largest
    if np.count_nonzero(usable) < 4 * LEAST_IN_BIN:
        return None
    difference = _registered(a.astype(np.float64) - ratio * b, mean, usable)
    # The variance of a - k b is that of a, and k times as much photon noise as b's own level tells.
    half_squares = difference[usable] ** 2 / (1 + ratio)
    means, levels = mean[usable], level[usable]
    index = _bins(levels)
    floor, slope = _first_guess(difference[usable] / np.sqrt(1 + ratio), means, index)
    error = float("nan")
    for _ in range(ITERATIONS):
        model = np.maximum(floor, 0.0) + slope * np.maximum(means, 0.0)
        kept = half_squares <= CLIP**2 * np.maximum(model, 1e-30)
        count = np.bincount(index[kept], minlength=BINS)
        enough = count >= LEAST_IN_BIN
        if np.count_nonzero(enough) < 3:
            return None
        x = np.bincount(index[kept], means[kept], BINS)[enough] / count[enough]
        y = np.bincount(index[kept], half_squares[kept], BINS)[enough] / count[enough]
        expected = np.maximum(floor, 0.0) + slope * np.maximum(x, 0.0)
        weight = np.sqrt(count[enough] / 2) / np.maximum(expected, 1e-30)
        design = np.stack([weight, weight * x], axis=1)
        floor, slope = np.linalg.lstsq(design, weight * y, rcond=None)[0].tolist()
        error = float(np.sqrt(np.linalg.pinv(design.T @ design)[1, 1]))
        if slope <= 0:
            return None
    return floor, slope, error, (float(x.min()), float(x.max()))


def _ratio(a: Image, b: Image) -> float:
    """Light of the first frame over that of the second, on the bright pixels."""
    total = a + b
    bright = np.isfinite(total) & (total >= np.nanpercentile(total, 90))
    return float(np.sum(a[bright], dtype=np.float64) / np.sum(b[bright], dtype=np.float64))


def _registered(difference: Array, mean: Array, usable: NDArray[np.bool_]) -> Array:
    """Take from a difference what a small shift between the frames, or a change of the lamp, puts into it."""
    filled = np.where(np.isfinite(mean), mean, 0.0)
    slopes = [ndimage.correlate1d(filled, [-0.5, 0.0, 0.5], axis=axis, mode="nearest") for axis in (0, 1)]
    weight = 1 / np.sqrt(np.maximum(mean[usable], max(float(np.median(mean[usable])), 1.0)))
    terms = np.stack([term[usable] * weight for term in (*slopes, filled, np.ones_like(filled))], axis=1)
    solution = np.zeros(terms.shape[1])
    values = difference[usable] * weight
    for _ in range(3):
        residual = values - terms @ solution
        kept = np.abs(residual) <= CLIP * _robust(residual)
        solution = np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0]
    fitted = np.zeros_like(difference)
    fitted[usable] = (terms @ solution) / weight
    return difference - fitted


def _bins(levels: Array) -> NDArray[np.intp]:
    """Put levels into bins, evenly spaced in the square root of the level: as its noise grows."""
    low, high = np.percentile(levels, [0.1, 100])
    scaled = np.sqrt(np.clip((levels - low) / max(high - low, 1e-30), 0, 1))
    return np.asarray(np.minimum(scaled * BINS, BINS - 1), dtype=np.intp)


def _first_guess(scaled: Array, means: Array, index: NDArray[np.intp]) -> tuple[float, float]:
    """Variance without light and slope, from the spread of the differences in the faint and the bright bins."""
    variances, centres = [], []
    for i in range(BINS):
        inside = index == i
        if np.count_nonzero(inside) >= LEAST_IN_BIN:
            variances.append(_robust(scaled[inside]) ** 2)
            centres.append(float(np.mean(means[inside])))
    if len(centres) < 3:
        return 1.0, 1.0
    slope = (variances[-1] - variances[0]) / max(centres[-1] - centres[0], 1e-30)
    slope = max(slope, 1e-9)
    return max(variances[0] - slope * centres[0], 0.0), slope
