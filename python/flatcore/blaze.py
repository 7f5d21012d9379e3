"""Sixth stage: fit the blaze of an order by a sinc^2."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from flatcore import _core
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import BlazeFit, Spectra

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Vector = NDArray[np.float64]

PARAMETERS = ("A", "P", "L", "Q", "C", "s")
# The first fit finds the minimum, the second one goes down to its bottom: by 1e-12 two fits of the same data agree far
# below any order's noise.
TOLERANCES = (1e-8, 1e-12)
MOST_EVALUATIONS = 400
# Terms that stand in for one another let a fit wander along a valley without end; it is done where the second fit moves
# the blaze by less than this share of its amplitude.
SETTLED = 1e-4


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


def prepare() -> None:
    """Import what the fits need, which takes as long as a kernel's work and can be done beside it."""
    import scipy.optimize  # noqa: F401, PLC0415


def fit_orders(e2ds: Spectra, blaze: Blaze, settings: BlazeSettings, threads: int = 1) -> tuple[BlazeFit, ...]:
    """Fit every order of a fibre, several at a time; see :func:`fit_blaze`.

    Parameters
    ----------
    e2ds
        Orders by columns [electrons]; NaN for no value.
    threads
        Orders fitted at a time; the result does not depend on it.
    """
    # The fits' matrices are too small to share out: threads of the linear algebra would only wait for one another.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(threads, 1)) as pool:
        return tuple(pool.map(lambda order: fit_blaze(order, blaze, settings), e2ds))


def fit_blaze(e2ds: Vector, blaze: Blaze, settings: BlazeSettings) -> BlazeFit:
    """Fit one order's blaze to its median-filtered flux; never raises for data.

    Parameters
    ----------
    e2ds
        Flux of the order, by columns [electrons]; NaN for no value.
    blaze
        Filter width and cut of the instrument.
    settings
        Range of the fit, and whether C is free.

    Returns
    -------
    BlazeFit
        With ``problem`` set, and NaN for the blaze, where there is nothing to fit or the fit does not converge.
    """
    x = np.arange(e2ds.size, dtype=float)
    filtered = _core.running_nan_median(np.ascontiguousarray(e2ds, dtype=float), blaze.median_width)
    finite = np.isfinite(filtered)
    p95 = float(np.percentile(filtered[finite], 95)) if finite.any() else np.nan
    with np.errstate(invalid="ignore"):
        fitted = finite & (filtered > settings.low * p95) & (filtered < settings.high * p95)
    free = np.array([True, True, True, True, settings.cubic, True])
    if not p95 > 0:
        return _no_blaze(filtered, fitted, "no flux")
    if np.count_nonzero(fitted) <= np.count_nonzero(free):
        return _no_blaze(filtered, fitted, f"only {np.count_nonzero(fitted)} columns to fit")
    fit = _Fit(x[fitted], filtered[fitted], *_start(x, filtered, fitted, p95), free)
    evaluations = 0
    try:
        with np.errstate(all="ignore"):
            first, evaluations = fit.first()
            found = fit.solve(first, TOLERANCES[1])
            evaluations += int(found.nfev)
    except (ValueError, np.linalg.LinAlgError) as error:
        return _no_blaze(filtered, fitted, f"the fit failed: {error}", evaluations)
    values = found.x
    parameters = fit.parameters(values)
    settled = found.status > 0 or fit.distance(first, values) < SETTLED
    if not settled or not np.isfinite(parameters).all():
        return _no_blaze(filtered, fitted, "the fit did not converge", evaluations)
    covariance = fit.covariance(values, blaze.median_width)
    errors = np.zeros(6)
    errors[free] = np.sqrt(np.diag(covariance))
    model, plain = sinc2(x, parameters)
    slopes = sinc2_jacobian(x, parameters)[:, free]
    model_error = np.sqrt(np.maximum(((slopes @ covariance) * slopes).sum(axis=1), 0.0))
    low = plain < blaze.cut * parameters[0]
    model[low] = np.nan
    model_error[low] = np.nan
    return BlazeFit(parameters, errors, model, model_error, filtered, fitted, "", evaluations)


def _start(x: Vector, filtered: Vector, fitted: NDArray[np.bool_], p95: float) -> tuple[Vector, Vector, Vector]:
    """Give start and bounds of the fit, from the filtered order."""
    with np.errstate(invalid="ignore"):
        bright = x[filtered > p95]
        wide = int(np.count_nonzero(filtered[fitted] > p95 / 2))
    centre = float(np.median(bright)) if bright.size else float(np.median(x[fitted]))
    start = np.array([p95, 2.0 * max(wide, 1), centre, 0.0, 0.0, 0.0])
    # A period of zero has no sinc; a hundredth of a pixel is as good a lower bound.
    low = np.array([0.0, 0.01, 0.0, -np.inf, -np.inf, -np.inf])
    high = np.array([1.5 * p95, np.inf, x.size - 1.0, np.inf, np.inf, np.inf])
    return start, low, high


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

    def first(self) -> tuple[Vector, int]:
        """Fit from the start, by the kernel; gives the values and the number of evaluations.

        It takes the steps that :meth:`solve` would take, without waiting for Python between them.
        """
        start, low, high = np.zeros(6), np.full(6, -np.inf), np.full(6, np.inf)
        low[self.free], high[self.free] = self.limits
        start[self.free] = np.clip(self.start[self.free] / self.scale, *self.limits)
        values, evaluations, _ = _core.sinc2_fit(
            (self.columns, self.flux, self.units.tolist(), float(self.start[0])),
            start.tolist(),
            (low.tolist(), high.tolist()),
            TOLERANCES[0],
            MOST_EVALUATIONS,
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

    def covariance(self, values: Vector, width: int) -> NDArray[np.float64]:
        """Covariance of the free parameters.

        Neighbouring residuals of a running median over ``width`` columns are one another's copies: only one in
        ``width`` counts as independent.
        """
        residual, jacobian = self.residual(values), self.jacobian(values)
        freedom = max(self.columns.size - values.size, 1)
        variance = float(residual @ residual) / freedom * width
        _, singular, rotation = np.linalg.svd(jacobian, full_matrices=False)
        usable = singular > singular[0] * np.finfo(float).eps * self.columns.size
        rotation = rotation[usable] / singular[usable, None]
        covariance: NDArray[np.float64] = variance * (rotation.T @ rotation) * (self.scale[:, None] * self.scale)
        return covariance


def _no_blaze(filtered: Vector, fitted: NDArray[np.bool_], problem: str, evaluations: int = 0) -> BlazeFit:
    nothing = np.full(filtered.size, np.nan)
    none = np.full(6, np.nan)
    return BlazeFit(none, none.copy(), nothing, nothing.copy(), filtered, fitted, problem, evaluations)
