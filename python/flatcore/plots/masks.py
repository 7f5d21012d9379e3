"""Why pixels are masked or doubtful: one mark and one name per reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.settings import FlatSettings
from flatcore.spectra import MASKING, Reason, Reasons


@dataclass(frozen=True)
class Mark:
    """How the pixels of one reason are drawn.

    Attributes
    ----------
    reason
        The reason.
    name
        In the legend.
    colour, marker
        Of the points.
    height
        Where its column is marked, as a share of the axes.
    """

    reason: Reason
    name: str
    colour: str
    marker: str
    height: float = 0.03

    @property
    def masked(self) -> bool:
        """Whether such a pixel has no value; else it is only doubtful."""
        return bool(self.reason & MASKING)


def marks(limits: FlatSettings) -> tuple[Mark, ...]:
    """List the marks; a masked pixel that has several reasons goes by the first of them."""
    return (
        Mark(Reason.NO_BLAZE, "no blaze", style.GREEN, "."),
        Mark(Reason.NO_DATA, "no pixel kept", style.BLUE, "s"),
        Mark(Reason.LOW_BLAZE, "blaze under the cut", style.SKY, "."),
        Mark(Reason.OUTLIER_LIMIT, f"flat off by > {limits.limit:g}", style.PURPLE, "^"),
        Mark(Reason.OUTLIER_SIGMA, f"flat off by > {limits.sigma_cut:g} rms", style.ORANGE, "D"),
        Mark(Reason.REJECTED, "kept; outlying pixels of the window left out", style.GREEN, "|", 0.97),
        Mark(Reason.BAD_PIXEL, "kept; bad pixels in the window", style.BLUE, "|", 0.94),
        Mark(Reason.SATURATED, "kept; saturated pixels in the window", style.PURPLE, "|", 0.88),
        Mark(Reason.PREDICTED, "kept; blaze by the other orders", style.ORANGE, "|", 0.85),
        Mark(Reason.SPLINE, "kept; blaze a spline", style.SKY, "|", 0.82),
        Mark(Reason.OFF_DETECTOR, "kept; window partly off the detector", style.BLACK, "|", 0.91),
    )


def marked(reasons: Reasons, limits: FlatSettings) -> Iterator[tuple[Mark, NDArray[np.bool_]]]:
    """Give for each mark the pixels that bear it; each masked pixel bears one, and no doubtful one.

    Parameters
    ----------
    reasons
        :class:`flatcore.spectra.Reason` bits, of any shape.
    limits
        Named in the legend.
    """
    taken = np.zeros(reasons.shape, bool)
    for mark in marks(limits):
        here = ((reasons & np.int16(mark.reason)) != 0) & ~taken
        if mark.masked:
            taken |= here
        yield mark, here
