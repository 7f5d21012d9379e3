"""How wide a strip is, where it ends, and which rows to extract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.locate.following import Points, Profiles
from flatcore.locate.settings import LocateSettings
from flatcore.locate.strips import NoiseLine, pixel_variance

Array = NDArray[np.float64]

# Pieces of a strip in which its width is measured by itself.
PIECES = 8
# A strip is lit where its height is at least so many errors, and it may be dark for so many blocks in between.
LIT_SIGMAS = 3.0
# The middle of a strip is measured on the light above this many times that in the valleys beside it.
VALLEYS = 3.0


@dataclass(frozen=True)
class Extent:
    """Of one strip, in pixels from its trace.

    Attributes
    ----------
    centre
        Middle of the light.
    fwhm
        Full width at half maximum; NaN where the profile has no half.
    lower, upper
        Where the profile falls to the edge level.
    below, above
        Where it falls to the window level, or ends at its neighbour.
    """

    centre: float
    fwhm: float
    lower: float
    upper: float
    below: float
    above: float


def measure_extent(offsets: Array, mean: Array, settings: LocateSettings) -> Extent:
    """Measure a mean profile (1 at its highest)."""
    lit = np.flatnonzero(mean >= 0.5)
    nothing = Extent(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    if not lit.size:
        return nothing
    low, high = _crossing(offsets, mean, lit, 0.5)
    lower, upper = _crossing(offsets, mean, lit, settings.edge_level)
    below, above = _crossing(offsets, mean, lit, settings.window_level)
    return Extent(_centre(offsets, mean, lit, settings.edge_level), high - low, lower, upper, -below, above)


def _crossing(offsets: Array, mean: Array, lit: NDArray[np.int_], level: float) -> tuple[float, float]:
    """Where a profile falls below a level on both sides, seen from outside its brightest half."""
    first, last = int(lit[0]), int(lit[-1])
    # Dips between slices are not its ends; a neighbour's flank is not part of it.
    while first > 0 and mean[first - 1] >= level:
        first -= 1
    while last < len(mean) - 1 and mean[last + 1] >= level:
        last += 1
    low = offsets[first]
    if first > 0:
        low -= (mean[first] - level) / max(mean[first] - mean[first - 1], 1e-12)
    high = offsets[last]
    if last < len(mean) - 1:
        high += (mean[last] - level) / max(mean[last] - mean[last + 1], 1e-12)
    return float(low), float(high)


def _centre(offsets: Array, mean: Array, lit: NDArray[np.int_], level: float) -> float:
    """Centroid of the light above a level: the edge level, or well above what neighbours add on one side."""
    seen = np.flatnonzero(mean != 0)
    level = float(np.clip(VALLEYS * max(mean[seen[0]], mean[seen[-1]]), level, 0.5))
    low, high = _crossing(offsets, mean, lit, level)
    fine = np.linspace(low, high, 101)
    light = np.maximum(np.interp(fine, offsets, mean) - level, 0)
    return float((fine * light).sum() / light.sum()) if light.sum() > 0 else float("nan")


def widths_along(profiles: Profiles, points: Points, scaled: Array, index: int) -> tuple[Array, Array]:
    """Width of a strip in pieces along the dispersion: scaled columns and widths; empty where none can be measured."""
    blocks = profiles.values.shape[1]
    own = profiles.own(index)
    where, found = [], []
    lit = points.height[index] > LIT_SIGMAS * points.height_error[index]
    for part in np.array_split(np.arange(blocks), min(PIECES, blocks)):
        seen = part[lit[part]]
        if seen.size < 2:
            continue
        strip = profiles.values[index][seen, own].astype(np.float64)
        strip = strip[np.isfinite(strip).all(axis=1)]
        if len(strip) < 2:
            continue
        mean = above_base(strip.mean(axis=0), bool(profiles.alone[index]))
        top = mean.max()
        if top <= 0:
            continue
        lit_half = np.flatnonzero(mean >= 0.5 * top)
        low, high = _crossing(profiles.offsets[own], mean / top, lit_half, 0.5)
        where.append(float(scaled[seen].mean()))
        found.append(high - low)
    return np.array(where), np.array(found)


def above_base(profile: Array, sloped: bool) -> Array:
    """Take the light beside a strip out of its profile, as the kernel of mean profiles does."""
    size = len(profile)
    ends = max(size // 10, 1)
    left, right = profile[:ends].mean(), profile[-ends:].mean()
    if not sloped:
        return np.asarray(profile - min(left, right))
    start = (ends - 1) / 2
    return np.asarray(profile - np.interp(np.arange(size), [start, start + max(size - ends, 1)], [left, right]))


def width_polynomial(where: Array, widths: Array, typical: float) -> Array:
    """Chebyshev coefficients of the width along the columns: of degree 2 where there are enough pieces."""
    if len(where) < 3 or np.ptp(where) < 0.5:
        return np.array([typical, 0.0, 0.0])
    middle = np.median(widths)
    good = np.abs(widths - middle) <= 4 * 1.4826 * np.median(np.abs(widths - middle)) + 0.05 * middle
    degree = 2 if good.sum() >= 6 and np.ptp(where[good]) > 1.0 else 1
    found = chebyshev.chebfit(where[good], widths[good], degree)
    return np.concatenate([found, np.zeros(2 - degree)])


def column_snr(profiles: Profiles, means: Array, points: Points, noise: NoiseLine) -> Array:
    """Signal to noise per column of each block, weighted by the profile; traces by blocks, 0 where there is none."""
    height = np.nan_to_num(np.maximum(points.height, 0.0))
    level = np.nan_to_num(np.maximum(points.level, 0.0))
    snr = np.zeros(height.shape)
    for i in range(len(height)):
        mean = np.maximum(means[i][profiles.own(i)], 0.0)
        light = height[i][:, None] * mean
        variance = pixel_variance(level[i][:, None] + light, noise)
        snr[i] = np.sqrt((light**2 / variance).sum(axis=1))
    return snr


def lit_columns(lit: NDArray[np.bool_], columns: Array, width: int, count: int) -> tuple[int, int, int]:
    """First and last column over which a strip is followed, and the number of lit columns; gaps are bridged.

    Single blocks far from all others do not count: noise is lit now and then.
    """
    near = np.convolve(lit, np.ones(5), mode="same") >= 3
    steady = lit & near if lit.size >= 5 else lit
    if not steady.any():
        return 0, -1, 0
    at = np.flatnonzero(steady)
    half = (width - 1) / 2
    first = max(int(columns[at[0]] - half), 0)
    last = min(int(np.ceil(columns[at[-1]] + half)), count - 1)
    return first, last, min(int(steady.sum()) * width, count)
