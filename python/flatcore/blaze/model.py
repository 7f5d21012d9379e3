"""The sinc^2 model of a blaze, and its derivatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatcore import _core

Vector = NDArray[np.float64]

PARAMETERS = ("A", "P", "L", "Q", "C", "s")


def sinc2(x: Vector, parameters: Vector) -> tuple[Vector, Vector]:
    """Evaluate B(x) = A (sin t / t)^2 (1 + s d), with t = 2 pi (d + Q d^2 + C d^3) / P and d = x - L.

    Parameters
    ----------
    x
        Columns [pixels].
    parameters
        A, P [pixels], L [pixels], Q [1/pixels], C [1/pixels^2], s [1/pixels].

    Returns
    -------
    blaze, plain
        With and without the slope.
    """
    return _core.sinc2(x, parameters.tolist())


def sinc2_jacobian(x: Vector, parameters: Vector) -> NDArray[np.float64]:
    """Give the derivatives of :func:`sinc2` by its six parameters, columns of the result (each contiguous)."""
    return _core.sinc2_jacobian(x, parameters.tolist()).reshape(parameters.size, x.size).T
