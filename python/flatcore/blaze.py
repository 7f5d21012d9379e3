"""Sixth stage: fit the blaze of an order by a sinc^2."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, least_squares

from flatcore import _core
from flatcore.instrument import Blaze
from flatcore.results import BlazeFit
from flatcore.settings import BlazeSettings

Vector = NDArray[np.float64]

PARAMETERS = ("A", "P", "L", "Q", "C", "s")
# Two fits of the same data differ by less than this once converged; far below any order's noise.
TOLERANCE = 1e-12


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
    amplitude, period, centre, quadratic, cubic, slope = parameters
    d = x - centre
    turns = 2.0 * d * (1.0 + d * (quadratic + d * cubic)) / period
    plain = amplitude * np.sinc(turns) ** 2
    return plain * (1.0 + slope * d), plain


def sinc2_jacobian(x: Vector, parameters: Vector) -> NDArray[np.float64]:
    """Derivatives of :func:`sinc2` by its six parameters, columns of the result."""
    amplitude, period, centre, quadratic, cubic, slope = parameters
    d = x - centre
    phase = d * (1.0 + d * (quadratic + d * cubic))
    t = 2.0 * np.pi * phase / period
    sinc = np.sinc(t / np.pi)
    tilt = 1.0 + slope * d
    # d sinc/dt = (cos t - sinc t) / t, which goes to -t/3 at the centre.
    small = np.abs(t) < 1e-4
    safe = np.where(small, 1.0, t)
    sinc_by_t = np.where(small, -t / 3.0, (np.cos(t) - sinc) / safe)
    by_phase = amplitude * tilt * 2.0 * sinc * sinc_by_t * (2.0 * np.pi / period)
    phase_by_d = 1.0 + d * (2.0 * quadratic + 3.0 * d * cubic)
    jacobian = np.empty((x.size, 6))
    jacobian[:, 0] = sinc**2 * tilt
    jacobian[:, 1] = -by_phase * phase / period
    jacobian[:, 2] = -by_phase * phase_by_d - amplitude * sinc**2 * slope
    jacobian[:, 3] = by_phase * d**2
    jacobian[:, 4] = by_phase * d**3
    jacobian[:, 5] = amplitude * sinc**2 * d
    return jacobian


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
    start, low, high = _start(x, filtered, fitted, p95)
    return _fit(x, filtered, fitted, free, start, (low, high), blaze)


def _start(x: Vector, filtered: Vector, fitted: NDArray[np.bool_], p95: float) -> tuple[Vector, Vector, Vector]:
    """Start and bounds of the fit, from the filtered order."""
    with np.errstate(invalid="ignore"):
        bright = x[filtered > p95]
        wide = np.count_nonzero(filtered[fitted] > p95 / 2)
    centre = float(np.median(bright)) if bright.size else float(np.median(x[fitted]))
    start = np.array([p95, 2.0 * max(wide, 1), centre, 0.0, 0.0, 0.0])
    # A period of zero has no sinc; a hundredth of a pixel is as good a lower bound.
    low = np.array([0.0, 0.01, 0.0, -np.inf, -np.inf, -np.inf])
    high = np.array([1.5 * p95, np.inf, x.size - 1.0, np.inf, np.inf, np.inf])
    return start, low, high


def _fit(
    x: Vector,
    filtered: Vector,
    fitted: NDArray[np.bool_],
    free: NDArray[np.bool_],
    start: Vector,
    bounds: tuple[Vector, Vector],
    blaze: Blaze,
) -> BlazeFit:
    columns, flux = x[fitted], filtered[fitted]
    # Every parameter is fitted in units that make it of order one: amplitudes, the order's width, and its powers.
    width = start[1]
    scale = np.array([start[0], width, width, 1 / width, 1 / width**2, 1 / width])
    parameters = start.copy()

    def full(values: Vector) -> Vector:
        complete = np.zeros(6)
        complete[free] = values * scale[free]
        return complete

    def residual(values: Vector) -> Vector:
        return (sinc2(columns, full(values))[0] - flux) / start[0]

    def jacobian(values: Vector) -> NDArray[np.float64]:
        return sinc2_jacobian(columns, full(values))[:, free] * (scale[free] / start[0])

    limits = tuple((bound / scale)[free] for bound in bounds)
    evaluations = 0
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)
            for _ in range(2):
                found = least_squares(
                    residual,
                    np.clip((parameters / scale)[free], *limits),
                    jac=jacobian,
                    bounds=limits,
                    x_scale="jac",
                    ftol=TOLERANCE,
                    xtol=TOLERANCE,
                    gtol=TOLERANCE,
                    max_nfev=400,
                )
                parameters = full(found.x)
                evaluations += int(found.nfev)
    except (ValueError, np.linalg.LinAlgError) as error:
        return _no_blaze(filtered, fitted, f"the fit failed: {error}", evaluations)
    if found.status <= 0 or not np.isfinite(parameters).all():
        return _no_blaze(filtered, fitted, "the fit did not converge", evaluations)
    covariance = _covariance(jacobian(found.x), residual(found.x), scale[free], blaze.median_width)
    errors = np.zeros(6)
    errors[free] = np.sqrt(np.diag(covariance))
    model, plain = sinc2(x, parameters)
    slopes = sinc2_jacobian(x, parameters)[:, free]
    model_error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, covariance, slopes), 0.0))
    low = plain < blaze.cut * parameters[0]
    model[low] = np.nan
    model_error[low] = np.nan
    return BlazeFit(parameters, errors, model, model_error, filtered, fitted, "", evaluations)


def _covariance(jacobian: NDArray[np.float64], residual: Vector, scale: Vector, width: int) -> NDArray[np.float64]:
    """Covariance of the fitted parameters.

    Neighbouring residuals of a running median over ``width`` columns are one another's copies: only one in ``width``
    counts as independent.
    """
    freedom = max(residual.size - jacobian.shape[1], 1)
    variance = float(residual @ residual) / freedom * width
    _, singular, rotation = np.linalg.svd(jacobian, full_matrices=False)
    usable = singular > singular[0] * np.finfo(float).eps * max(jacobian.shape)
    rotation = rotation[usable] / singular[usable, None]
    covariance: NDArray[np.float64] = variance * (rotation.T @ rotation) * np.outer(scale, scale)
    return covariance


def _no_blaze(filtered: Vector, fitted: NDArray[np.bool_], problem: str, evaluations: int = 0) -> BlazeFit:
    nothing = np.full(filtered.size, np.nan)
    none = np.full(6, np.nan)
    return BlazeFit(none, none.copy(), nothing, nothing.copy(), filtered, fitted, problem, evaluations)
