"""How alike the frames of a night are."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.view import ImageView
from flatcore.results import FrameCheck
from flatcore.stability import drift, drift_line

# More frames than this go by number.
MOST_NAMED = 14
# More letters than this overlap unless they are turned.
MOST_LETTERS = 160
# Times are in seconds up to this span [s].
LONGEST_IN_SECONDS = 120.0
# The axes show this much more than the limits at least.
MARGIN = 1.25


def frames_figure(image: ImageView) -> Figure:
    """Draw each frame's level against the combined image's, and how unlike its light is distributed, with the limits.

    Parameters
    ----------
    image
        An image made of several frames.
    """
    look = style.ORDER
    figure = style.new_figure(look)
    numbered = len(image.frames) > MOST_NAMED
    turned = not numbered and sum(len(frame.name) for frame in image.frames) > MOST_LETTERS
    grid = figure.add_gridspec(
        2, 1, height_ratios=(3, 2), hspace=0.2, left=0.085, right=0.985, bottom=0.16 if turned else 0.1, top=0.86
    )
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    limit = image.max_frame_change
    levels = np.array([frame.level for frame in image.frames])
    # A frame without a lit pixel has no spread either.
    spreads = np.where(np.isfinite(levels), [frame.spread for frame in image.frames], np.nan)
    _draw_checks(upper, image.frames, levels, look.text)
    for sign in (-1, 1):
        upper.axhline(1 + sign * limit, color=style.BLACK, linewidth=1.0, linestyle="--",
                      label=f"limits 1 ± {limit:g}" if sign > 0 else None)  # fmt: skip
    slope = drift(image.frames)
    if np.isfinite(slope):
        upper.plot(np.arange(levels.size), drift_line(image.frames), color=style.VERMILION, linewidth=1.2,
                   label=f"straight line in time: {slope:+.2%} from first to last (limit ± {limit:.3g})")  # fmt: skip
    _scale(upper, levels, (1 - MARGIN * limit, 1 + MARGIN * limit))
    _draw_checks(lower, image.frames, spreads, look.text)
    lower.axhline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
    _scale(lower, spreads, (0.0, MARGIN * limit))
    for axes in (upper, lower):
        style.put_legend(axes, axes.get_legend_handles_labels()[0], look.text, 4)
    style.label_axes(upper, look.text, y="level over the\ncombined image's (no unit)")
    ylabel = "greatest departure in\na part of the image (no unit)"
    if numbered:
        style.label_axes(lower, look.text, "number of the frame", ylabel)
    else:
        told, unit = _names(image.frames)
        style.label_axes(lower, look.text, f"frame, and its middle after that of the first [{unit}]", ylabel)
        lower.set_xticks(np.arange(levels.size), told, fontsize=0.9 * look.text)
        lower.tick_params(axis="x", labelrotation=20 if turned else 0)
    upper.set_xlim(-0.5, levels.size - 0.5)
    figure.align_ylabels()
    title = image.title(f"{len(image.frames)} frames held to their combination")
    style.put_titles(figure, title, image.stem, look.text, look.height)
    return figure


def _draw_checks(axes: Axes, frames: tuple[FrameCheck, ...], values: NDArray[np.float64], text: float) -> None:
    """Draw good frames and others, which are told apart by number; what has no value is marked below."""
    numbers, known = np.arange(values.size), np.isfinite(values)
    odd = np.array([bool(frame.words) for frame in frames])
    for here, marker, colour, label in (
        (known & ~odd, "o", style.BLUE, "like the others"),
        (known & odd, "X", style.VERMILION, "not like the others"),
    ):
        if here.any():
            axes.plot(numbers[here], values[here], marker, color=colour, markersize=8, label=f"{label}: {here.sum()}")
    missing = np.flatnonzero(~known)
    if missing.size:
        axes.plot(missing, np.full(missing.size, 0.04), "x", color=style.GREY, transform=axes.get_xaxis_transform(),
                  label=f"no lit pixel: {missing.size}")  # fmt: skip
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def _scale(axes: Axes, values: NDArray[np.float64], least: tuple[float, float]) -> None:
    """Show all values, and the limits in any case."""
    finite = values[np.isfinite(values)]
    low, high = min(least[0], *finite, least[1]), max(least[1], *finite, least[0])
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin if low < least[0] else low, high + margin if high > least[1] else high)


def _names(frames: tuple[FrameCheck, ...]) -> tuple[list[str], str]:
    """Name each frame, with its time after the first one's, and give the unit."""
    times = np.array([frame.mjd_mid for frame in frames])
    days = times - times.min()
    unit, per_day = ("min", 1440.0) if np.ptp(times) * 86400.0 > LONGEST_IN_SECONDS else ("s", 86400.0)
    names = [frame.name.removesuffix(".fits") for frame in frames]
    return [f"{name}\n+{time:.1f}" for name, time in zip(names, days * per_day, strict=True)], unit
