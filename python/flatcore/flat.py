"""Seventh stage: divide the orders by their blaze, and mask what is not a flat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.settings import FlatSettings
from flatcore.spectra import BlazeFit, FiberFlat, FiberSpectra, Reason, Reasons, Rung, Spectra


def make_flat(
    spectra: FiberSpectra,
    fits: Sequence[BlazeFit],
    settings: FlatSettings,
    saturated: NDArray[np.bool_] | None = None,
) -> FiberFlat:
    """Make the flat of a fibre: E2DS over blaze, NaN where it is an outlier.

    Parameters
    ----------
    spectra
        The fibre's extracted orders.
    fits
        The orders' blaze fits.
    settings
        Limits of the masks, and whether the slow part is divided out.
    saturated
        Orders by columns: whether a pixel of the window was saturated.

    Returns
    -------
    FiberFlat
        ``blaze * flat`` is ``e2ds`` to rounding, unless the slow part was divided out.
    """
    blaze = np.stack([fit.blaze for fit in fits])
    blaze_error = np.stack([fit.blaze_error for fit in fits])
    low, nothing = np.stack([fit.low for fit in fits]), np.isnan(blaze)
    reasons = _window_reasons(spectra)
    if saturated is not None:
        reasons |= _marked(saturated, Reason.SATURATED)
    reasons |= _marked(low, Reason.LOW_BLAZE)
    reasons |= _marked(nothing & ~low, Reason.NO_BLAZE)
    e2ds = np.where(nothing, np.nan, spectra.e2ds)
    flat = e2ds / blaze
    for i, fit in enumerate(fits):
        # What says how an order's blaze was come by stands on all its columns.
        if fit.helped:
            reasons[i] |= np.int16(Reason.PREDICTED)
        elif fit.rung is Rung.SPLINE:
            reasons[i] |= np.int16(Reason.SPLINE)
    rms_before = _scatter(flat, fits)
    distance = np.abs(flat - 1.0)
    beyond_sigma, beyond_limit = distance > settings.sigma_cut * rms_before[:, np.newaxis], distance > settings.limit
    reasons |= _marked(beyond_sigma, Reason.OUTLIER_SIGMA)
    reasons |= _marked(beyond_limit, Reason.OUTLIER_LIMIT)
    masked = beyond_sigma | beyond_limit
    for plane in (flat, blaze, e2ds, blaze_error):
        plane[masked] = np.nan
    flat_error = spectra.e2ds_error / blaze
    rms = _scatter(flat, fits)
    if settings.divide_slow_part:
        for i in range(len(fits)):
            slow = _core.slow_part(flat[i], settings.slow_width)
            flat[i] /= slow
            flat_error[i] /= slow
    return FiberFlat(
        fiber=spectra.fiber,
        e2ds=e2ds,
        blaze=blaze,
        blaze_error=blaze_error,
        flat=flat,
        flat_error=flat_error,
        reasons=reasons,
        rms_before=rms_before,
        rms=rms,
        fits=tuple(fits),
    )


def _scatter(flat: Spectra, fits: Sequence[BlazeFit]) -> NDArray[np.float64]:
    """Robust scatter of each order's flat over its fitted pixels."""
    return np.array([_core.robust_sigma(row[fit.fitted]) for row, fit in zip(flat, fits, strict=True)])


def _window_reasons(spectra: FiberSpectra) -> Reasons:
    """Say what the pixels of each column's window lack."""
    reasons = _marked(spectra.off_detector, Reason.OFF_DETECTOR)
    reasons |= _marked(spectra.bad, Reason.BAD_PIXEL)
    reasons |= _marked(spectra.outlying, Reason.REJECTED)
    reasons |= _marked(np.isnan(spectra.e2ds), Reason.NO_DATA)
    return reasons


def _marked(where: NDArray[np.bool_], reason: Reason) -> Reasons:
    """Give a reason's bit where something holds, 0 elsewhere."""
    return np.multiply(where, np.int16(reason), dtype=np.int16)
