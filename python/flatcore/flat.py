"""Seventh stage: divide the orders by their blaze, and mask what is not a flat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.settings import FlatSettings
from flatcore.spectra import BlazeFit, FiberFlat, FiberSpectra, Reason, Reasons, Rung


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
    reasons = _window_reasons(spectra)
    if saturated is not None:
        reasons[saturated] |= np.int16(Reason.SATURATED)
    e2ds = np.where(np.isnan(blaze), np.nan, spectra.e2ds)
    flat = e2ds / blaze
    rms_before, rms = np.full(len(fits), np.nan), np.full(len(fits), np.nan)
    for i, fit in enumerate(fits):
        reasons[i] |= np.where(fit.low, np.int16(Reason.LOW_BLAZE), np.int16(0))
        reasons[i, np.isnan(fit.blaze) & ~fit.low] |= np.int16(Reason.NO_BLAZE)
        # What says how an order's blaze was come by stands on all its columns.
        if fit.helped:
            reasons[i] |= np.int16(Reason.PREDICTED)
        elif fit.rung is Rung.SPLINE:
            reasons[i] |= np.int16(Reason.SPLINE)
        rms_before[i] = _core.robust_sigma(flat[i, fit.fitted])
        for reason, sigmas, limit in (
            (Reason.OUTLIER_SIGMA, settings.sigma_cut, np.inf),
            (Reason.OUTLIER_LIMIT, np.inf, settings.limit),
        ):
            reasons[i, _core.outliers(flat[i], rms_before[i], sigmas, limit)] |= np.int16(reason)
    masked = (reasons & np.int16(Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT)) != 0
    for plane in (flat, blaze, e2ds, blaze_error):
        plane[masked] = np.nan
    flat_error = spectra.e2ds_error / blaze
    for i, fit in enumerate(fits):
        rms[i] = _core.robust_sigma(flat[i, fit.fitted])
        if settings.divide_slow_part:
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


def _window_reasons(spectra: FiberSpectra) -> Reasons:
    """Say what the pixels of each column's window lack."""
    reasons = np.zeros(spectra.e2ds.shape, np.int16)
    reasons[spectra.off_detector] |= np.int16(Reason.OFF_DETECTOR)
    reasons[spectra.bad] |= np.int16(Reason.BAD_PIXEL)
    reasons[spectra.outlying] |= np.int16(Reason.REJECTED)
    reasons[np.isnan(spectra.e2ds)] |= np.int16(Reason.NO_DATA)
    return reasons
