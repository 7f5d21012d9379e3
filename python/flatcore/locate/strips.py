"""The image in blocks of columns, with its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flatcore import _core

Array = NDArray[np.float64]
# Variance of a pixel at level 0, its growth with the level, and the least there is.
NoiseLine = tuple[float, float, float]
# Columns of a block: so few that a steep narrow order is not blurred, so many that outliers are outvoted.
BLOCK = 8
# Rows over which a level is called local: wider than the distance of any two orders.
LOCAL_ROWS = 151


@dataclass(frozen=True)
class Strips:
    """Medians of blocks of columns.

    Attributes
    ----------
    values
        Rows by blocks; 0 where there is no value.
    good
        Where there is one.
    variance
        Of the values.
    columns
        Middle column of each block.
    width
        Columns of a block.
    noise
        Variance of a pixel: that of the dark, its growth with the level, and the least there is.
    """

    values: NDArray[np.float32]
    good: NDArray[np.bool_]
    variance: NDArray[np.float32]
    columns: Array
    width: int
    noise: NoiseLine


def make_strips(image: NDArray[np.float32]) -> Strips:
    """Reduce an image to blocks of columns."""
    medians, noise = _core.column_blocks(image, BLOCK)
    columns = image.shape[1]
    starts = np.arange(0, columns, BLOCK)
    counts = np.minimum(BLOCK, columns - starts)
    good = np.isfinite(medians)
    values = np.where(good, medians, np.float32(0))
    line = noise_line(values, noise, good)
    variance = (pixel_variance(values, line) * median_variance(BLOCK)).astype(np.float32)
    return Strips(values, good, variance, starts + (counts - 1) / 2, BLOCK, line)


def pixel_variance(level: NDArray[np.floating], line: NoiseLine) -> NDArray[np.floating]:
    """Variance of a pixel by its level."""
    start, slope, floor = line
    variance: NDArray[np.floating] = np.maximum(start + slope * level, floor)
    return variance


# Percentiles of a column that those of its neighbours are near, whether it is dead, hot or dim.
COLUMN_PERCENTILES = (20, 50, 90, 98)
COLUMN_NEIGHBOURS = 31
COLUMN_SIGMAS, COLUMN_CONTRAST = 10.0, 0.15


def bad_columns(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find columns whose brightness, dark or light, is not that of the columns around them."""
    rows, columns = image.shape
    sample = image[:: max(rows // 512, 1)]
    few = np.isfinite(sample).mean(axis=0) < 0.5
    sample = np.sort(np.where(np.isfinite(sample), sample, np.inf), axis=0)
    count = np.isfinite(sample).sum(axis=0)
    bad = few.copy()
    levels: list[tuple[Array, Array]] = []
    spans: list[Array] = []
    for percentile in COLUMN_PERCENTILES:
        at = np.clip((percentile / 100 * (count - 1)).astype(int), 0, len(sample) - 1)
        level = np.where(few, np.nan, sample[at, np.arange(columns)])
        if not np.isfinite(level).any():
            continue
        filled = np.interp(np.arange(columns), np.flatnonzero(~few), level[~few])
        away = np.abs(filled - ndimage.median_filter(filled, COLUMN_NEIGHBOURS, mode="nearest"))
        usual = ndimage.median_filter(away, 201, mode="nearest")
        levels.append((away, usual))
        spans.append(filled)
    if spans:
        # What differs by less than a part of what orders stand out by spoils no trace.
        least = COLUMN_CONTRAST * float(np.median(spans[-1] - spans[0]))
        for away, usual in levels:
            bad |= (away > COLUMN_SIGMAS * 1.4826 * usual) & (away > least)
    return np.asarray(bad)


def median_variance(count: int) -> float:
    """Variance of the median of ``count`` normal values of variance 1, asymptotic."""
    return float(np.pi / (2 * count + 4 - np.pi))


def noise_line(values: NDArray[np.float32], noise: NDArray[np.float32], good: NDArray[np.bool_]) -> NoiseLine:
    """Variance of a pixel as a straight line in its level: that of the dark, its growth, and the least there is.

    Measured from the differences of neighbouring columns, in bins of equally many pixels by level.
    """
    level, square = values[good], np.square(noise[good], dtype=np.float64)
    if level.size < 64:
        level_off = max(float(np.mean(square)) if square.size else 1.0, 1e-30)
        return level_off, 0.0, level_off
    step = max(level.size // 50_000, 1)
    order = np.argsort(level[::step], kind="stable")
    bins = np.array_split(order, 40)
    x = np.array([np.median(level[::step][part]) for part in bins], dtype=float)
    # The median of the squared scatter of few columns is below its mean, and not that sensitive to what is no noise.
    y = np.array([np.median(square[::step][part]) for part in bins]) * 1.2
    floor = max(float(np.min(y)), 1e-12 * max(float(np.max(y)), 1e-30), 1e-30)
    weight = 1 / np.maximum(y, floor)
    slope, start = 0.0, float(np.median(y))
    for _ in range(3):
        a = np.stack([np.ones_like(x), x], axis=1) * weight[:, None]
        (start, slope), *_ = np.linalg.lstsq(a, y * weight, rcond=None)
        weight = 1 / np.maximum(start + slope * x, floor) / (1 + (np.abs(y - start - slope * x) / np.maximum(y, floor)))
    return float(start), float(max(slope, 0.0)), floor


def normalised(strips: Strips) -> NDArray[np.float32]:
    """Take the smooth level out of the strips and bring all light to about the same height; noise stays low."""
    good = strips.good.astype(np.float32)
    share = np.maximum(ndimage.uniform_filter1d(good, LOCAL_ROWS, axis=0, mode="nearest"), 1e-3)
    smooth = ndimage.uniform_filter1d(strips.values, LOCAL_ROWS, axis=0, mode="nearest") / share
    high = np.where(strips.good, strips.values - smooth, np.float32(0))
    power = ndimage.uniform_filter1d(high * high, LOCAL_ROWS, axis=0, mode="nearest") / share
    noise = ndimage.uniform_filter1d(strips.variance * good, LOCAL_ROWS, axis=0, mode="nearest") / share
    result: NDArray[np.float32] = high / np.sqrt(power + 4 * noise + 1e-30)
    return result.astype(np.float32)
