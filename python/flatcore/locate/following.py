"""Following strips along the dispersion: every block of columns is compared with the strip's own mean profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.locate.strips import median_variance, pixel_variance

Array = NDArray[np.float64]

# Profiles reach this many widths to each side, but not past the middle to the next strip.
REACH = 1.6
# A block counts where at least this share of the profile's slopes is seen.
LEAST_SEEN = 0.8


@dataclass(frozen=True)
class Profiles:
    """Strips straightened along their traces.

    Attributes
    ----------
    values
        Traces by blocks by offsets from the trace; NaN for no value.
    offsets
        -half ... half [pixels].
    reach
        Offsets at which each strip ends below and above; traces by 2.
    columns
        Middle column of each block.
    width
        Columns of a block.
    """

    values: NDArray[np.float32]
    offsets: Array
    reach: Array
    columns: Array
    width: int

    @property
    def own(self) -> NDArray[np.bool_]:
        """Offsets that belong to each strip."""
        return (self.offsets >= self.reach[:, :1]) & (self.offsets <= self.reach[:, 1:])


@dataclass(frozen=True)
class Points:
    """What the blocks say of their strips; traces by blocks.

    Attributes
    ----------
    shift
        Of the strip from the trace it was straightened along [pixels]; NaN where it cannot be told.
    error
        Its standard error [pixels].
    height
        Of the profile, relative to the mean one.
    height_error
        Its standard error.
    level
        Light below the strip.
    """

    shift: Array
    error: Array
    height: Array
    height_error: Array
    level: Array


def straighten_strips(image: NDArray[np.float32], rows: Array, widths: Array, block: int) -> Profiles:
    """Straighten strips along their traces.

    Parameters
    ----------
    rows
        Traces by columns, from low rows up.
    widths
        Width at half maximum of each strip.
    block
        Columns of a block.
    """
    columns = image.shape[1]
    far = np.maximum(REACH * widths, 2.0) + 2
    below, above = -far, far.copy()
    if len(rows) > 1:
        gap = np.median(np.diff(rows, axis=0), axis=1)
        below[1:] = np.maximum(below[1:], -gap / 2)
        above[:-1] = np.minimum(above[:-1], gap / 2)
    half = int(np.ceil(max(-below.min(), above.max())))
    values = _core.straight_profiles(image, np.ascontiguousarray(rows), half, block)
    starts = np.arange(0, columns, block)
    middles = starts + (np.minimum(block, columns - starts) - 1) / 2
    return Profiles(values, np.arange(-half, half + 1.0), np.stack([below, above], axis=1), middles, block)


def mean_profiles(profiles: Profiles) -> Array:
    """Mean profile of each strip above the light beside it, 1 at its highest; traces by offsets, 0 outside."""
    own = profiles.own
    values = np.where(own[:, None, :], profiles.values, np.nan).astype(np.float64)
    result = np.zeros(own.shape)
    for i, (strip, mine) in enumerate(zip(values, own, strict=True)):
        whole = np.isfinite(strip[:, mine]).all(axis=1)
        if not whole.any():
            continue
        blocks = strip[whole][:, mine]
        # Blocks that something has hit are no part of the mean.
        blocks = blocks - _beside(blocks)
        height = blocks.sum(axis=1)
        kept = height <= np.percentile(height, 98)
        mean = blocks[kept].mean(axis=0)
        mean -= _beside(mean[None])[0]
        top = mean.max()
        if top > 0:
            result[i, mine] = mean / top
    return result


def _beside(blocks: Array) -> Array:
    """Straight line through the light at both ends of each profile."""
    count = blocks.shape[1]
    ends = max(count // 10, 1)
    left, right = blocks[:, :ends].mean(axis=1), blocks[:, -ends:].mean(axis=1)
    share = np.clip((np.arange(count) - (ends - 1) / 2) / max(count - ends, 1), 0, 1)
    return left[:, None] * (1 - share) + right[:, None] * share


def coarse_shifts(profiles: Profiles, means: Array, most: Array) -> tuple[Array, Array]:
    """Whole-pixel shift at which each block is most like its strip's mean profile, and how alike (0 to 1).

    Parameters
    ----------
    most
        Largest shift of each strip.
    """
    count, blocks, samples = profiles.values.shape
    shifts, alike = np.full((count, blocks), np.nan), np.zeros((count, blocks))
    for i in range(count):
        data = profiles.values[i].astype(np.float64)
        data = np.where(np.isfinite(data), data, np.nan)
        mean, own = means[i], profiles.own[i]
        if not mean.any():
            continue
        lags = np.arange(-int(most[i]), int(most[i]) + 1)
        scores = np.full((len(lags), blocks), -np.inf)
        for j, lag in enumerate(lags):
            moved = np.roll(own, lag)
            if lag > 0:
                moved[:lag] = False
            elif lag < 0:
                moved[lag:] = False
            if moved.sum() < max(0.8 * own.sum(), 3):
                continue
            expected = np.roll(mean, lag)[moved]
            seen = data[:, moved]
            expected = expected - expected.mean()
            seen = seen - seen.mean(axis=1, keepdims=True)
            norm = np.sqrt((expected**2).sum() * (seen**2).sum(axis=1)) + 1e-30
            scores[j] = np.where(np.isfinite(norm), seen @ expected / norm, -np.inf)
        best = scores.argmax(axis=0)
        top = scores.max(axis=0)
        known = np.isfinite(top) & (top > 0)
        shifts[i] = np.where(known, lags[best], np.nan)
        alike[i] = np.where(known, top, 0.0)
    return shifts, alike


def measure(profiles: Profiles, means: Array, noise: tuple[float, float, float]) -> Points:
    """Fit each block by its strip's mean profile, its slope (which is a shift), and a straight line below it."""
    count, blocks, _ = profiles.values.shape
    names = [np.full((count, blocks), np.nan) for _ in range(5)]
    shift, error, height, height_error, level = names
    share = median_variance(profiles.width)
    for i in range(count):
        own = profiles.own[i]
        if not means[i].any() or own.sum() < 5:
            continue
        k = profiles.offsets[own]
        mean = means[i][own]
        slope = np.gradient(means[i])[own]
        design = np.stack([mean, -slope, np.ones_like(k), k / max(abs(k).max(), 1)], axis=1)
        data = profiles.values[i][:, own].astype(np.float64)
        known = np.isfinite(data)
        data = np.where(known, data, 0.0)
        seen = known @ slope**2 / max(float(np.sum(slope**2)), 1e-30)
        use = np.flatnonzero((seen >= LEAST_SEEN) & (known.sum(axis=1) >= 5))
        if not use.size:
            continue
        data, known = data[use], known[use].astype(np.float64)
        normal = np.einsum("bk,ki,kj->bij", known, design, design) + 1e-9 * np.eye(4)
        inverse = np.linalg.inv(normal)
        found = np.einsum("bij,bj->bi", inverse, (known * data) @ design)
        variance = known * pixel_variance(np.maximum(data, 0), noise) * share
        middle = np.einsum("bk,ki,kj->bij", variance, design, design)
        covariance = inverse @ middle @ inverse
        a = found[:, 0]
        safe = np.where(a > 0, a, np.nan)
        height[i, use], height_error[i, use] = a, np.sqrt(covariance[:, 0, 0])
        shift[i, use] = found[:, 1] / safe
        error[i, use] = np.sqrt(covariance[:, 1, 1]) / safe
        level[i, use] = found[:, 2]
    return Points(shift, error, height, height_error, level)
