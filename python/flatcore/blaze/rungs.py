"""The rungs of the ladder: each makes one candidate for an order's blaze."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.blaze.leastsquares import Loss, solve
from flatcore.blaze.model import Vector, sinc2, sinc2_jacobian
from flatcore.blaze.noise import long_run_variance
from flatcore.blaze.order import Order
from flatcore.spectra import Rung

# Which of A, P, L, Q, C, s each rung fits.
FREE = {
    Rung.FULL: np.array([True] * 6),
    Rung.NO_CUBIC: np.array([True, True, True, True, False, True]),
    Rung.NO_QUADRATIC: np.array([True, True, True, False, False, True]),
}
# Boxes over the fitted columns in which the misfit of a candidate is measured: shorter waves belong to the flat.
BOXES = 16
# A column is far off where its residual is above this many deviations, and this share of the amplitude.
FAR_DEVIATIONS, FAR_SHARE = 5.0, 0.05
ITERATIONS = 30
# Scale of the smoothing spline, as a share of the columns: structure shorter than that belongs to the flat.
SPLINE_SCALE = 1 / 40
# Least share of the columns a spline is drawn through.
LEAST_SPLINE = 0.1
# Integral of the square of a smoothing spline's equivalent kernel (Silverman 1984, Ann. Statist. 12, 898).
KERNEL_SQUARE = 3 / (8 * np.sqrt(2))


@dataclass(frozen=True)
class Candidate:
    """A blaze that may be an order's.

    Attributes
    ----------
    order
        What it was fitted to.
    rung, loss
        How.
    parameters, errors
        A, P, L, Q, C, s and their standard errors; NaN where there is no sinc^2.
    blaze, plain, error
        On all columns: the blaze, the same without the slope, its standard error [electrons]; NaN where undefined.
    amplitude
        The blaze's scale [electrons].
    evaluations
        Of the model.
    problem
        Why it cannot be used; empty where it can.
    """

    order: Order
    rung: Rung
    loss: Loss
    parameters: Vector
    errors: Vector
    blaze: Vector
    plain: Vector
    error: Vector
    amplitude: float
    evaluations: int
    problem: str

    @cached_property
    def misfit(self) -> float:
        """Rms of the residual's medians in boxes, over the amplitude.

        Of a robust fit, which means to leave out what lies far off, the median of their absolute values, scaled to a
        standard deviation.
        """
        medians = _core.box_medians(self._residual, min(BOXES, self.order.flux.size))
        if self.loss == "linear":
            return float(np.sqrt(np.mean(np.square(medians))))
        return 1.4826 * float(np.median(np.abs(medians)))

    @cached_property
    def far(self) -> float:
        """Share of the fitted columns that lie far off."""
        residual = self._residual
        noise = max(_core.robust_sigma(residual), self.order.filtered_noise / self.amplitude)
        return float(np.mean(np.abs(residual) > max(FAR_DEVIATIONS * noise, FAR_SHARE)))

    @cached_property
    def _residual(self) -> Vector:
        return np.ascontiguousarray((self.order.flux - self.blaze[self.order.fitted]) / self.amplitude)


def no_candidate(order: Order, rung: Rung, loss: Loss, problem: str, evaluations: int = 0) -> Candidate:
    """Give the candidate that cannot be used."""
    nothing = np.full(order.x.size, np.nan)
    none = np.full(6, np.nan)
    return Candidate(order, rung, loss, none, none, nothing, nothing, nothing, np.nan, evaluations, problem)


def sinc2_candidate(order: Order, rung: Rung, start: Vector, loss: Loss) -> Candidate:
    """Fit the order's own sinc^2, with the terms of the rung."""
    free = FREE[rung]
    found = solve(order, free, start, loss)
    if found.problem:
        return no_candidate(order, rung, loss, found.problem, found.evaluations)
    errors = np.zeros(6)
    errors[free] = np.sqrt(np.maximum(np.diag(found.covariance), 0.0))
    slopes = sinc2_jacobian(order.x, found.parameters)
    slopes = slopes if free.all() else slopes[:, free]
    products = slopes @ found.covariance
    products *= slopes
    variance = np.maximum(products.sum(axis=1), 0.0)
    return candidate_of_sinc2(
        order,
        found.parameters,
        rung=rung,
        loss=loss,
        errors=errors,
        error=np.sqrt(variance),
        evaluations=found.evaluations,
    )


def predicted_candidate(order: Order, predicted: tuple[Vector, Vector]) -> Candidate:
    """Scale the predicted sinc^2 to the order: amplitude and slope are its own, by a robust linear fit.

    Parameters
    ----------
    order
        What is fitted.
    predicted
        Parameters, and the scatter of other orders about their prediction.
    """
    shape, scatter = predicted
    plain = sinc2(order.x, shape)[0]
    terms = np.stack([plain, plain * (order.x - shape[2])], axis=1)
    rows, flux = terms[order.fitted], order.flux
    unit = np.array([1.0, 1.0 / order.x.size])
    weights = np.ones(flux.size) if order.weights is None else order.weights
    falling, evaluations = weights, 0
    for evaluations in range(1, ITERATIONS + 1):  # noqa: B007 - counted
        values = np.linalg.lstsq(rows * unit * falling[:, None], flux * falling, rcond=None)[0] * unit
        residual = flux - rows @ values
        before, falling = falling, weights / np.power(1.0 + np.square(residual * weights / order.soft), 0.25)
        if np.abs(falling - before).max() < 1e-9:
            break
    amplitude = float(values[0])
    if not amplitude > 0:
        return no_candidate(order, Rung.PREDICTED, "soft_l1", "the predicted shape is not the order's", evaluations)
    parameters = np.array([amplitude, *shape[1:5], values[1] / amplitude])
    inverse = np.linalg.pinv(rows * falling[:, None]) * (
        falling * np.sqrt(long_run_variance(order.e2ds[order.fitted] - rows @ values, order.width, 2))
    )
    error = np.square(terms @ inverse).sum(axis=1)
    # What the scatter of the prediction does to the blaze, less what amplitude and slope make good.
    for term, deviation in zip(range(1, 5), scatter[1:5], strict=True):
        change = sinc2_jacobian(order.x, parameters)[:, term] * deviation
        taken = np.linalg.lstsq(rows * unit, change[order.fitted], rcond=None)[0] * unit
        error += np.square(change - terms @ taken)
    own = np.linalg.norm(inverse, axis=1)
    errors = np.array([own[0], *scatter[1:5], own[1] / amplitude])
    return candidate_of_sinc2(
        order,
        parameters,
        rung=Rung.PREDICTED,
        loss="soft_l1",
        errors=errors,
        error=np.sqrt(error),
        evaluations=evaluations,
    )


def spline_candidate(order: Order) -> Candidate:
    """Draw a smoothing spline through the filtered order, robustly; between its first and its last fitted column."""
    from scipy.interpolate import make_smoothing_spline  # noqa: PLC0415 - only for orders that need it

    columns, flux = order.columns, order.flux
    if columns.size < max(LEAST_SPLINE * order.x.size, 5):
        return no_candidate(order, Rung.SPLINE, "soft_l1", f"only {columns.size} columns to draw a spline through")
    scale = SPLINE_SCALE * order.x.size
    weights: NDArray[np.float64] = np.ones(flux.size)
    evaluations = 0
    for evaluations in range(1, ITERATIONS + 1):  # noqa: B007 - counted
        spline = make_smoothing_spline(columns, flux, weights, lam=scale**4)
        residual = flux - spline(columns)
        before, weights = weights, 1.0 / np.sqrt(1.0 + np.square(residual / order.soft))
        if np.abs(weights - before).max() < 1e-6:
            break
    covered = (order.x >= columns[0] - order.width) & (order.x <= columns[-1] + order.width)
    blaze = np.where(covered, spline(np.clip(order.x, columns[0], columns[-1])), np.nan)
    if not np.isfinite(blaze[covered]).all() or not np.nanmax(blaze) > 0:
        return no_candidate(order, Rung.SPLINE, "soft_l1", "the spline is not positive", evaluations)
    density = np.convolve(order.fitted, np.full(max(int(scale), 1), 1 / max(int(scale), 1)), "same")
    variance = np.interp(order.x, columns, long_run_variance(order.e2ds[order.fitted] - spline(columns), order.width))
    error = np.sqrt(variance * KERNEL_SQUARE / (scale * np.maximum(density, 1 / scale)))
    none, amplitude = np.full(6, np.nan), float(np.nanmax(blaze))
    return Candidate(
        order,
        Rung.SPLINE,
        "soft_l1",
        none,
        none,
        blaze,
        blaze,
        np.where(covered, error, np.nan),
        amplitude,
        evaluations,
        "",
    )


def candidate_of_sinc2(
    order: Order, parameters: Vector, *, rung: Rung, loss: Loss, errors: Vector, error: Vector, evaluations: int
) -> Candidate:
    """Give the candidate of a sinc^2, which must be positive where it was fitted."""
    blaze, plain = sinc2(order.x, parameters)
    amplitude = float(parameters[0])
    problem = "" if amplitude > 0 and (blaze[order.fitted] > 0).all() else "the fitted blaze is not positive"
    return Candidate(order, rung, loss, parameters, errors, blaze, plain, error, amplitude, evaluations, problem)
