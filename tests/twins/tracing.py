"""What traces are measured on, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan


def _finite(image):
    return np.where(np.isfinite(image), image, np.nan).astype(np.float64)


@quiet_nan
def column_blocks(image, width):
    """Median and pixel noise of blocks of columns; rows by blocks."""
    image = _finite(image)
    blocks = [image[:, start : start + width] for start in range(0, image.shape[1], width)]
    medians, noise = [], []
    for block in blocks:
        median = np.nanmedian(block, axis=1)
        distance = np.nanmedian(np.abs(np.diff(block, axis=1)), axis=1) if block.shape[1] > 1 else median * np.nan
        few = 2 * np.isfinite(block).sum(axis=1) < block.shape[1]
        lost = few | np.isnan(distance)
        medians.append(np.where(lost, np.nan, median))
        noise.append(np.where(lost, np.nan, distance * 1.482602218505602 / np.sqrt(2)))
    return np.stack(medians, axis=1), np.stack(noise, axis=1)


@quiet_nan
def straight_profiles(image, traces, half, width):
    """Medians over blocks of columns of the image along traces; traces by blocks by offsets."""
    image = _finite(image)
    rows, columns = image.shape
    offsets = np.arange(-half, half + 1)
    result = []
    for trace in traces:
        between = np.full((len(offsets), columns), np.nan)
        for x in range(columns):
            y = trace[x] + offsets
            if not np.isfinite(y).all() or abs(trace[x]) > 1e9:
                continue
            low = np.floor(y).astype(int)
            share = y - low
            inside = (low >= 0) & (low + (share > 0) < rows)
            below = image[np.clip(low, 0, rows - 1), x]
            above = image[np.clip(low + 1, 0, rows - 1), x]
            value = np.where(share == 0, below, below + share * (above - below))
            between[:, x] = np.where(inside, value, np.nan)
        blocks = [between[:, start : start + width] for start in range(0, columns, width)]
        profile = [
            np.where(2 * np.isfinite(block).sum(axis=1) >= block.shape[1], np.nanmedian(block, axis=1), np.nan)
            for block in blocks
        ]
        result.append(profile)
    return np.array(result)


def _base(profile, sloped):
    size = len(profile)
    ends = max(size // 10, 1)
    left, right = profile[:ends].mean(), profile[-ends:].mean()
    if not sloped:
        return min(left, right)
    return np.interp(np.arange(size), [(ends - 1) / 2, (ends - 1) / 2 + max(size - ends, 1)], [left, right])


def _own(profiles, reach, i):
    half = profiles.shape[2] // 2
    return slice(max(reach[i][0] + half, 0), min(reach[i][1] + half + 1, profiles.shape[2]))


def mean_profiles(profiles, reach, sloped):
    """Mean profile of each strip, 1 at its highest; traces by offsets."""
    means = np.zeros((profiles.shape[0], profiles.shape[2]))
    for i, strip in enumerate(profiles.astype(np.float64)):
        own = _own(profiles, reach, i)
        blocks = [block[own] - _base(block[own], sloped[i]) for block in strip if np.isfinite(block[own]).all()]
        if not blocks or not blocks[0].size:
            continue
        heights = np.array([block.sum() for block in blocks])
        limit = np.sort(heights)[int(np.floor(0.98 * (len(heights) - 1)))]
        blocks = np.array(blocks)[heights <= limit]
        mean = blocks.sum(axis=0)
        norm = mean @ mean
        scale = blocks @ mean / norm if norm > 0 else np.zeros(len(blocks))
        away = np.sum((blocks - scale[:, None] * mean) ** 2, axis=1)
        mean = blocks[away <= 16 * np.sort(away)[(len(away) - 1) // 2]].sum(axis=0)
        mean = mean - _base(mean, sloped[i])
        if mean.max() > 0:
            means[i, own] = mean / mean.max()
    return means


def coarse_shifts(profiles, means, reach, most):
    """Whole-pixel shift and likeness of each block; two planes of traces by blocks."""
    shape = profiles.shape[:2]
    shifts, alike = np.full(shape, np.nan), np.zeros(shape)
    for i, strip in enumerate(profiles.astype(np.float64)):
        own = _own(profiles, reach, i)
        for b, block in enumerate(strip):
            for lag in range(-most[i], most[i] + 1):
                low, high = max(own.start + lag, 0), min(own.stop + lag, len(block))
                if high - low < max(int(0.8 * (own.stop - own.start)), 3):
                    continue
                seen, expected = block[low:high], means[i][low - lag : high - lag]
                if not np.isfinite(seen).all() or np.ptp(seen) == 0 or np.ptp(expected) == 0:
                    continue
                value = np.corrcoef(seen, expected)[0, 1]
                if value > alike[i, b]:
                    shifts[i, b], alike[i, b] = lag, value
    return np.stack([shifts, alike])


def fit_profiles(profiles, means, reach, sloped, noise, share):
    """Shift, its error, height, its error and level of each block; five planes of traces by blocks."""
    points = np.full((5, *profiles.shape[:2]), np.nan)
    offsets = np.arange(profiles.shape[2]) - profiles.shape[2] // 2
    for i, strip in enumerate(profiles.astype(np.float64)):
        own = _own(profiles, reach, i)
        if own.stop - own.start < 5 or not means[i].any():
            continue
        k = offsets[own]
        slope = np.gradient(means[i][own])
        inner = np.gradient(means[i])[own]
        slope[1:-1] = inner[1:-1]
        farthest = max(np.abs(k).max(), 1)
        design = np.stack([means[i][own], -slope, np.ones(len(k)), k / farthest], axis=1)
        for b, block in enumerate(strip):
            known = np.isfinite(block[own])
            if known.sum() < 5 or np.sum(slope[known] ** 2) < 0.8 * np.sum(slope**2):
                continue
            rows, values = design[known], block[own][known]
            rows = rows if sloped[i] else rows[:, :3]
            lever = np.linalg.pinv(rows)
            found = lever @ values
            variance = share * np.maximum(noise[0] + noise[1] * np.maximum(values, 0), noise[2])
            errors = np.sqrt(lever**2 @ variance)
            if found[0] > 1e-9 * np.abs(values).max():
                points[0, i, b], points[1, i, b] = found[1] / found[0], errors[1] / found[0]
            points[2:, i, b] = found[0], errors[0], found[2]
    return points
