"""The recipe's steps with NumPy, SciPy and bottleneck, as fast as they go without leaving plain array code.

They compute what the twins under ``tests/twins`` do, in double precision. Those are written to be read; here every
step uses the fastest call these libraries have for it: medians by bottleneck, windows by strided views instead of
rolled copies, gaps gathered instead of looped over. A ratio against them is a ratio against a good recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bottleneck
import numpy as np
from astropy.io import fits
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage, signal
from threadpoolctl import threadpool_limits

from tests.twins.background import gaussian_kernel, largest_divisor
from tests.twins.blaze import fit_filtered
from tests.twins.extract import window
from tests.twins.quiet import quiet_nan

Doubles = NDArray[np.float64]
Floats = NDArray[np.floating]

# Rows of an image that are worked on together.
BAND = 64


def read_stack(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Read the frames' images into one stack in the machine's byte order."""
    images = [fits.open(path, memmap=True) for path in paths]
    try:
        first = images[0][1].data
        stack = np.empty((len(images), *first.shape), np.float32)
        for frame, hdus in zip(stack, images, strict=True):
            frame[:] = hdus[1].data
        return stack
    finally:
        for hdus in images:
            hdus.close()


def median_of_frames(stack: Floats) -> Floats:
    """Median of every pixel over the frames."""
    return bottleneck.nanmedian(stack, axis=0)


def fill_nan(image: Doubles) -> Doubles:
    """Edge NaN by 0, the others pass by pass by the nan-median of their 3 x 3 neighbourhood."""
    filled = image.copy()
    for edge in (filled[0], filled[-1], filled[:, 0], filled[:, -1]):
        edge[np.isnan(edge)] = 0
    y, x = np.nonzero(np.isnan(filled))
    while y.size:
        around = np.stack([filled[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=1)
        filled[y, x] = bottleneck.nanmedian(around, axis=1)
        left = np.isnan(filled[y, x])
        if left.all():
            break
        y, x = y[left], x[left]
    return filled


def scattered_light(image: Doubles, amplitude: float, kernel_y: float, kernel_x: float, kernel_sigma: float) -> Doubles:
    """Local scattered light: block averages, convolved, resized linearly and divided by ``amplitude``."""
    ny, nx = image.shape
    dy, dx = largest_divisor(ny, kernel_y), largest_divisor(nx, kernel_x)
    blocks = fill_nan(image).reshape(ny // dy, dy, nx // dx, dx).mean(axis=(1, 3))
    smooth = signal.convolve2d(blocks, gaussian_kernel(dy, dx, kernel_y, kernel_x, kernel_sigma), mode="same")
    return ndimage.zoom(smooth, (dy, dx), order=1, mode="constant") / amplitude


def global_background(image: Doubles, unlit: NDArray[np.bool_], box: int, passes: int) -> Doubles:
    """Sum of the passes' cell maps, each measured on the unlit pixels of what the map so far leaves."""
    ny, nx = image.shape
    centres_y, centres_x = np.arange(box, ny, box), np.arange(box, nx, box)
    y, x = np.indices(image.shape, float)
    places = np.stack([y / ny * (centres_y.size - 1), x / nx * (centres_x.size - 1)])
    total = np.zeros(image.shape)
    for _ in range(passes):
        left = np.where(unlit, image - total, np.nan)
        cells = np.array(
            [
                [bottleneck.nanmedian(left[cy - box : cy + box, cx - box : cx + box]) for cx in centres_x]
                for cy in centres_y
            ]
        )
        total += ndimage.map_coordinates(np.nan_to_num(cells, nan=0.0), places, order=2, mode="constant")
    return total


@quiet_nan
def subtract_background(
    image: Floats,
    unlit: NDArray[np.bool_],
    box: int,
    scattered: tuple[float, float, float, float],
    passes: int = 5,
) -> Doubles:
    """The image minus its global background, measured where scattered light is taken out."""
    image = image.astype(float)
    cleaned = image - scattered_light(image, *scattered) if scattered[0] > 0 else image
    return image - global_background(cleaned, unlit, box, passes)


def running_five(flat: Doubles) -> NDArray[np.float64]:
    """Windows of five samples of a wrapping row, a view."""
    return sliding_window_view(np.concatenate([flat[-2:], flat, flat[:2]]), 5)


def around(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """Windows of 3 x 3 pixels of an image that wraps in both axes, a view."""
    return sliding_window_view(np.pad(image, 1, mode="wrap"), (3, 3))


def median_around(image: Doubles) -> Doubles:
    """nan-median of the 3 x 3 neighbourhood, wrapping."""
    windows = around(image)
    result = np.empty(image.shape)
    # By bands of rows: nine copies of a whole image cost more in fresh memory than in sorting.
    for y in range(0, len(image), BAND):
        band = windows[y : y + BAND]
        result[y : y + BAND] = bottleneck.nanmedian(band.reshape(*band.shape[:2], 9), axis=-1)
    return result


@quiet_nan
def repair_hot_pixels(image: Floats, bad: NDArray[np.uint8], threshold: float = 10.0) -> Doubles:
    """Replace bad pixels that have enough good neighbours."""
    image = image.astype(float)
    medians = bottleneck.nanmedian(running_five(image.ravel()), axis=-1)
    wrapped = np.concatenate([medians[-2:], medians, medians[:2]])
    smooth = sum(wrapped[k : k + medians.size] for k in range(5)) / 5
    residual = np.abs(image - smooth.reshape(image.shape))
    scale = median_around(residual)
    floor = bottleneck.nanmedian(scale) / 2
    scale = np.where(scale < floor, floor, scale)
    good = ~((residual > threshold * scale) | (bad != 0) | ~np.isfinite(image))
    # Only the few bad pixels need their neighbours.
    y, x = np.nonzero(~good)
    whole = around(good)[y, x].reshape(-1, 9)
    values = np.where(whole, around(image)[y, x].reshape(-1, 9), 0.0)
    count = whole.sum(axis=1)
    edges, corners = values[:, 1::2].sum(axis=1), values[:, [0, 2, 6, 8]].sum(axis=1)
    new = np.where(count == 8, 2 * edges / 4 - corners / 4, (edges + corners) / np.maximum(count, 1))
    repairable = count >= 6
    repaired = image.copy()
    repaired[y[repairable], x[repairable]] = new[repairable]
    return repaired


def source_positions(linear: Sequence[float], dxmap: Floats, dymap: Floats) -> Doubles:
    """Where each output pixel lies in the input, (y', x'): the same for every image of a night."""
    dx, dy, a, b, c, d = linear
    y, x = np.indices(dxmap.shape, float)
    return np.stack([dy + c * x + d * y + dymap, dx + a * x + b * y + dxmap])


@quiet_nan
def straighten(image: Floats, positions: Doubles, min_weight: float = 0.5) -> Doubles:
    """The image at its source positions by two interpolations: of the values, and of where there are any."""
    valid = np.isfinite(image)
    values = ndimage.map_coordinates(
        np.where(valid, image, 0.0), positions, np.float64, order=2, mode="constant", cval=np.nan
    )
    weights = ndimage.map_coordinates(valid.astype(float), positions, order=2, mode="constant", cval=0.0)
    return np.where(weights < min_weight, np.nan, values / weights)


@quiet_nan
def extract_order(
    pixels: Doubles, profile: Doubles, threshold: float | None
) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
    """E2DS, E2DSLL and E2DSCC of one order's rows; all columns at once."""
    total = bottleneck.nansum(profile, axis=0)
    profile = np.where(total > 0, profile / np.where(total > 0, total, 1.0), 1.0)
    amplitude = bottleneck.nanmedian(pixels / profile, axis=0)
    distance = np.abs(pixels - amplitude * profile)
    ratio = distance / bottleneck.nanmedian(distance, axis=0)
    kept = np.isfinite(ratio) if threshold is None else ratio < threshold
    norm = np.sum(profile * profile, axis=0, where=kept)
    stacked = np.where(kept, pixels * profile / norm, np.nan)
    spectrum = np.where(kept.any(axis=0), bottleneck.nansum(stacked, axis=0), np.nan)
    return spectrum, stacked, kept


def extract_fiber(
    image: Floats, profile: Floats, windows: Sequence[tuple[int, int]], threshold: float | None
) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
    """E2DS of a fibre's orders, and the rows of E2DSLL and E2DSCC of all of them."""
    orders = [
        extract_order(window(image, first, count), window(profile, first, count), threshold) for first, count in windows
    ]
    spectra, stacked, kept = zip(*orders, strict=True)
    return np.array(spectra), np.concatenate(stacked), np.concatenate(kept)


@quiet_nan
def extract_by_column(
    image: Floats, profile: Floats, windows: Sequence[tuple[int, int]], threshold: float | None
) -> Doubles:
    """E2DS of a fibre's orders, column by column: how recipes are often written, and what that costs."""
    spectra = np.full((len(windows), image.shape[1]), np.nan)
    for order, (first, count) in enumerate(windows):
        pixels, shape = window(image, first, count), window(profile, first, count)
        for x in range(image.shape[1]):
            s, f = pixels[:, x], shape[:, x]
            total = bottleneck.nansum(f)
            f = f / total if total > 0 else np.ones(count)
            distance = np.abs(s - bottleneck.nanmedian(s / f) * f)
            ratio = distance / bottleneck.nanmedian(distance)
            kept = np.isfinite(ratio) if threshold is None else ratio < threshold
            if kept.any():
                spectra[order, x] = np.sum(s[kept] * f[kept]) / np.sum(f[kept] ** 2)
    return spectra


def running_median(row: Doubles, width: int) -> Doubles:
    """Centred nan-median that shrinks at the ends; NaN below ``width // 2`` finite samples."""
    padded = np.pad(row, ((width - 1) // 2, width // 2), constant_values=np.nan)
    windows = sliding_window_view(padded, width)
    finite = np.isfinite(windows).sum(axis=1)
    return np.where(finite >= width // 2, bottleneck.nanmedian(windows, axis=1), np.nan)


@quiet_nan
def fit_blaze(e2ds: Doubles, width: int, cut: float, cubic: bool) -> tuple[Doubles, NDArray[np.bool_], Doubles]:
    """Blaze of one order, the pixels it was fitted on and its parameters: curve_fit without a Jacobian, twice."""
    return fit_filtered(running_median(e2ds, width), cut, cubic)


def fit_orders(e2ds: Doubles, width: int, cut: float, cubic: bool) -> list[tuple[Doubles, NDArray[np.bool_], Doubles]]:
    """:func:`fit_blaze` of every order of a fibre."""
    # Threads of the linear algebra only wait for one another on matrices so small; without them the fits take a third.
    with threadpool_limits(1, user_api="blas"):
        return [fit_blaze(order, width, cut, cubic) for order in e2ds]
