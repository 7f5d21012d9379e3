"""The blazes of all orders as one function: a grating's phase, and a lamp's spectrum, smooth in the order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flatcore.blaze.model import Vector
from flatcore.blaze.smooth import Smooth, smooth_functions

# Functions of the order for 1/P, L, Q, C and the tilt, and for the lamp.
SHAPE_FUNCTIONS, LAMP_FUNCTIONS = 10, 24
SHAPE_TERMS = (1, 2, 3, 4, 5)
# A period is never longer than this many times the typical one.
LONGEST_PERIOD = 1e3


@dataclass(frozen=True)
class JointModel:
    """All parameters of all orders, as functions of few coefficients.

    With k the order's index, f_j the smooth functions of it and P0 a typical period [pixels]::

        ln A = sum a_j f_j(k) + e_k              the lamp, and what an order departs from it
        P0 / P = sum p_j f_j(k)                  linear in k for a grating
        L / P0, Q P0, C P0^2 = sums of f_j(k)    constant for a grating
        s P0 = sum t_j f_j(k) + g (2 P0 / P) d(sum a_j f_j) / dk

    The last term is the lamp's slope along the order: neighbouring orders are a free spectral range apart, which is
    half a period of theirs. The coefficients are, in this order, a, p, those of L, Q and C, t, g, and e.

    Attributes
    ----------
    orders
        Number of orders.
    period
        P0.
    """

    orders: int
    period: float

    @cached_property
    def shape(self) -> Smooth:
        """Functions of the order for 1/P, L, Q, C and the tilt."""
        return smooth_functions(self.orders, SHAPE_FUNCTIONS)

    @cached_property
    def lamp(self) -> Smooth:
        """Functions of the order for the lamp."""
        return smooth_functions(self.orders, LAMP_FUNCTIONS)

    @property
    def units(self) -> Vector:
        """Units of A, P, L, Q, C, s."""
        p = self.period
        return np.array([1.0, p, p, 1 / p, 1 / p**2, 1 / p])

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.coupling + 1 + self.orders

    @property
    def coupling(self) -> int:
        """Place of g."""
        return self.lamp.roughness.size + len(SHAPE_TERMS) * self.shape.roughness.size

    @property
    def departures(self) -> slice:
        """Places of e."""
        return slice(self.coupling + 1, self.size)

    def part(self, term: int) -> slice:
        """Places of the coefficients of a term: 0 for the lamp, then P, L, Q, C, s."""
        lamp, shape = self.lamp.roughness.size, self.shape.roughness.size
        return slice(0, lamp) if term == 0 else slice(lamp + (term - 1) * shape, lamp + term * shape)

    def functions(self, term: int) -> Smooth:
        """Functions of the order of a term."""
        return self.shape if term else self.lamp

    def lamp_level(self, coefficients: Vector) -> Vector:
        """Amplitude that the lamp alone lets expect, per order."""
        level: Vector = np.exp(self.lamp.functions @ coefficients[self.part(0)])
        return level

    def parameters(self, coefficients: Vector) -> Vector:
        """Give A, P, L, Q, C, s of every order, orders by parameters."""
        return self.with_derivatives(coefficients)[0]

    def with_derivatives(self, coefficients: Vector) -> tuple[Vector, NDArray[np.float64]]:
        """Give A, P, L, Q, C, s of every order, and their derivatives: orders by parameters (by coefficients)."""
        every = np.arange(self.orders)
        values = np.zeros((self.orders, 6))
        slopes = np.zeros((self.orders, 6, self.size))
        lamp, departures = self.part(0), self.departures
        values[:, 0] = self.lamp_level(coefficients) * np.exp(coefficients[departures])
        slopes[:, 0, lamp] = values[:, :1] * self.lamp.functions
        slopes[every, 0, departures.start + every] = values[:, 0]
        for term in SHAPE_TERMS:
            place, functions = self.part(term), self.shape.functions
            values[:, term] = functions @ coefficients[place] * self.units[term]
            slopes[:, term, place] = functions * self.units[term]
        inverse = np.maximum(values[:, 1] / self.period, 1 / LONGEST_PERIOD)
        values[:, 1] = self.period / inverse
        slopes[:, 1] *= -1 / np.square(inverse)[:, None]
        # The lamp's change from order to order, over half a period.
        coupling, change = coefficients[self.coupling], self.lamp.steps @ coefficients[lamp]
        per_pixel = 2.0 * inverse / self.period
        values[:, 5] += coupling * per_pixel * change
        slopes[:, 5, self.coupling] = per_pixel * change
        slopes[:, 5, lamp] += coupling * per_pixel[:, None] * self.lamp.steps
        slopes[:, 5, self.part(1)] += (coupling * change * 2.0 / self.period)[:, None] * self.shape.functions
        return values, slopes

    def start(self, own: NDArray[np.float64]) -> Vector:
        """Coefficients from the orders' own parameters, orders by parameters; NaN for orders without."""
        coefficients = np.zeros(self.size)
        known = np.isfinite(own[:, 0])
        terms = min(4, self.part(0).stop)
        rows = self.lamp.functions[known][:, :terms]
        coefficients[:terms] = np.linalg.lstsq(rows, np.log(own[known, 0]), rcond=None)[0]
        coefficients[self.part(1).start] = float(np.median(self.period / own[known, 1]))
        coefficients[self.part(2).start] = float(np.median(own[known, 2] / self.period))
        return coefficients

    def numbers(self, coefficients: Vector) -> Vector:
        """Absolute order numbers, not rounded: 1/P goes with them; NaN where it does not change with the order.

        They rest on the straight line through 1/P, whose zero is order number 0.
        """
        inverse = 1.0 / self.parameters(coefficients)[:, 1]
        every = np.arange(self.orders)
        slope, constant = np.polyfit(every, inverse, 1)
        if slope == 0:
            return np.full(self.orders, np.nan)
        numbers: Vector = np.abs(constant / slope + every)
        return numbers
