"""What the other orders say of an order's blaze: the shape of its neighbours, and predicted parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from flatcore.blaze.model import Vector, sinc2

# Nearest orders whose shapes an order is held to: a straight line through eight bears two that are wrong.
NEIGHBOURS = 8
NEAREST = 5
# Fewer than this say nothing, and predict nothing.
LEAST_ORDERS = 5
# Columns at which shapes are compared.
SAMPLES = 64
HIGHEST_DEGREE = 5
ORDERS_PER_TERM = 6
# Times the typical departure beyond which an order is out of line, where the orders differ much among themselves.
TIMES_TYPICAL = 5.0
# P, L, Q, C: the terms that follow from the spectrograph, not from the lamp.
SHAPE_TERMS = (1, 2, 3, 4)
ITERATIONS = 20
BIWEIGHT = 6.0


@dataclass(frozen=True)
class Across:
    """Accepted sinc^2 fits of a fibre, by order.

    Attributes
    ----------
    parameters
        Of the accepted orders.
    columns
        Columns of the detector.
    grating
        Predict by the grating's own form in place of polynomials.
    """

    parameters: Mapping[int, Vector]
    columns: int
    grating: bool = False

    @cached_property
    def _shapes(self) -> dict[int, Vector]:
        return {order: self.shape(values) for order, values in self.parameters.items()}

    @cached_property
    def _sample(self) -> Vector:
        return np.linspace(0.0, self.columns - 1.0, SAMPLES)

    def shape(self, parameters: Vector) -> Vector:
        """Blaze over its greatest value, at a sample of columns."""
        with np.errstate(all="ignore"):
            blaze = sinc2(self._sample, parameters)[0]
            shape: Vector = blaze / blaze.max()
        return shape

    def departure(self, order: int, parameters: Vector) -> float | None:
        """Greatest difference from the shape that follows from the neighbours; None where there are too few.

        That shape is, at each column, the Theil-Sen line through the neighbours' shapes (Sen 1968, JASA 63, 1379), or
        the median of the nearest: whichever is closer, for a line says little beyond the first and the last order.
        """
        near = self._near(order)
        if len(near) < LEAST_ORDERS:
            return None
        return float(self._departures([order], [near], self.shape(parameters)[None])[0])

    @cached_property
    def departures(self) -> dict[int, float | None]:
        """Departure of each accepted order."""
        orders = list(self.parameters)
        if len(orders) - 1 < LEAST_ORDERS:
            return dict.fromkeys(orders)
        shapes = np.stack([self._shapes[order] for order in orders])
        found = self._departures(orders, [self._near(order) for order in orders], shapes)
        return dict(zip(orders, found.tolist(), strict=True))

    def _near(self, order: int) -> list[int]:
        """Give the accepted orders nearest to an order, without itself."""
        return sorted((k for k in self.parameters if k != order), key=lambda k: (abs(k - order), k))[:NEIGHBOURS]

    def _departures(self, orders: Sequence[int], near: Sequence[Sequence[int]], shapes: Vector) -> Vector:
        """Departure of several orders at once, each from as many others; infinite where it is not finite."""
        distances = np.array(near, dtype=float) - np.array(orders, dtype=float)[:, None]
        # Orders by columns by others: medians run along what lies together.
        others = np.stack([np.stack([self._shapes[k] for k in row], axis=-1) for row in near])
        first, second = np.triu_indices(others.shape[-1], 1)
        runs = (distances[:, first] - distances[:, second])[:, None]
        slopes = np.median((others[..., first] - others[..., second]) / runs, axis=-1)
        lines = np.median(others - distances[:, None] * slopes[..., None], axis=-1)
        medians = np.median(others[..., :NEAREST], axis=-1)
        off = [np.abs(shapes - expected).max(axis=1) for expected in (lines, medians)]
        found = np.where(off[1] < off[0], off[1], off[0])
        return np.where(np.isfinite(found), found, np.inf)

    @cached_property
    def typical_departure(self) -> float:
        """Median departure of the accepted orders."""
        known = [value for value in self.departures.values() if value is not None]
        return float(np.median(known)) if known else 0.0

    def limit(self, least: float) -> float:
        """Departure beyond which an order is out of line."""
        return max(least, TIMES_TYPICAL * self.typical_departure)

    def without(self, orders: set[int]) -> Across:
        """Leave orders out."""
        kept = {order: values for order, values in self.parameters.items() if order not in orders}
        return Across(kept, self.columns, self.grating)

    def confirms(self, order: int, parameters: Vector, limit: float) -> bool:
        """Tell whether an order's shape is that which the other orders predict; its slope is its own."""
        found = self.predicted(order)
        if found is None:
            return False
        expected = np.array([*found[0][:5], parameters[5]])
        return bool(np.abs(self.shape(parameters) - self.shape(expected)).max() < limit)

    def predicted(self, order: int) -> tuple[Vector, Vector] | None:
        """Predict the shape of an order: parameters (A 1, s 0) and the scatter of the other orders about them.

        Polynomials in the order's index, fitted with Tukey's biweight; None where too few orders are accepted. The
        grating's form: the phase of the sinc is m (lambda - lambda_blaze) / lambda times a constant of the grating,
        and the dispersion in pixels goes with 1 / m: 1 / P is linear in m, and so are, to first order, the others.
        """
        known = np.array([k for k in sorted(self.parameters) if k != order], dtype=float)
        if known.size < LEAST_ORDERS:
            return None
        values = np.array([self.parameters[int(k)] for k in known])
        middle, span = (known.max() + known.min()) / 2, max(known.max() - known.min(), 1.0) / 2
        x, at = (known - middle) / span, (order - middle) / span
        degree = 1 if self.grating else min(HIGHEST_DEGREE, max(1, known.size // ORDERS_PER_TERM))
        parameters, scatter = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), np.zeros(6)
        for term in SHAPE_TERMS:
            y = values[:, term]
            if term == 1 and self.grating:
                inverse, deviation = _robust_value(x, 1.0 / y, degree, at)
                parameters[term], scatter[term] = 1.0 / inverse, deviation / inverse**2
            else:
                parameters[term], scatter[term] = _robust_value(x, y, degree, at)
        sensible = np.isfinite(parameters).all() and parameters[1] > 0
        return (parameters, scatter) if sensible else None


def _robust_value(x: Vector, y: Vector, degree: int, at: float) -> tuple[float, float]:
    """Value of a robust polynomial, and the scatter about it."""
    weights: NDArray[np.float64] = np.ones(x.size)
    scale = 0.0
    for _ in range(ITERATIONS):
        coefficients = polynomial.polyfit(x, y, degree, w=np.sqrt(weights))
        residual = np.abs(y - polynomial.polyval(x, coefficients))
        scale = 1.4826 * float(np.median(residual))
        if scale <= 1e-12 * float(np.abs(y).max()):
            break
        weights = np.square(1.0 - np.square(np.minimum(residual / (BIWEIGHT * scale), 1.0)))
    return float(polynomial.polyval(at, coefficients)), scale
