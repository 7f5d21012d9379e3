"""What order tracing finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Trace:
    """One strip of light, followed along the detector. Lengths in pixels.

    Attributes
    ----------
    coefficients
        Chebyshev coefficients of the row, domain [0, columns], at x = 0 ... columns - 1.
    first, last
        First and last column over which it was followed.
    rms
        Of the points around the polynomial.
    error
        Standard error of the row, median over the columns followed.
    points
        Number of points fitted; each is the light of some columns.
    fwhm
        Full width at half maximum, median over the columns followed.
    fwhm_coefficients
        Chebyshev coefficients of the width along the columns, same domain.
    lower, upper
        Distances of the profile's lower and upper edge from the trace.
    below, above
        Proposed extraction half-widths.
    peak_snr
        Signal to noise per column where it is brightest.
    complete
        Whether it crosses the detector from first to last column; else ``ends`` says what stops it.
    ends
        What ends it on the left and on the right: ``detector`` (the first or last column), ``edge`` (it runs off the
        lower or upper edge), or ``faint``.
    order, fiber
        Index of the order, from low rows up, and of the fibre in it.
    """

    coefficients: NDArray[np.float64]
    first: int
    last: int
    rms: float
    error: float
    points: int
    fwhm: float
    fwhm_coefficients: NDArray[np.float64]
    lower: float
    upper: float
    below: float
    above: float
    peak_snr: float
    ends: tuple[str, str]
    order: int
    fiber: int

    @property
    def middle(self) -> float:
        """Row in the middle of the columns."""
        return float(chebyshev.chebval(0.0, self.coefficients))

    @property
    def complete(self) -> bool:
        """Whether no edge of the detector cuts it off."""
        return "edge" not in self.ends


@dataclass(frozen=True, eq=False)
class Located:
    """The traces of an image, numbered from low rows up.

    Attributes
    ----------
    shape
        Rows and columns of the image.
    traces
        By row in the middle of the image.
    fibers
        Traces per order.
    missing
        Order and fibre of the traces that their neighbours ask for and that were not found.
    spacing
        Median distance between neighbouring orders in the middle of the image [pixels]; NaN of a single one.
    """

    shape: tuple[int, int]
    traces: tuple[Trace, ...]
    fibers: int
    missing: tuple[tuple[int, int], ...]
    spacing: float

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """Chebyshev coefficients of all traces, traces by terms, as in a LOC file."""
        return np.array([trace.coefficients for trace in self.traces])

    @property
    def orders(self) -> int:
        """Number of orders."""
        return len({trace.order for trace in self.traces})

    def rows(self) -> NDArray[np.float64]:
        """Give the row of every trace at every column."""
        columns = self.shape[1]
        if not self.traces:
            return np.empty((0, columns))
        scaled = 2 * np.arange(columns) / columns - 1
        return np.atleast_2d(chebyshev.chebval(scaled, self.coefficients.T))

    def of_fiber(self, fiber: int) -> tuple[Trace, ...]:
        """Give the traces of a fibre, from low rows up."""
        return tuple(trace for trace in self.traces if trace.fiber == fiber)
