"""What a bootstrap's kernels compute, in NumPy."""

import numpy as np

from tests.twins.quiet import quiet_nan


def moved_row(dymap, y, start, end):
    """Row at column ``end`` of what is at row ``y`` in column ``start``; None off the image. Halves go up."""
    half, ny = np.float32(0.5), dymap.shape[0]
    straight = int(np.clip(np.floor(np.float32(y) - dymap[y, start] + half), 0, ny - 1))
    row = np.floor(np.float32(y) + dymap[straight, end] - dymap[straight, start] + half)
    return int(row) if 0 <= row < ny else None


@quiet_nan
def unlit_mask(image, box, percent, window, least, dymap=None):
    """Pixels below the running percentile of their ribbon's cross-order profile; lonely ones out, gaps closed."""
    ny, nx = image.shape
    dymap = np.zeros(image.shape, np.float32) if dymap is None else dymap
    floor = np.full(image.shape, np.nan)
    for start in range(0, nx, box):
        columns = range(start, min(start + box, nx))
        middle = min(start + box // 2, nx - 1)
        level = np.full((ny, len(columns)), np.nan)
        for y in range(ny):
            for k, x in enumerate(columns):
                row = moved_row(dymap, y, middle, x)
                level[y, k] = np.nan if row is None else image[row, x]
        profile = np.nanmedian(level, axis=1)
        along = np.full(ny, np.nan)
        for y in range(ny):
            near = profile[max(y - box // 2, 0) : min(y + box // 2, ny)]
            along[y] = np.nanpercentile(near, percent) if np.isfinite(near).any() else np.nan
        for y in range(ny):
            for x in columns:
                row = moved_row(dymap, y, x, middle)
                floor[y, x] = np.nan if row is None else along[row]
    dark = image < floor
    half = window // 2
    padded = np.pad(dark, ((0, 0), (half, half)))
    count = sum(padded[:, k : k + nx].astype(int) for k in range(window))
    return ((count >= least) | (dark & (count > 1))).astype(np.uint8)


@quiet_nan
def row_medians(image, half):
    """nan-median of each pixel and those to both sides."""
    nx = image.shape[1]
    return np.stack([np.nanmedian(image[:, max(x - half, 0) : x + half + 1], axis=1) for x in range(nx)], axis=1)


def between_rows(image, row, x):
    """A column's value at any row: cubic of four rows, or linear where an outer one has no value."""
    ny = image.shape[0]
    first = int(np.floor(row))
    if not 0 <= row <= ny - 1:
        return np.nan
    t = float(row) - first
    if t == 0:
        return image[first, x]
    b, c = image[first, x], image[first + 1, x]
    line = b + t * (c - b)
    if first == 0 or first + 2 >= ny:
        return line
    a, d = image[first - 1, x], image[first + 2, x]
    # The textbook form of the Catmull-Rom spline.
    cubic = 0.5 * ((2 * b) + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return line if np.isnan(cubic) else cubic


@quiet_nan
def curve_medians(image, dymap, wanted, half):
    """nan-median along the curve of the orders, pixel by pixel."""
    ny, nx = image.shape
    found = np.zeros(image.shape)
    image = image.astype(float)
    for y, x in zip(*np.nonzero(wanted), strict=True):
        # Halves away from zero, as the kernel rounds.
        row = int(np.clip(np.floor(np.float32(y) - dymap[y, x] + np.float32(0.5)), 0, ny - 1))
        values = []
        for column in range(max(x - half, 0), min(x + half, nx - 1) + 1):
            shift = dymap[row, column] - dymap[row, x]
            values.append(between_rows(image, np.float32(y) + shift, column))
        found[y, x] = np.nanmedian(values)
    return found


@quiet_nan
def median_distance(frames, factors, centre):
    """Median over the frames of the distance from an image."""
    scaled = [frame * np.float32(factor) for frame, factor in zip(frames, factors, strict=True)]
    distances = np.abs(np.array(scaled, np.float32) - centre)
    return np.nanmedian(np.where(np.isfinite(distances), distances, np.nan), axis=0)
