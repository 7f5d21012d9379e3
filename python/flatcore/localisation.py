"""Where the orders lie: traces of the LOC file, their move by the night's shift, and the rows to extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.errors import CalibrationError
from flatcore.fitsio import Header
from flatcore.instrument import Fiber, Traces

# No detector has so many rows.
FARTHEST_ROW = 1e6

# Up to here the normal equations of a fit lose nothing that counts: three digits of sixteen.
MOST_CONDITION = 1e3


def read_traces(header: Header, path: Path) -> NDArray[np.float64]:
    """Read the Chebyshev coefficients of all traces from a LOC file's header.

    Returns
    -------
    ndarray of float64
        LONBO rows of LODEGCTR + 1 coefficients; domain [0, number of columns], values in rows.

    Raises
    ------
    CalibrationError
        A keyword is missing or not a number; the message names it.
    """

    def number(keyword: str) -> float:
        value = header.get(keyword)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CalibrationError(f"{path}: header keyword {keyword} = {value!r}, expected a number")
        return float(value)

    kind = str(header.get("LOPTYPE", "chebyshev")).strip().lower()
    if kind != "chebyshev":
        raise CalibrationError(f"{path}: header keyword LOPTYPE = {kind!r}, expected 'chebyshev'")
    count, terms = int(number("LONBO")), int(number("LODEGCTR")) + 1
    if count < 1 or terms < 1:
        raise CalibrationError(f"{path}: LONBO = {count}, LODEGCTR = {terms - 1}: expected at least 1 and 0")
    return np.array([number(f"LOCE{i:04d}") for i in range(count * terms)]).reshape(count, terms)


def traces_of_fiber(traces: NDArray[np.float64], which: Traces) -> NDArray[np.float64]:
    """Choose a fibre's traces: all, the even or odd rows, or the mean of each pair.

    Raises
    ------
    ValueError
        Pairs are asked for, and the number of rows is odd.
    """
    if which == "all":
        return traces
    if len(traces) % 2:
        raise ValueError(f"{len(traces)} traces cannot be taken in pairs ({which})")
    even, odd = traces[0::2], traces[1::2]
    return {"even": even, "odd": odd, "pair-mean": (even + odd) / 2}[which]


def move_traces(
    traces: NDArray[np.float64], linear: tuple[float, float, float, float, float, float], columns: int
) -> NDArray[np.float64]:
    """Move traces by the night's linear transform, and refit them to their own degree.

    A point (x, y) goes to M^-1 (x, y) - (dx, dy), with M = (A B; C D).

    Parameters
    ----------
    traces
        Orders by coefficients.
    linear
        (dx, dy, A, B, C, D) of SHAPEL.
    columns
        Number of columns; the domain is [0, columns].

    Raises
    ------
    ValueError
        The transform cannot be inverted.
    """
    dx, dy, *matrix = linear
    square = np.reshape(matrix, (2, 2))
    if not np.isfinite(square).all() or abs(np.linalg.det(square)) < 1e-6:
        raise ValueError(f"the linear transform {linear} cannot be inverted")
    inverse = np.linalg.inv(square)
    x = np.arange(columns, dtype=float)
    y = chebyshev.chebval(2 * x / columns - 1, traces.T)
    new_x = inverse[0, 0] * x + inverse[0, 1] * y - dx
    new_y = inverse[1, 0] * x + inverse[1, 1] * y - dy
    return _fitted(2 * new_x / columns - 1, new_y, traces.shape[1])


def _fitted(x: NDArray[np.float64], y: NDArray[np.float64], terms: int) -> NDArray[np.float64]:
    """Fit Chebyshev polynomials to the rows of x and y; rows by coefficients.

    By the normal equations, at half the cost of an orthogonal decomposition: where rows fill the domain, polynomials
    are so near to orthogonal that nothing is lost.
    """
    products, sums = np.empty((len(x), terms, terms)), np.empty((len(x), terms))
    basis = np.empty((terms, x.shape[1]))
    for i, row in enumerate(x):
        basis[0] = 1.0
        basis[1:2] = row
        for k in range(2, terms):
            np.multiply(basis[k - 1], 2.0 * row, out=basis[k])
            basis[k] -= basis[k - 2]
        products[i], sums[i] = basis @ basis.T, basis @ y[i]
    if not np.isfinite(products).all() or np.linalg.cond(products).max(initial=0.0) > MOST_CONDITION:
        fits = [chebyshev.chebfit(row, values, terms - 1) for row, values in zip(x, y, strict=True)]
        return np.reshape(fits, (len(x), terms))
    return np.asarray(np.linalg.solve(products, sums[..., np.newaxis])[..., 0])


def straight_rows(traces: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Give the row of each straightened order: its trace at the middle column, ``columns // 2``."""
    return np.asarray(chebyshev.chebval(2 * (columns // 2) / columns - 1, traces.T), dtype=float)


def order_windows(rows: NDArray[np.float64], fiber: Fiber) -> tuple[tuple[int, int], ...]:
    """Give first row and number of rows of each order: round(c - below) to round(c + above), halves to even.

    Raises
    ------
    ValueError
        An order is further away than any detector is large.
    """
    windows = []
    for order, centre in enumerate(rows):
        if not abs(centre) < FARTHEST_ROW:
            raise ValueError(f"order {order} lies at row {centre:g}")
        first, last = round(float(centre) - fiber.below), round(float(centre) + fiber.above)
        windows.append((first, last - first + 1))
    return tuple(windows)
