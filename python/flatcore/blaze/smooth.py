"""Functions of the order from smooth to rough, and how rough they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Rigid functions, which cost nothing: a constant and a straight line.
RIGID = 2


@dataclass(frozen=True)
class Smooth:
    """A basis of functions of the order.

    Attributes
    ----------
    functions
        Orders by functions: 1, a line from -1 to 1, then ever rougher ones of unit rms.
    roughness
        Square root of the sum of their squared second differences, over that of the third function; 0 of the first two.
    steps
        Change of the functions from order to order.
    """

    functions: NDArray[np.float64]
    roughness: NDArray[np.float64]
    steps: NDArray[np.float64]


def smooth_functions(orders: int, terms: int) -> Smooth:
    """Give the smoothest functions of the order.

    They are those of a smoothing spline (Demmler & Reinsch 1975, Num. Math. 24, 375).

    Parameters
    ----------
    orders
        Number of orders, at least three.
    terms
        Number of functions; at most one per order.
    """
    second = np.diff(np.eye(orders), 2, axis=0)
    roughness, functions = np.linalg.eigh(second.T @ second)
    functions *= np.sqrt(orders)
    # An eigenvector's sign is the library's choice; made positive at the end, results do not hang on it.
    functions *= np.where(functions[-1] < 0, -1.0, 1.0)
    functions[:, 0], functions[:, 1] = 1.0, np.linspace(-1.0, 1.0, orders)
    roughness[:RIGID] = 0.0
    kept = min(terms, orders)
    relative = np.sqrt(roughness[:kept] / roughness[RIGID])
    return Smooth(functions[:, :kept], relative, np.gradient(functions[:, :kept], axis=0))
