"""Along which axis the orders run, and how wide and how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_widths

from flatcore.images import Image
from flatcore.instrument import Dispersion

# Columns around the middle that make a cut across the orders.
CUT_COLUMNS = 24
# Pixels between which the change of the light is measured.
STEP = 4
# A peak stands out by this share of the cut's bright end.
LEAST_PROMINENCE = 0.03


@dataclass(frozen=True)
class Strips:
    """Light across the orders at the middle column.

    Attributes
    ----------
    count
        Strips of light.
    width
        Their typical full width at half their height [pixels].
    spacing
        Typical distance of neighbours [pixels].
    """

    count: int
    width: float
    spacing: float


def find_dispersion(image: Image) -> tuple[Dispersion, float]:
    """Find the axis along which the light of a flat changes less.

    Parameters
    ----------
    image
        A flat, rows by columns; NaN for no value.

    Returns
    -------
    dispersion
        rows or columns.
    ratio
        How many times more the light changes across; near 1 nothing is certain.
    """
    changes = []
    for pixels in (image, image.T):
        smooth = _averaged(pixels)
        change = np.abs(smooth[STEP:] - smooth[:-STEP])
        # The bulk of the changes; bad pixels are the extremes.
        changes.append(float(np.nanmean(np.clip(change, None, np.nanpercentile(change, 98)))))
    across_rows, across_columns = changes
    if across_rows >= across_columns:
        return "rows", across_rows / max(across_columns, 1e-30)
    return "columns", across_columns / max(across_rows, 1e-30)


def _averaged(pixels: Image) -> NDArray[np.float64]:
    """Average groups of 8 pixels along rows: noise counts less, orders that run along them stay."""
    columns = pixels.shape[1] // 8 * 8
    groups = pixels[:, :columns].reshape(pixels.shape[0], -1, 8).astype(np.float64)
    seen = np.isfinite(groups)
    count = seen.sum(axis=2)
    total = np.where(seen, groups, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def measure_strips(image: Image) -> Strips:
    """Measure the strips of light at the middle column of a flat whose orders run along rows."""
    middle = image.shape[1] // 2
    part = image[:, middle - CUT_COLUMNS // 2 : middle + CUT_COLUMNS // 2]
    seen = np.isfinite(part).any(axis=1)
    cut = np.empty(part.shape[0])
    cut[seen] = np.nanmedian(part[seen], axis=1)
    # A gap is as dark as can be.
    cut[~seen] = cut[seen].min()
    floor, top = np.percentile(cut, [5, 99])
    peaks, _ = find_peaks(cut, prominence=max(LEAST_PROMINENCE * (top - floor), 1e-30), height=floor)
    if peaks.size == 0:
        return Strips(0, float("nan"), float("nan"))
    widths = peak_widths(cut, peaks, rel_height=0.5)[0]
    spacing = float(np.median(np.diff(peaks))) if peaks.size > 1 else float("nan")
    return Strips(int(peaks.size), float(np.median(widths)), spacing)
