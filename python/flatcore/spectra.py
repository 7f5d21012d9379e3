"""What the stages from extraction on hand on: frozen records of spectra, blaze and flat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from flatcore.images import Image, Mask

Spectra = NDArray[np.float64]
# Sums of :class:`Reason` bits.
Reasons = NDArray[np.int16]


class Reason(IntFlag):
    """Why a pixel of blaze and flat has no value, or a doubtful one."""

    NO_DATA = 1
    """No pixel of the window was kept."""
    OFF_DETECTOR = 2
    """Part of the window lies off the detector."""
    BAD_PIXEL = 4
    """A pixel of the window has no value."""
    REJECTED = 8
    """A pixel of the window was rejected as an outlier."""
    SATURATED = 16
    """A pixel of the window was saturated."""
    LOW_BLAZE = 32
    """The blaze is under the cut."""
    OUTLIER_SIGMA = 64
    """The flat is further from 1 than its rms allows."""
    OUTLIER_LIMIT = 128
    """The flat is further from 1 than the fixed limit."""
    PREDICTED = 256
    """The shape of the blaze follows from the other orders: predicted, or by the model of all, for want of its own."""
    SPLINE = 512
    """The blaze is a smoothing spline."""
    NO_BLAZE = 1024
    """There is no blaze here."""


# A pixel has no flat where it has one of these; the others say that a value is doubtful.
MASKING = Reason.NO_DATA | Reason.LOW_BLAZE | Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT | Reason.NO_BLAZE


class Rung(IntEnum):
    """How an order's blaze is described: by the model of all orders, or on a ladder of its own, from best to none."""

    GLOBAL = 0
    FULL = 1
    NO_CUBIC = 2
    NO_QUADRATIC = 3
    PREDICTED = 4
    SPLINE = 5
    NONE = 6

    @property
    def words(self) -> str:
        """Name in tables and messages."""
        return _RUNG_WORDS[self]

    @classmethod
    def named(cls, words: str) -> Rung:
        """Give the rung of a name."""
        return next(rung for rung, name in _RUNG_WORDS.items() if name == words)


_RUNG_WORDS = {
    Rung.GLOBAL: "global",
    Rung.FULL: "full",
    Rung.NO_CUBIC: "no-cubic",
    Rung.NO_QUADRATIC: "no-quadratic",
    Rung.PREDICTED: "predicted",
    Rung.SPLINE: "spline",
    Rung.NONE: "none",
}


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
    outlying
        Columns whose window holds a pixel that was rejected as an outlier.
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
    outlying: NDArray[np.bool_]
    off_detector: NDArray[np.bool_]
    coverage: NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """An order's blaze by the model of all orders, beside the one that it has without that model.

    Attributes
    ----------
    snr
        Signal to noise of a column where the order is bright.
    takes_part
        Whether the model was fitted to this order too.
    own_rung, own_blaze
        How the order is described without the model, and its blaze then, on all columns [electrons]; NaN for no value.
    parameters, errors
        A, P, L, Q, C, s by the model of all orders, and their standard errors.
    blaze, error
        On all columns [electrons], and its standard error.
    number
        Absolute order number, not rounded, by which 1/P goes; NaN where it does not.
    lamp
        Amplitude that the lamp's smooth spectrum lets expect [electrons].
    rms, greatest
        Of the ratio of both blazes less 1, levels divided out, over the fitted columns; NaN without a blaze of its own.
    """

    snr: float
    takes_part: bool
    own_rung: Rung
    own_blaze: NDArray[np.float64]
    parameters: NDArray[np.float64]
    errors: NDArray[np.float64]
    blaze: NDArray[np.float64]
    error: NDArray[np.float64]
    number: float
    lamp: float
    rms: float
    greatest: float


@dataclass(frozen=True)
class BlazeFit:
    """Blaze of one order.

    Attributes
    ----------
    rung, loss
        How the blaze is described, and whether its fit is plain (linear) or robust (soft_l1).
    parameters
        A [electrons], P [pixels], L [pixels], Q, C, s; NaN where there is no sinc^2.
    errors
        Their standard errors; of a predicted one, the scatter of the other orders.
    blaze, blaze_error
        On all columns [electrons]; NaN under the cut or where there is no blaze.
    filtered
        The median-filtered order that was fitted.
    fitted
        The columns that were fitted.
    low
        The columns under the cut.
    misfit
        Rms of the residual's medians in sixteen boxes over the fitted columns, over the amplitude; of a robust fit
        their median, scaled to a standard deviation.
    departure
        Greatest difference from the shape that the neighbouring orders let expect; NaN where there are too few.
    reasons
        Why each description before this one was not taken, in words.
    evaluations
        Evaluations of the model; those of the model of all orders are not counted.
    compared
        The same order by the model of all orders; None where that was not asked for, or cannot be had.
    """

    rung: Rung
    loss: str
    parameters: NDArray[np.float64]
    errors: NDArray[np.float64]
    blaze: NDArray[np.float64]
    blaze_error: NDArray[np.float64]
    filtered: NDArray[np.float64]
    fitted: NDArray[np.bool_]
    low: NDArray[np.bool_]
    misfit: float
    departure: float
    reasons: tuple[str, ...]
    evaluations: int
    compared: Comparison | None = None

    @property
    def problem(self) -> str:
        """Why there is no blaze; empty where there is one."""
        return self.reasons[-1] if self.rung is Rung.NONE else ""

    @property
    def helped(self) -> bool:
        """Tell whether its shape follows from other orders, because the order does not bear one of its own."""
        return self.rung is Rung.PREDICTED or (self.rung is Rung.GLOBAL and bool(self.reasons))


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
    reasons: Reasons
    rms_before: NDArray[np.float64]
    rms: NDArray[np.float64]
    fits: tuple[BlazeFit, ...]
