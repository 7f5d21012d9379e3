"""Following strips along the dispersion: every block of columns is compared with the strip's own mean profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.locate.strips import NoiseLine, median_variance

Array = NDArray[np.float64]

# Profiles reach this many widths to each side, but not past the middle to the next strip.
REACH = 1.6
# Rows added to that, so that the level beside a narrow strip is seen.
BESIDE = 2.0
# A strip that reaches this share of that to both sides is alone.
ALONE = 0.75
# At an edge of the image strips reach as far as this percentile of their columns has room, and so many widths at least.
EDGE_PERCENT, EDGE_REACH = 30.0, 0.8


@dataclass(frozen=True, eq=False)
class Profiles:
    """Strips straightened along their traces.

    Attributes
    ----------
    values
        Traces by blocks by offsets from the trace; NaN for no value.
    offsets
        -half ... half [pixels].
    reach
        First and last offset of each strip; traces by 2.
    alone
        Whether a strip has no near neighbour: the light beside it is not that of another strip.
    columns
        Middle column of each block.
    width
        Columns of a block.
    """

    values: NDArray[np.float32]
    offsets: Array
    reach: NDArray[np.int64]
    alone: NDArray[np.bool_]
    columns: Array
    width: int

    def own(self, index: int) -> slice:
        """Offsets that belong to a strip, as indices."""
        half = int(self.offsets[-1])
        first, last = self.reach[index]
        return slice(int(first) + half, int(last) + half + 1)


@dataclass(frozen=True, eq=False)
class Points:
    """What the blocks say of their strips; traces by blocks, NaN where they say nothing.

    Attributes
    ----------
    shift
        Of the strip from the trace it was straightened along [pixels].
    error
        Its standard error [pixels].
    height
        Of the profile, in units of the image.
    height_error
        Its standard error.
    level
        Light below the strip.
    """

    shift: Array
    error: Array
    height: Array
    height_error: Array
    level: Array


def straighten_strips(image: NDArray[np.float32], rows: Array, widths: Array, block: int) -> Profiles:
    """Straighten strips along their traces.

    Parameters
    ----------
    rows
        Traces by columns, from low rows up.
    widths
        Width at half maximum of each strip.
    block
        Columns of a block.
    """
    columns = image.shape[1]
    far = np.maximum(REACH * widths, 2.0) + BESIDE
    below, above = -far, far.copy()
    if len(rows) > 1:
        gap = np.median(np.diff(rows[:, :: max(columns // 64, 1)], axis=0), axis=1)
        below[1:] = np.maximum(below[1:], -gap / 2)
        above[:-1] = np.minimum(above[:-1], gap / 2)
    alone = np.minimum(-below, above) >= ALONE * far
    below, above = _on_image(rows, widths, below, above, image.shape[0])
    # A strip is never so narrow that its shift could not be told from its height.
    reach = np.stack([np.minimum(np.ceil(below), -2), np.maximum(np.floor(above), 2)], axis=1).astype(np.int64)
    half = int(np.abs(reach).max())
    values = _core.straight_profiles(image, np.ascontiguousarray(rows), half, block)
    starts = np.arange(0, columns, block)
    middles = starts + (np.minimum(block, columns - starts) - 1) / 2
    return Profiles(values, np.arange(-half, half + 1.0), reach, alone, middles, block)


def _on_image(rows: Array, widths: Array, below: Array, above: Array, count: int) -> tuple[Array, Array]:
    """Let strips that run off the lower or upper edge reach no further than the image does over most of their columns.

    Else not one of their blocks would be whole. What is left is no less than the width of the light.
    """
    below, above = below.copy(), above.copy()
    for i, (row, width) in enumerate(zip(rows[:, :: max(rows.shape[1] // 256, 1)], widths, strict=True)):
        seen = row[(row > 0.5 * width) & (row < count - 1 - 0.5 * width)]
        if seen.size and (seen.min() < -below[i] or seen.max() > count - 1 - above[i]):
            least = EDGE_REACH * width + 1
            below[i] = -max(min(-below[i], float(np.percentile(seen, EDGE_PERCENT))), least)
            above[i] = max(min(above[i], count - 1 - float(np.percentile(seen, 100 - EDGE_PERCENT))), least)
    return below, above


def mean_profiles(profiles: Profiles) -> Array:
    """Mean profile of each strip above the light beside it, 1 at its highest; traces by offsets, 0 outside its own."""
    return _core.mean_profiles(profiles.values, profiles.reach, profiles.alone.tolist())


def coarse_shifts(profiles: Profiles, means: Array, most: Array) -> tuple[Array, Array]:
    """Whole-pixel shift at which each block is most like its strip's mean profile, and how alike (0 to 1).

    Parameters
    ----------
    most
        Largest shift of each strip [pixels].
    """
    shifts, alike = _core.coarse_shifts(profiles.values, means, profiles.reach, [int(value) for value in most])
    return shifts, alike


def measure(profiles: Profiles, means: Array, noise: NoiseLine) -> Points:
    """Fit each block by its strip's mean profile, its slope (which is a shift), and a straight line below it."""
    share = median_variance(profiles.width)
    planes = _core.fit_profiles(profiles.values, means, profiles.reach, profiles.alone.tolist(), noise, share)
    return Points(*planes)
