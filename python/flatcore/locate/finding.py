"""Strips of light in the image straightened along the field and collapsed along the dispersion."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import find_peaks

from flatcore.locate.flow import Field, middle_rows, straightened
from flatcore.locate.settings import LocateSettings
from flatcore.locate.strips import LOCAL_ROWS, Strips, median_variance, pixel_variance

Array = NDArray[np.float64]

# Sections into which the dispersion is cut, besides the whole: what is lit only in a part stands out there.
SECTIONS = 7
# Smoothing across, as a share of the width of a strip.
SMOOTHING = 0.12
# Strips closer than this share of their width are the same one.
SAME = 0.6


@dataclass(frozen=True)
class Candidate:
    """A strip of light: its row in the middle column, its width, and by how many deviations it stands out."""

    row: float
    width: float
    significance: float


def find_candidates(
    strips: Strips, field: Field, settings: LocateSettings, smooth_width: float = 0.0
) -> tuple[Candidate, ...]:
    """Find strips in the whole and in overlapping sections of the dispersion, from low rows up."""
    middle = middle_rows(field, strips.columns)
    rows = field.rows(middle, strips.columns)
    straight, known = straightened(strips.values, strips.good, rows)
    # Halves of sections; each section is two of them.
    starts = np.linspace(0, straight.shape[1], SECTIONS + 2).astype(int)[:-1]
    sums = np.add.reduceat(straight, starts, axis=1, dtype=np.float64)
    counts = np.add.reduceat(known.astype(np.float32), starts, axis=1, dtype=np.float64)
    sizes = np.diff(np.append(starts, straight.shape[1]))
    parts = [slice(None)] + [slice(i, i + 2) for i in range(SECTIONS)]
    found: list[Candidate] = []
    for part in parts:
        level, noise = _collapsed(sums[:, part], counts[:, part], int(sizes[part].sum()), strips)
        for one in _peaks(middle, level, noise, settings):
            if all(abs(one.row - other.row) > SAME * max(one.width, other.width) for other in found):
                found.append(one)
    return tuple(sorted(found, key=lambda one: one.row))


def _collapsed(sums: Array, counts: Array, size: int, strips: Strips) -> tuple[Array, Array]:
    """Mean light per row and its standard error; NaN where less than a quarter of the blocks see it."""
    count = counts.sum(axis=1)
    enough = count >= max(0.25 * size, 4)
    level = sums.sum(axis=1) / np.maximum(count, 1)
    error = np.sqrt(pixel_variance(level, strips.noise) * median_variance(strips.width) / np.maximum(count, 1))
    return np.where(enough, level, np.nan), np.where(enough, error, np.nan)


def _peaks(middle: Array, level: Array, noise: Array, settings: LocateSettings) -> list[Candidate]:
    """Peaks of a collapsed image that stand out of their surroundings."""
    finite = np.isfinite(level)
    if finite.sum() < 8:
        return []
    first, last = np.flatnonzero(finite)[[0, -1]]
    middle, level, noise = middle[first : last + 1], level[first : last + 1], noise[first : last + 1]
    inside = np.isfinite(level)
    level = np.interp(np.arange(len(level)), np.flatnonzero(inside), level[inside])
    noise = np.interp(np.arange(len(noise)), np.flatnonzero(inside), noise[inside])
    width, found = 3.0, []
    for _ in range(3):
        sigma = SMOOTHING * width
        found = _stand_out(level, noise, sigma, settings)
        if not found:
            # Wide faint strips show only when more rows are taken together.
            width *= 2.5
            continue
        typical = float(np.median([one.width for one in found]))
        if abs(typical - width) < 0.25 * width:
            break
        width = min(max(typical, 2.0), 60.0)
    return [Candidate(float(np.interp(one.row, np.arange(len(middle)), middle)), one.width, one.significance)
            for one in found]  # fmt: skip


def _stand_out(level: Array, noise: Array, sigma: float, settings: LocateSettings) -> list[Candidate]:
    smooth = ndimage.gaussian_filter1d(level, sigma, mode="nearest")
    error = noise / np.sqrt(2 * np.sqrt(np.pi) * sigma) if sigma > 0.5 else noise
    padded = np.concatenate([[smooth.min() - 1], smooth, [smooth.min() - 1]])
    at, facts = find_peaks(padded, prominence=0, wlen=None)
    at = at - 1
    base = _base(smooth)
    positive = smooth[at] > base[at]
    at, facts = at[positive], {name: values[positive] for name, values in facts.items()}
    # The height above the valleys beside it, no further away than two orders may be.
    prominence = np.minimum(facts["prominences"], smooth[at] - base[at] + 0.0)
    keep = _separate(smooth, base, at, settings.merge)
    at, prominence = at[keep], prominence[keep]
    significance = prominence / error[at]
    bright = ndimage.maximum_filter1d(smooth - base, LOCAL_ROWS)[at]
    chosen = (significance > settings.threshold) & (prominence > settings.min_contrast * bright)
    at, significance = at[chosen], significance[chosen]
    if not len(at):
        return []
    above = smooth - base
    bounds = _valleys(above, at)
    widths = np.array([_half_width(above, int(peak), *ends) for peak, ends in zip(at, bounds, strict=True)])
    widths = np.sqrt(np.maximum(widths**2 - (2.355 * sigma) ** 2, 1.0))
    rows = _tops(above, at, widths, bounds)
    return [
        Candidate(float(r), float(w), float(s))
        for r, w, s in zip(rows, widths, significance, strict=True)
        if w <= settings.max_width
    ]


def _valleys(above: Array, at: NDArray[np.int_]) -> NDArray[np.int_]:
    """Lowest places between each peak and its neighbours; peaks by 2."""
    between = [low + int(np.argmin(above[low : high + 1])) for low, high in itertools.pairwise(at)]
    return np.stack([[0, *between], [*between, len(above) - 1]], axis=1).astype(np.int_)


def _half_width(above: Array, peak: int, first: int, last: int) -> float:
    """Full width at half the height of a peak, which ends at the valleys beside it."""
    half = 0.5 * above[peak]
    ends = []
    for side in (above[first : peak + 1][::-1], above[peak : last + 1]):
        under = np.flatnonzero(side < half)
        if not under.size:
            ends.append(float(len(side) - 1))
            continue
        at = int(under[0])
        ends.append(at - (half - side[at]) / max(side[at - 1] - side[at], 1e-30))
    return float(ends[0] + ends[1])


def _base(smooth: Array) -> Array:
    """Level between the strips: the running minimum, opened and smoothed."""
    low = ndimage.minimum_filter1d(smooth, LOCAL_ROWS, mode="nearest")
    opened = ndimage.uniform_filter1d(ndimage.maximum_filter1d(low, LOCAL_ROWS), LOCAL_ROWS)
    return np.asarray(np.minimum(opened, smooth))


def _separate(smooth: Array, base: Array, at: NDArray[np.int_], merge: float) -> NDArray[np.bool_]:
    """Which peaks stay when those with a shallow valley between them are made one."""
    kept: list[int] = []
    for i, peak in enumerate(at):
        while kept:
            other = at[kept[-1]]
            valley = smooth[other : peak + 1].min()
            place = other + int(np.argmin(smooth[other : peak + 1]))
            heights = smooth[[other, peak]] - base[place]
            if valley - base[place] < merge * heights.min():
                kept.append(i)
                break
            if smooth[peak] <= smooth[other]:
                break
            kept.pop()
        else:
            kept.append(i)
    chosen = np.zeros(len(at), bool)
    chosen[kept] = True
    return chosen


def _tops(above: Array, at: NDArray[np.int_], widths: Array, bounds: NDArray[np.int_]) -> Array:
    """Rows of peaks: the middle of their light within their width."""
    rows = np.empty(len(at))
    for i, (peak, width, (first, last)) in enumerate(zip(at, widths, bounds, strict=True)):
        half = max(round(0.6 * width), 1)
        low, high = max(peak - half, first), min(peak + half, last) + 1
        part = np.maximum(above[low:high] - min(above[low], above[high - 1]), 0)
        rows[i] = np.sum(part * np.arange(low, high)) / part.sum() if part.sum() > 0 else peak
    return rows
