"""Scattered light and global background, in NumPy and SciPy."""

import numpy as np
from scipy import ndimage, signal

from tests.twins.quiet import quiet_nan


@quiet_nan
def fill_nan(image):
    """Edge NaN by 0, the others pass by pass by the nan-median of their 3 x 3 neighbourhood."""
    filled = np.array(image, float)
    edge = np.ones(filled.shape, bool)
    edge[1:-1, 1:-1] = False
    filled[edge & np.isnan(filled)] = 0
    while np.isnan(filled).any():
        before = filled.copy()
        for y, x in zip(*np.nonzero(np.isnan(before)), strict=True):
            filled[y, x] = np.nanmedian(before[y - 1 : y + 2, x - 1 : x + 2])
        if np.isnan(filled).sum() == np.isnan(before).sum():
            # Infinities of both signs have no median.
            break
    return filled


def largest_divisor(size, limit):
    """The largest divisor of ``size`` that is not above ``limit``."""
    return next(d for d in range(int(limit), 0, -1) if size % d == 0)


def gaussian_kernel(dy, dx, kernel_y, kernel_x, kernel_sigma):
    """Normalised Gaussian on the block-averaged grid."""
    nx = int(2 * kernel_x * kernel_sigma / dx + 1)
    ny = int(2 * kernel_y * kernel_sigma / dy + 1)
    u = np.arange(nx) - np.arange(nx).mean()
    v = np.arange(ny) - np.arange(ny).mean()
    kernel = np.exp(-0.5 * ((u[None, :] * dx / kernel_x) ** 2 + (v[:, None] * dy / kernel_y) ** 2))
    return kernel / kernel.sum()


def scattered_light(image, amplitude, kernel_y, kernel_x, kernel_sigma):
    """Local scattered light: the block-averaged image, convolved, resized linearly and divided by ``amplitude``."""
    ny, nx = image.shape
    dy, dx = largest_divisor(ny, kernel_y), largest_divisor(nx, kernel_x)
    blocks = fill_nan(image).reshape(ny // dy, dy, nx // dx, dx).mean(axis=(1, 3))
    kernel = gaussian_kernel(dy, dx, kernel_y, kernel_x, kernel_sigma)
    smooth = signal.convolve2d(blocks, kernel, mode="same")
    return ndimage.zoom(smooth, (dy, dx), order=1, mode="constant") / amplitude


def background_cells(image, unlit, box):
    """nan-median of the unlit pixels in boxes of twice ``box`` pixels around each centre; 0 where there are none."""
    masked = np.where(unlit, image, np.nan)
    centres_y = np.arange(box, image.shape[0], box)
    centres_x = np.arange(box, image.shape[1], box)
    cells = np.zeros((centres_y.size, centres_x.size))
    for i, cy in enumerate(centres_y):
        for j, cx in enumerate(centres_x):
            value = np.nanmedian(masked[cy - box : cy + box, cx - box : cx + box])
            cells[i, j] = value if np.isfinite(value) else 0
    return cells


def resample_cells(cells, shape):
    """Quadratic spline of the cells at (y/ny (Ny-1), x/nx (Nx-1))."""
    y, x = np.indices(shape, float)
    coordinates = [y / shape[0] * (cells.shape[0] - 1), x / shape[1] * (cells.shape[1] - 1)]
    return ndimage.map_coordinates(cells, coordinates, order=2, mode="constant")


@quiet_nan
def global_background(image, unlit, box, passes=5):
    """Sum of ``passes`` resampled cell maps, each measured on what the map so far leaves."""
    total = np.zeros(image.shape)
    for _ in range(passes):
        total += resample_cells(background_cells(image - total, unlit, box), image.shape)
    return total
