"""What the stages from extraction on hand on: frozen records of spectra, blaze and flat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from flatcore.images import Image, Mask

Spectra = NDArray[np.float64]


class Reason(IntFlag):
    """Why a pixel of blaze and flat has no value, or a doubtful one."""

    NO_DATA = 1
    """No pixel of the window was kept."""
    OFF_DETECTOR = 2
    """Part of the window lies off the detector."""
    REJECTED = 4
    """At least one pixel of the window was rejected or had no value."""
    LOW_BLAZE = 8
    """The blaze is under the cut."""
    OUTLIER_SIGMA = 16
    """The flat is further from 1 than its rms allows."""
    OUTLIER_LIMIT = 32
    """The flat is further from 1 than the fixed limit."""
    NO_FIT = 64
    """The blaze of this order could not be fitted."""


@dataclass(frozen=True)
class FiberSpectra:
    """Extracted orders of a fibre.

    Attributes
    ----------
    e2ds, e2ds_error
        Flux and its standard deviation from photon and read noise, orders by columns [electrons]; NaN for no value.
    e2dsll
        Each pixel's share of the flux, rows of all orders by columns [electrons]; NaN where it is not kept. An order's
        flux is the sum over its rows. Where orders were extracted without straightening, a row holds the shares of all
        pixels nearest to that straight row.
    e2dscc
        1 where a pixel (all pixels with a share) is kept, 0 where it is not.
    windows
        First row and number of rows of each order.
    rejected
        Pixels left out, per order.
    snr
        Signal to noise in the middle columns, per order.
    level_adu
        Mean level of a pixel in the middle columns, per order [ADU].
    saturated
        Orders above the saturation limit.
    readnoise_e
        Effective read noise of the image [electrons].
    bad
        Columns, orders by columns, whose window holds a pixel that has no value although it lies on the detector.
    off_detector
        Columns whose window holds a pixel off the detector.
    coverage
        Share of the order's light that falls on pixels of the window on the detector: 1 where all of them are, 0 where
        none is. Flux falls with it; relative to the rows that are seen where no column is whole.
    """

    fiber: str
    e2ds: Spectra
    e2ds_error: Spectra
    e2dsll: Image
    e2dscc: Mask
    windows: tuple[tuple[int, int], ...]
    rejected: tuple[int, ...]
    snr: NDArray[np.float64]
    level_adu: NDArray[np.float64]
    saturated: NDArray[np.bool_]
    readnoise_e: float
    bad: NDArray[np.bool_]
    off_detector: NDArray[np.bool_]
    coverage: NDArray[np.float64]


@dataclass(frozen=True)
class BlazeFit:
    """Blaze of one order.

    Attributes
    ----------
    parameters
        A [electrons], P [pixels], L [pixels], Q, C, s; NaN where the fit failed.
    errors
        Their standard errors.
    blaze, blaze_error
        On all columns [electrons]; NaN under the cut or where the fit failed.
    filtered
        The median-filtered order that was fitted.
    fitted
        The columns that were fitted.
    problem
        Why there is no blaze; empty where there is one.
    evaluations
        Evaluations of the model.
    """

    parameters: NDArray[np.float64]
    errors: NDArray[np.float64]
    blaze: NDArray[np.float64]
    blaze_error: NDArray[np.float64]
    filtered: NDArray[np.float64]
    fitted: NDArray[np.bool_]
    problem: str
    evaluations: int


@dataclass(frozen=True)
class FiberFlat:
    """Blaze and flat of a fibre.

    Attributes
    ----------
    e2ds, blaze, flat
        Orders by columns; NaN where masked. ``blaze * flat`` is ``e2ds``, unless the slow part was divided out.
    blaze_error, flat_error
        Standard deviations of blaze and flat.
    reasons
        :class:`Reason` bits.
    rms_before, rms
        Robust scatter of the flat over the fitted pixels, before and after the masks, per order.
    fits
        The orders' fits.
    """

    fiber: str
    e2ds: Spectra
    blaze: Spectra
    blaze_error: Spectra
    flat: Spectra
    flat_error: Spectra
    reasons: Mask
    rms_before: NDArray[np.float64]
    rms: NDArray[np.float64]
    fits: tuple[BlazeFit, ...]
