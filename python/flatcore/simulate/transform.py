"""From the straight frame to the detector and back.

The straightening maps are Chebyshev polynomials in x and y, so that they are known between pixels too and the transform
can be inverted to any precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from flatcore.errors import UsageError

Array = NDArray[np.float64]
Image = NDArray[np.float32]

IDENTITY = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
# The inverse is solved on a grid this fine and joined by cubic splines: the maps bend over hundreds of pixels, so the
# joined inverse is good to about 1e-5 pixel.
GRID_STEP_PIXELS = 8
MOST_ITERATIONS = 60


@dataclass(frozen=True)
class Transform:
    """The straightening transform of a night.

    Attributes
    ----------
    shape
        Rows and columns of the kept frame.
    linear
        SHAPEL: (dx, dy, A, B, C, D).
    dx_coefficients, dy_coefficients
        SHAPEX and SHAPEY [pixels] as Chebyshev coefficients, x degree along the first axis and y degree along the
        second, in u = 2 (x - nx//2) / nx and v = 2 y / ny - 1.
    """

    shape: tuple[int, int]
    linear: tuple[float, ...]
    dx_coefficients: Array
    dy_coefficients: Array

    def maps(self) -> tuple[Image, Image]:
        """SHAPEX and SHAPEY on every pixel [pixels]."""
        y, x = np.arange(self.shape[0], dtype=float), np.arange(self.shape[1], dtype=float)
        u, v = self._scaled(x, y)
        dx = chebyshev.chebgrid2d(u, v, self.dx_coefficients).T
        dy = chebyshev.chebgrid2d(u, v, self.dy_coefficients).T
        return dx.astype(np.float32), dy.astype(np.float32)

    def source(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Where straight positions (x, y) lie on the detector [pixels]."""
        dx, dy, a, b, c, d = self.linear
        # Beyond the frame the polynomials would run away; nothing is lit there.
        u, v = self._scaled(x, np.clip(y, 0, self.shape[0]))
        return (
            dx + a * x + b * y + chebyshev.chebval2d(u, v, self.dx_coefficients),
            dy + c * x + d * y + chebyshev.chebval2d(u, v, self.dy_coefficients),
        )

    def trace(self, row: float) -> Array:
        """Give the detector row [pixels] of a straight row, at every detector column."""
        # A slanted slit moves the ends of the orders further.
        margin = max(16.0, 0.6 * abs(self.linear[3]) * self.shape[0])
        x = np.linspace(-margin, self.shape[1] - 1 + margin, self.shape[1])
        source_x, source_y = self.source(x, np.full_like(x, row))
        return np.interp(np.arange(self.shape[1]), source_x, source_y)

    def displacement(self) -> tuple[Image, Image]:
        """Straight position of every detector pixel, less the pixel's own position [pixels].

        Returns
        -------
        tuple of ndarray
            x and y displacement. As differences they keep their precision in single precision.

        Raises
        ------
        UsageError
            The transform folds and has no inverse.
        """
        rows, columns = (np.linspace(0, n - 1, max(n // GRID_STEP_PIXELS, 4) + 1) for n in self.shape)
        target_y, target_x = np.meshgrid(rows, columns, indexing="ij")
        x, y = target_x.copy(), target_y.copy()
        for _ in range(MOST_ITERATIONS):
            source_x, source_y = self.source(x, y)
            step_x, step_y = target_x - source_x, target_y - source_y
            x += step_x
            y += step_y
            if max(np.abs(step_x).max(), np.abs(step_y).max()) < 1e-9:
                break
        else:
            raise UsageError("simulation: warp is too large for this detector: the transform cannot be inverted")
        return self._on_every_pixel(rows, columns, x - target_x), self._on_every_pixel(rows, columns, y - target_y)

    def _on_every_pixel(self, rows: Array, columns: Array, values: Array) -> Image:
        spline = RectBivariateSpline(rows, columns, values)
        return np.asarray(spline(np.arange(self.shape[0]), np.arange(self.shape[1])), dtype=np.float32)

    def _scaled(self, x: Array, y: Array) -> tuple[Array, Array]:
        ny, nx = self.shape
        return 2 * (x - nx // 2) / nx, 2 * y / ny - 1


def zero_at_middle(coefficients: Array) -> Array:
    """Multiply a map by u, its scaled x: it vanishes at the middle column, where a trace is to be its straight row."""
    product = np.zeros((coefficients.shape[0] + 1, coefficients.shape[1]))
    for j, column in enumerate(coefficients.T):
        multiplied = chebyshev.chebmulx(column)
        product[: multiplied.size, j] = multiplied
    return product


def random_warp(rng: np.random.Generator, warp: float) -> tuple[tuple[float, ...], Array, Array]:
    """Draw the linear transform and the smooth part of both maps.

    Parameters
    ----------
    rng
        Source of the random numbers.
    warp
        Scale of everything drawn: 1 gives shifts of a few tenths of a pixel and maps of about one pixel.

    Returns
    -------
    linear : tuple of float
        SHAPEL: (dx, dy, A, B, C, D).
    dx_coefficients, dy_coefficients : ndarray
        Chebyshev coefficients as in `Transform`; the second vanishes at the middle column.
    """
    shift = rng.uniform(0.15, 0.4, 2) * rng.choice([-1, 1], 2)
    matrix = rng.uniform(-1, 1, 4) * [2e-5, 1.5e-4, 2e-5, 3e-5]
    linear = np.array(IDENTITY) + warp * np.concatenate([shift, matrix])
    tilt = np.zeros((3, 6))
    tilt[0, :] = [0, 0.2, 0.3, 0.4, 0.2, 0.1]
    tilt[1, :3] = [0.4, 0.1, 0.1]
    tilt[2, :2] = [0.1, 0.05]
    bend = np.zeros((3, 4))
    bend[:, :] = [[0.15, 0.1, 0.1, 0.05], [0.05, 0.05, 0.05, 0.0], [0.05, 0.0, 0.0, 0.0]]
    tilt *= warp * rng.uniform(-1.3, 1.3, tilt.shape)
    bend *= warp * rng.uniform(-1.3, 1.3, bend.shape)
    return tuple(linear.tolist()), tilt, zero_at_middle(bend)
