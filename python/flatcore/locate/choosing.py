"""Which strips of light are orders."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.locate.extent import lit_columns
from flatcore.locate.rounds import Followed, scaled_columns
from flatcore.locate.settings import LocateSettings

Array = NDArray[np.float64]

# Traces nearer to one another than this share of their width, over most of their columns, are one.
SAME = 0.5
# Strips narrower or wider than these shares of what is usual are no orders, but bad rows and humps of the background.
LEAST_WIDTH, MOST_WIDTH = 0.4, 4.0


def acceptable(followed: Followed, settings: LocateSettings, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which strips are orders: bright enough, long enough, not too narrow, and none of them twice."""
    lit = followed.lit
    width = followed.profiles.width
    least = settings.min_columns or max(shape[1] // 16, 4 * width)
    long = np.array([lit_columns(one, followed.profiles.columns, width, shape[1])[2] for one in lit])
    peak = peak_snr(followed.snr, lit)
    kept = (long >= least) & (peak >= settings.min_snr) & (followed.fits.used.sum(axis=1) >= 4)
    kept &= followed.widths <= settings.max_width
    if kept.sum() > 4:
        usual = float(np.median(followed.widths[kept]))
        kept &= (followed.widths > LEAST_WIDTH * usual) & (followed.widths < MOST_WIDTH * usual)
    return np.asarray(kept & ~_twice(followed, kept, lit, shape))


def peak_snr(snr: Array, lit: NDArray[np.bool_]) -> Array:
    """Signal to noise per column where strips are brightest: the 90th percentile of the lit blocks."""
    return np.array([np.percentile(s[m], 90) if m.any() else 0.0 for s, m in zip(snr, lit, strict=True)])


def _twice(
    followed: Followed, kept: NDArray[np.bool_], lit: NDArray[np.bool_], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which strips lie on another one that is seen better, or cross it."""
    rows = chebyshev.chebval(scaled_columns(followed.profiles.columns, shape), followed.coefficients.T)
    score = np.where(lit, followed.snr, 0.0).sum(axis=1)
    twice = np.zeros(len(rows), bool)
    for i in np.flatnonzero(kept):
        # Traces are sorted: only near ones can be the same.
        for j in np.flatnonzero(kept):
            if abs(int(i) - int(j)) > 3 or i == j or twice[i] or twice[j] or (score[i], -i) > (score[j], -j):
                continue
            apart = (rows[i] - rows[j])[lit[i]]
            # Orders do not cross: what does is no order.
            crosses = apart.min() < 0 < apart.max()
            twice[i] = crosses or np.median(np.abs(apart)) < SAME * min(followed.widths[i], followed.widths[j])
    return twice
