"""What a blaze is fitted to: the median-filtered order, and the columns that take part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.blaze.model import Vector
from flatcore.blaze.noise import NORMAL
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings

# The scatter of a running median of normal values, over that of a running mean.
MEDIAN_SCATTER = np.sqrt(np.pi / 2)
# Light that is not this far above the noise of the filtered order is no light.
LEAST_SIGNIFICANCE = 5.0
# Residuals from which a robust loss grows linearly: at least this share of the amplitude, and this many deviations.
LEAST_SOFT, SOFT_DEVIATIONS = 0.005, 2.0


@dataclass(frozen=True)
class Order:
    """An order as the fits see it.

    Attributes
    ----------
    x
        All columns [pixels].
    e2ds, filtered
        Flux, and its running median [electrons].
    fitted
        The columns that take part.
    whole
        Columns whose filtered flux is that of a whole window, bright or faint.
    p95
        95th percentile of ``filtered`` [electrons].
    filtered_noise
        Standard deviation of the filtered flux [electrons].
    width
        Width of the running median [pixels].
    column_weights
        Of all columns, or None where all weigh the same.
    problem
        Why nothing can be fitted; empty where it can.
    """

    x: Vector
    e2ds: Vector
    filtered: Vector
    fitted: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    p95: float
    filtered_noise: float
    width: int
    column_weights: Vector | None
    problem: str

    @property
    def columns(self) -> Vector:
        """The fitted columns."""
        return self.x[self.fitted]

    @property
    def flux(self) -> Vector:
        """The filtered flux of the fitted columns."""
        return self.filtered[self.fitted]

    @property
    def weights(self) -> Vector | None:
        """Weights of the fitted columns, or None where all weigh the same."""
        return None if self.column_weights is None else self.column_weights[self.fitted]

    @property
    def snr(self) -> float:
        """Signal to noise of a column where the order is bright."""
        noise = self.filtered_noise * np.sqrt(self.width) / MEDIAN_SCATTER
        return float(self.p95 / noise) if noise > 0 else np.inf

    @property
    def soft(self) -> float:
        """Residual from which the robust losses grow linearly [electrons]."""
        return max(LEAST_SOFT * self.p95, SOFT_DEVIATIONS * self.filtered_noise)


def order_to_fit(
    e2ds: Vector,
    blaze: Blaze,
    settings: BlazeSettings,
    error: Vector | None = None,
    lost: NDArray[np.bool_] | None = None,
) -> Order:
    """Filter an order and choose the columns to fit.

    Parameters
    ----------
    e2ds
        Flux by columns [electrons]; NaN for no value.
    blaze
        Filter width of the instrument.
    settings
        Range of the fit, and its weights.
    error
        Standard deviation of the flux, for weights by noise.
    lost
        Columns whose flux falls because part of their window is off the detector.
    """
    x = np.arange(e2ds.size, dtype=float)
    filtered = _core.running_nan_median(np.ascontiguousarray(e2ds, dtype=float), blaze.median_width)
    finite = np.isfinite(filtered)
    p95 = float(np.percentile(filtered[finite], 95)) if finite.any() else np.nan
    with np.errstate(invalid="ignore"):
        bright = (filtered > settings.low * p95) & (filtered < settings.high * p95)
    whole = finite if settings.fit_ends else finite & ~_one_sided(e2ds.size, blaze.median_width // 2, lost)
    fitted = whole & bright
    noise = float(_scatter(e2ds, filtered) * MEDIAN_SCATTER / np.sqrt(blaze.median_width))
    problem = ""
    if not p95 > 0:
        problem = "no flux"
    elif blaze.median_width > 1 and p95 < LEAST_SIGNIFICANCE * noise:
        problem = f"no light: {p95:.3g} e- in the filtered order, whose noise is {noise:.3g} e-"
    weights = None
    if settings.weights == "noise" and error is not None and fitted.any():
        weights = _weights(filtered, error, blaze.median_width)
    return Order(x, e2ds, filtered, fitted, whole, p95, noise, blaze.median_width, weights, problem)


def _one_sided(size: int, reach: int, lost: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Columns whose flux falls with the window, or whose running median reaches beyond the ends or into such columns.

    A median over one side only is that of the columns there: where the order rises or falls it is off.
    """
    off = np.zeros(size + 2 * reach + 2, bool)
    off[: reach + 1] = off[size + reach + 1 :] = True
    if lost is not None:
        off[reach + 1 : size + reach + 1] = lost
    near = np.cumsum(off)
    beyond: NDArray[np.bool_] = (near[2 * reach + 1 :] - near[: size + 1])[:size] > 0
    return beyond


def _scatter(e2ds: Vector, filtered: Vector) -> float:
    """Scatter of a column about the running median, by the median absolute deviation."""
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(e2ds - filtered)
    distance[~np.isfinite(distance)] = np.nan
    found = float(_core.box_medians(distance, 1)[0])
    return NORMAL * found if np.isfinite(found) else 0.0


def _weights(filtered: Vector, error: Vector, width: int) -> Vector:
    """Inverse standard deviations of the columns, relative to their median; the error is filtered as the flux is."""
    smooth = _core.running_nan_median(np.ascontiguousarray(error, dtype=float), width)
    usable = np.isfinite(smooth) & (smooth > 0)
    typical = float(np.median(smooth[usable])) if usable.any() else 1.0
    return typical / np.where(usable, smooth, typical)
