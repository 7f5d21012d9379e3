"""Whether two results are the same work: no ratio counts before they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Rounding decides now and then on which side of a threshold a pixel falls; a larger share than this is a difference.
MOST_OFF = 1e-5


@dataclass(frozen=True)
class Agreement:
    """How far a result is from its twin's.

    Attributes
    ----------
    tolerance
        Difference that counts, relative to the larger of a value and ``floor``.
    off
        Values further apart than that, or NaN in one of the two only.
    total
        Values compared.
    """

    tolerance: float
    off: int
    total: int
    most_off: float = MOST_OFF

    @property
    def holds(self) -> bool:
        """Whether the two are the same but for a few values on a threshold."""
        return self.off <= self.most_off * self.total

    def __str__(self) -> str:
        """Say it in a few words."""
        words = f"agree to {self.tolerance:.0e}"
        return f"{words}, all but {self.off} of {self.total:,} values" if self.off else words

    def __add__(self, other: Agreement) -> Agreement:
        """Both results together."""
        return Agreement(self.tolerance, self.off + other.off, self.total + other.total, self.most_off)


def compare(
    found: NDArray[np.generic],
    expected: NDArray[np.generic],
    tolerance: float,
    *,
    floor: float = 0.0,
    most_off: float = MOST_OFF,
) -> Agreement:
    """Compare two arrays, NaN and all; differences are relative to a value's size, or to ``floor`` for small ones."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    with np.errstate(invalid="ignore"):
        close = np.isfinite(expected) & (np.abs(found - expected) <= tolerance * np.maximum(np.abs(expected), floor))
    same = close | (found == expected) | (np.isnan(found) & np.isnan(expected))
    return Agreement(tolerance, int(np.count_nonzero(~same)), found.size, most_off)
