"""Fit of all orders' blazes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.blaze.joint import SHAPE_TERMS, JointModel
from flatcore.blaze.model import Vector, sinc2, sinc2_jacobian
from flatcore.blaze.noise import long_run_variance
from flatcore.blaze.order import Order
from flatcore.blaze.rungs import BOXES

# Deviations of the rough functions' coefficients to begin with, by term: ln A, P0/P, L/P0, Q P0, C P0^2, s P0.
FIRST_ROUGHNESS = (0.3, 0.05, 0.05, 0.05, 0.3, 0.1)
LEAST_ROUGHNESS, MOST_ROUGHNESS = 1e-5, 3.0
# The lamp's slope along an order is its change from order to order times a number, 1 if there were only the lamp: what
# the orders differ by besides makes it less.
COUPLING = 0.5
FIRST_DEPARTURE, LEAST_DEPARTURE = 0.03, 1e-4
# What the model misses an order by, as a share of its amplitude, hangs together over this share of the columns.
FIRST_MISFIT, LEAST_MISFIT = 0.005, 1e-5
MISFIT_LENGTH = 1 / 6
# An order that misses the model by this many times the typical misfit weighs less.
FAR_ORDER = 3.0
ROUNDS = 8
# The smoothness is settled where no deviation changes by more than this share.
SETTLED = 0.05
TOLERANCE = 1e-6
MOST_EVALUATIONS = 60


@dataclass(frozen=True)
class JointFit:
    """All orders' blazes.

    Attributes
    ----------
    model, coefficients, covariance
        The model, where its fit ended, and how well that is known.
    misfit
        By how much the model misses an order, beyond noise: share of the amplitude, median over the orders.
    departure
        By how much an order's amplitude departs from the lamp's [share].
    taking_part
        Indices of the orders that were fitted.
    evaluations
        Of the model.
    """

    model: JointModel
    coefficients: Vector
    covariance: NDArray[np.float64]
    misfit: float
    departure: float
    taking_part: tuple[int, ...]
    evaluations: int

    def parameters(self, order: int) -> tuple[Vector, Vector]:
        """Give A, P, L, Q, C, s of an order, and their standard errors."""
        values, slopes = self.model.with_derivatives(self.coefficients)
        own = slopes[order]
        return values[order], np.sqrt(np.maximum(((own @ self.covariance) * own).sum(axis=1), 0.0))

    def error(self, order: int, x: Vector) -> Vector:
        """Give the standard error of an order's blaze by the covariance of all coefficients [electrons]."""
        values, slopes = self.model.with_derivatives(self.coefficients)
        rows = sinc2_jacobian(x, values[order]) @ slopes[order]
        error: Vector = np.sqrt(np.maximum(((rows @ self.covariance) * rows).sum(axis=1), 0.0))
        return error


def fit_jointly(
    orders: Mapping[int, Order], own: Mapping[int, Vector], count: int, start: JointFit | None = None
) -> JointFit:
    """Fit the model of all orders by least squares; the smoothness in the order follows from the data.

    Every order weighs by its noise and by what the model misses orders by; rows of its triangle (see
    :mod:`flatcore.blaze.leastsquares`) stand for its columns. The smooth functions' coefficients are held to zero the
    more the rougher they are; how firmly, and how far an order's amplitude departs from the lamp's, is the value that
    the data make most probable (MacKay 1992, Neural Computation 4, 415), found in rounds.

    Parameters
    ----------
    orders
        Those that take part, by index, with the columns to fit.
    own
        Parameters of orders, about which their noise is measured, and from which the fit starts.
    count
        Number of orders of the fibre.
    start
        An earlier fit to start from instead.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        The fit failed.
    """
    known = np.full((count, 6), np.nan)
    for index, values in own.items():
        known[index] = values
    model = start.model if start else JointModel(count, float(np.nanmedian(known[:, 1])))
    first = start.coefficients if start else model.start(known)
    return _Rounds(model, dict(sorted(orders.items())), known, first).fit()


class _Rounds:
    """The fit between its rounds."""

    def __init__(self, model: JointModel, orders: Mapping[int, Order], own: NDArray[np.float64], start: Vector) -> None:
        self.model, self.orders, self.coefficients = model, orders, start
        self.roughness = np.array(FIRST_ROUGHNESS)
        self.departure, self.misfit = FIRST_DEPARTURE, FIRST_MISFIT
        self.misses = np.full(len(orders), FIRST_MISFIT)
        self.variances = np.array([_variance(order, own[index]) for index, order in orders.items()])
        self.evaluations = 0
        self._latest: tuple[bytes, NDArray[np.float64]] | None = None

    def fit(self) -> JointFit:
        """Fit in rounds until the smoothness has settled."""
        covariance: NDArray[np.float64] = np.zeros((self.model.size,) * 2)
        for _ in range(ROUNDS):
            before = np.array([*self.roughness, self.departure, self.misfit])
            rows = self._least_squares()
            covariance = np.asarray(np.linalg.pinv(rows[:, :-1].T @ rows[:, :-1], hermitian=True), dtype=float)
            self._measure(np.diag(covariance))
            after = np.array([*self.roughness, self.departure, self.misfit])
            if (np.abs(after - before) < SETTLED * before).all():
                break
        return JointFit(
            self.model,
            self.coefficients,
            covariance,
            self.misfit,
            self.departure,
            tuple(self.orders),
            self.evaluations,
        )

    def _least_squares(self) -> NDArray[np.float64]:
        """One fit; gives the rows (J, f) where it ended."""
        from scipy.optimize import least_squares  # noqa: PLC0415 - see leastsquares.prepare

        amplitudes = self.model.parameters(self.coefficients)[list(self.orders), 0]
        columns = np.array([order.columns.size for order in self.orders.values()])
        missed = np.square(np.maximum(self.misfit, self.misses / FAR_ORDER) * amplitudes) * columns * MISFIT_LENGTH
        weights, hold, self._latest = 1.0 / np.sqrt(self.variances + missed), self._hold(), None

        def rows(coefficients: Vector) -> NDArray[np.float64]:
            place = coefficients.tobytes()
            if self._latest is None or self._latest[0] != place:
                self._latest = (place, self._rows(coefficients, weights, hold))
            return self._latest[1]

        with np.errstate(all="ignore"):
            found = least_squares(
                lambda values: rows(values)[:, -1],
                self.coefficients,
                jac=lambda values: rows(values)[:, :-1],
                method="trf",
                x_scale="jac",
                ftol=TOLERANCE,
                xtol=TOLERANCE,
                gtol=TOLERANCE,
                max_nfev=MOST_EVALUATIONS,
            )
        self.coefficients = np.asarray(found.x, dtype=float)
        self.evaluations += int(found.nfev)
        return rows(self.coefficients)

    def _rows(self, coefficients: Vector, weights: Vector, hold: Vector) -> NDArray[np.float64]:
        """Give derivatives and residual: those of the orders' triangles, then those that hold the coefficients."""
        values, slopes = self.model.with_derivatives(coefficients)
        rows = []
        for weight, (index, order) in zip(weights, self.orders.items(), strict=True):
            triangle = _triangle(order, values[index], self.model.units)
            rows.append(weight * np.column_stack([triangle[:, :6] @ slopes[index], triangle[:, 6]]))
        held = hold > 0
        rows.append(np.column_stack([np.diag(hold)[held], (hold * coefficients)[held]]))
        return np.concatenate(rows)

    def _hold(self) -> Vector:
        """Inverse deviation of every coefficient from zero; 0 where it is free."""
        hold = np.zeros(self.model.size)
        for term in (0, *SHAPE_TERMS):
            hold[self.model.part(term)] = self.model.functions(term).roughness / self.roughness[term]
        hold[self.model.coupling] = 1.0 / COUPLING
        hold[self.model.departures] = 1.0 / self.departure
        return hold

    def _measure(self, variances: Vector) -> None:
        """Set smoothness, departures and misfit to what the data make most probable."""
        for term in (0, *SHAPE_TERMS):
            part, functions = self.model.part(term), self.model.functions(term)
            rough = functions.roughness > 0
            found = _probable(
                (self.coefficients[part] * functions.roughness)[rough],
                (variances[part] * np.square(functions.roughness))[rough],
                self.roughness[term],
            )
            self.roughness[term] = np.clip(found, LEAST_ROUGHNESS, MOST_ROUGHNESS)
        fitted = list(self.orders)
        of_orders = self.coefficients[self.model.departures][fitted], variances[self.model.departures][fitted]
        self.departure = max(_probable(*of_orders, self.departure), LEAST_DEPARTURE)
        values = self.model.parameters(self.coefficients)
        missed = [
            _missed(order, values[index], variance)
            for variance, (index, order) in zip(self.variances, self.orders.items(), strict=True)
        ]
        self.misfit = float(np.sqrt(max(np.median(missed), LEAST_MISFIT**2)))
        self.misses = np.sqrt(np.maximum(missed, 0.0))


def _probable(coefficients: Vector, variances: Vector, deviation: float) -> float:
    """Most probable deviation of coefficients about zero, from the one they were fitted with."""
    determined = max(float(np.sum(1.0 - variances / deviation**2)), 0.1)
    return float(np.sqrt(np.sum(np.square(coefficients)) / determined))


def _variance(order: Order, own: Vector) -> float:
    """Variance that a column adds to a mean over many [electrons^2]; about the order's own fit where it has one."""
    blaze, terms = (sinc2(order.columns, own)[0], own.size) if np.isfinite(own).all() else (order.flux, 0)
    found = float(np.mean(long_run_variance(order.e2ds[order.fitted] - blaze, order.width, terms)))
    return found if found > 0 else 1.0


def _missed(order: Order, parameters: Vector, variance: float) -> float:
    """Mean square of the residual's medians in boxes beyond noise, over the squared amplitude."""
    residual = np.ascontiguousarray((order.flux - sinc2(order.columns, parameters)[0]) / parameters[0])
    boxes = min(BOXES, residual.size)
    noise = variance / parameters[0] ** 2 * boxes / residual.size
    return float(np.mean(np.square(_core.box_medians(residual, boxes))) - noise)


def _triangle(order: Order, parameters: Vector, units: Vector) -> NDArray[np.float64]:
    """Triangle of the QR decomposition of (J, f), weighted as the order's columns are; 7 by 7."""
    if order.weights is not None:
        rows = np.column_stack(
            [sinc2_jacobian(order.columns, parameters), sinc2(order.columns, parameters)[0] - order.flux]
        )
        weighted: NDArray[np.float64] = np.asarray(np.linalg.qr(rows * order.weights[:, None], mode="r"))
        return weighted
    scale = [parameters[0], *units[1:]]
    found = _core.sinc2_triangle(order.columns, order.flux, parameters.tolist(), scale, 1.0).reshape(7, 7)
    return np.column_stack([found[:, :6] / scale, found[:, 6]])
