"""Least squares of a sinc^2: plain in a kernel and SciPy, weighted or robust in SciPy alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.blaze.model import Vector, sinc2, sinc2_jacobian
from flatcore.blaze.noise import long_run_variance
from flatcore.blaze.order import Order

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Loss = Literal["linear", "soft_l1"]

# The first fit finds the minimum, the second one goes down to its bottom: by 1e-12 two fits of the same data agree far
# below any order's noise.
TOLERANCES = (1e-8, 1e-12)
# Of each descent of a fit; the first fit has two, one by means of columns.
MOST_EVALUATIONS = 400
# What MINPACK says of a fit that met one of its tolerances.
CONVERGED = (1, 2, 3, 4)
# Terms that stand in for one another let a fit wander along a valley without end; it is done where the second fit moves
# the blaze by less than this share of its amplitude.
SETTLED = 1e-4


def prepare() -> None:
    """Import what the fits need, which takes as long as a kernel's work and can be done beside it."""
    import scipy.optimize  # noqa: F401, PLC0415


@dataclass(frozen=True)
class Solution:
    """Where a fit came to.

    Attributes
    ----------
    parameters
        A, P, L, Q, C, s; those not fitted are 0.
    covariance
        Of the fitted ones, in their order.
    evaluations
        Of the model.
    problem
        Why it cannot be used; empty where it can.
    """

    parameters: Vector
    covariance: NDArray[np.float64]
    evaluations: int
    problem: str


def own_start(order: Order) -> Vector:
    """Start of the parameters, from the order itself."""
    with np.errstate(invalid="ignore"):
        bright = order.x[order.filtered > order.p95]
        wide = int(np.count_nonzero(order.flux > order.p95 / 2))
    # Columns ascend: their median needs no sorting.
    bright = bright if bright.size else order.columns
    centre = float(bright[(bright.size - 1) // 2] + bright[bright.size // 2]) / 2.0
    return np.array([order.p95, 2.0 * max(wide, 1), centre, 0.0, 0.0, 0.0])


def solve(order: Order, free: NDArray[np.bool_], start: Vector, loss: Loss = "linear") -> Solution:
    """Fit a sinc^2 to an order; never raises for data.

    Parameters
    ----------
    order
        What is fitted.
    free
        Which of the six parameters are; the others are 0.
    start
        All six.
    loss
        Plain squares, or soft-L1, which grows linearly for what lies far off.
    """
    # A period of zero has no sinc; a hundredth of a pixel is as good a lower bound.
    low = np.array([0.0, 0.01, 0.0, -np.inf, -np.inf, -np.inf])
    high = np.array([1.5 * order.p95, np.inf, order.x.size - 1.0, np.inf, np.inf, np.inf])
    fit = _Fit(order.columns, order.flux, start, low, high, free)
    nothing = np.zeros((int(free.sum()),) * 2)
    evaluations = 0
    try:
        with np.errstate(all="ignore"):
            if loss == "linear" and order.weights is None:
                # Columns nearer than half the running median tell the same: their means lead to the minimum.
                first, evaluations = fit.first(order.width // 2)
                values, more, settled = fit.second(first)
                settled = settled or fit.distance(first, values) < SETTLED
                rows, weights = fit.jacobian(values), np.ones(1)
            else:
                soft = order.soft / order.p95
                weights = np.ones(fit.columns.size) if order.weights is None else order.weights
                found = fit.solve_rows(weights, loss, soft)
                values, more, settled = found.x, int(found.nfev), found.status > 0
                weights = fit.falling(values, weights, soft if loss == "soft_l1" else np.inf)
                rows = fit.jacobian_rows(values) * weights[:, None]
            evaluations += more
            parameters = fit.parameters(values)
            residual = order.e2ds[order.fitted] - sinc2(order.columns, parameters)[0]
            covariance = fit.covariance(values, rows, weights, long_run_variance(residual, order.width, values.size))
    except (ValueError, np.linalg.LinAlgError) as error:
        return Solution(np.full(6, np.nan), nothing, evaluations, f"the fit failed: {error}")
    usable = settled and bool(np.isfinite(parameters).all())
    return Solution(parameters, covariance, evaluations, "" if usable else "the fit did not converge")


@dataclass(frozen=True)
class _Fit:
    """A least-squares problem in units that make every parameter of order one: amplitude, period and its powers.

    The solver uses residual f and Jacobian J only in |f|, J'f and J'J. Those are the same for the few rows of the
    triangle of (J, f)'s QR decomposition, so these rows are what it gets.
    """

    columns: Vector
    flux: Vector
    start: Vector
    low: Vector
    high: Vector
    free: NDArray[np.bool_]
    units: Vector = field(init=False)
    _latest: list[tuple[bytes, Vector]] = field(default_factory=list)

    def __post_init__(self) -> None:
        amplitude, period = self.start[:2]
        units = np.array([amplitude, period, period, 1 / period, 1 / period**2, 1 / period])
        object.__setattr__(self, "units", np.where(self.free, units, 0.0))

    @property
    def scale(self) -> Vector:
        """Units of the free parameters; the others have none."""
        return self.units[self.free]

    def parameters(self, values: Vector) -> Vector:
        """All six parameters; those that are not free are 0."""
        complete = np.zeros(6)
        complete[self.free] = values * self.scale
        return complete

    @property
    def limits(self) -> tuple[Vector, Vector]:
        """Least and greatest values, in the units of the fit."""
        return self.low[self.free] / self.scale, self.high[self.free] / self.scale

    @property
    def first_values(self) -> Vector:
        """The start, in the units of the fit."""
        values: Vector = np.clip(self.start[self.free] / self.scale, *self.limits)
        return values

    def first(self, columns_per_bin: int) -> tuple[Vector, int]:
        """Fit from the start, by the kernel; gives the values and the number of evaluations.

        It takes the steps that :meth:`solve` would take, without waiting for Python between them; those far from the
        minimum by means of so many columns.
        """
        start, low, high = np.zeros(6), np.full(6, -np.inf), np.full(6, np.inf)
        low[self.free], high[self.free] = self.limits
        start[self.free] = self.first_values
        values, evaluations, _ = _core.sinc2_fit(
            (self.columns, self.flux, self.units.tolist(), float(self.start[0])),
            start.tolist(),
            (low.tolist(), high.tolist()),
            TOLERANCES[0],
            MOST_EVALUATIONS,
            columns_per_bin,
        )
        return np.array(values)[self.free], evaluations

    def triangle(self, values: Vector) -> Vector:
        """Triangle of the QR decomposition of Jacobian and residual; the residual is the last column."""
        place = values.tobytes()
        if not self._latest or self._latest[0][0] != place:
            parameters, units = self.parameters(values).tolist(), self.units.tolist()
            rows = _core.sinc2_triangle(self.columns, self.flux, parameters, units, float(self.start[0]))
            self._latest[:] = [(place, rows.reshape(values.size + 1, values.size + 1))]
        return self._latest[0][1]

    def residual(self, values: Vector) -> Vector:
        """Model minus flux in units of the first amplitude, reduced to the triangle's rows."""
        return self.triangle(values)[:, -1].copy()

    def jacobian(self, values: Vector) -> Vector:
        """Give the derivatives of the reduced residual."""
        return self.triangle(values)[:, :-1].copy()

    def distance(self, before: Vector, after: Vector) -> float:
        """Greatest distance between two models, in units of the first amplitude."""
        models = [sinc2(self.columns, self.parameters(values))[0] for values in (before, after)]
        return float(np.abs(models[1] - models[0]).max() / self.start[0])

    def second(self, values: Vector) -> tuple[Vector, int, bool]:
        """Fit from where the first fit ended, by SciPy; gives values, evaluations, and whether it converged.

        MINPACK's Levenberg-Marquardt takes a quarter of the time of the method that knows bounds. That one is for a
        minimum at or beyond a bound, and for whatever MINPACK does not come to an end with.
        """
        from scipy.optimize import leastsq  # noqa: PLC0415 - see :func:`prepare`

        low, high = self.limits
        tolerance = TOLERANCES[1]
        found, _, told, _, status = leastsq(
            self.residual,
            np.clip(values, low, high),
            Dfun=self.jacobian,
            full_output=True,
            ftol=tolerance,
            xtol=tolerance,
            gtol=tolerance,
            maxfev=MOST_EVALUATIONS,
        )
        if status in CONVERGED and bool(((low < found) & (found < high)).all()):
            return found, int(told["nfev"]), True
        bounded = self.solve(values, tolerance)
        return bounded.x, int(told["nfev"]) + int(bounded.nfev), bounded.status > 0

    def solve(self, values: Vector, tolerance: float) -> OptimizeResult:
        """Fit from the given start, within the bounds, to a relative tolerance."""
        from scipy.optimize import least_squares  # noqa: PLC0415 - see :func:`prepare`

        return least_squares(
            self.residual,
            np.clip(values, *self.limits),
            jac=self.jacobian,
            bounds=self.limits,
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=tolerance,
            max_nfev=MOST_EVALUATIONS,
        )

    def residual_rows(self, values: Vector) -> Vector:
        """Model minus flux at every fitted column, in units of the first amplitude."""
        rows: Vector = (sinc2(self.columns, self.parameters(values))[0] - self.flux) / self.start[0]
        return rows

    def jacobian_rows(self, values: Vector) -> Vector:
        """Give the derivatives of :meth:`residual_rows`."""
        rows: Vector = sinc2_jacobian(self.columns, self.parameters(values))
        rows = rows if self.free.all() else rows[:, self.free]
        rows *= self.scale / self.start[0]
        return rows

    def solve_rows(self, weights: Vector, loss: Loss, soft: float) -> OptimizeResult:
        """Fit with weights or a robust loss, which need every row."""
        from scipy.optimize import least_squares  # noqa: PLC0415 - see :func:`prepare`

        return least_squares(
            lambda values: self.residual_rows(values) * weights,
            self.first_values,
            jac=lambda values: self.jacobian_rows(values) * weights[:, None],
            bounds=self.limits,
            x_scale="jac",
            loss=loss,
            f_scale=soft,
            ftol=TOLERANCES[0],
            xtol=TOLERANCES[0],
            gtol=TOLERANCES[0],
            max_nfev=MOST_EVALUATIONS,
        )

    def falling(self, values: Vector, weights: Vector, soft: float) -> Vector:
        """Weights as the robust loss lowers them, with which plain least squares have the same minimum."""
        lowered: Vector = weights / np.power(1.0 + np.square(self.residual_rows(values) * weights / soft), 0.25)
        return lowered

    def covariance(self, values: Vector, reduced: Vector, weights: Vector, variance: Vector) -> NDArray[np.float64]:
        """Covariance of the free parameters: (J'WJ)^-1 (J'W D W J) (J'WJ)^-1, D the variance of the filtered columns.

        Parameters
        ----------
        values
            Where the fit ended.
        reduced
            Rows whose products are those of the weighted Jacobian: its own, or those of its QR triangle.
        weights
            Square roots of W's diagonal.
        variance
            Of each column in a mean over many.
        """
        _, singular, rotation = np.linalg.svd(reduced, full_matrices=False)
        usable = singular > singular[0] * np.finfo(float).eps * self.columns.size
        inverse = rotation[usable].T / singular[usable]
        rows = self.jacobian_rows(values)
        rows *= (np.square(weights) * np.sqrt(variance) / self.start[0])[:, None]
        middle = inverse.T @ (rows.T @ rows) @ inverse
        covariance: NDArray[np.float64] = inverse @ middle @ inverse.T * (self.scale[:, None] * self.scale)
        return covariance
