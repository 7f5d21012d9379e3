"""Tonight's flat against an earlier night's."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.flats import draw_flat_image
from flatcore.plots.view import FiberView

# Changes are drawn no smaller than the limit over this.
FAR_BELOW = 1000.0


def previous_figure(view: FiberView) -> Figure:
    """Draw the ratio of the flats as an image, and per order how flat, blaze and lamp changed, with what is asked.

    Parameters
    ----------
    view
        A fibre with ``previous``.

    Raises
    ------
    ValueError
        There is no earlier night.
    """
    if view.previous is None:
        raise ValueError(f"{view.stem}: fibre {view.fiber} has no earlier night's flat to compare with")
    look = style.OVERVIEW
    figure = style.new_figure(look)
    grid = figure.add_gridspec(
        2, 4, width_ratios=(12, 3, 3, 3), height_ratios=(60, 1), wspace=0.06, hspace=0.11, left=0.04, right=0.985,
        bottom=0.05, top=0.9,
    )  # fmt: skip
    image = figure.add_subplot(grid[0, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = view.flat.flat / view.previous.flat
    bar = figure.add_subplot(grid[1, 0])
    label = "flat / earlier flat (no unit)"
    draw_flat_image(image, bar, ratio, ratio_reach(ratio), label=label, text=look.text, upright=False)
    image.yaxis.set_major_locator(MaxNLocator(nbins=25, integer=True))
    image.set_title("flat / earlier flat; no value in either: white", loc="left", fontsize=look.text)
    style.label_axes(image, look.text, "column [pixel]", "order")
    if view.change is not None:
        parts = (
            (view.change.flat, view.asked.max_flat_change, "scatter of the\nflats' ratio (no unit)"),
            (view.change.blaze, view.asked.max_blaze_change, "change of the blaze's\nshape (no unit)"),
            (view.change.level, None, "level of the blaze over\nthe earlier one (no unit)"),
        )
        for column, (values, limit, label) in enumerate(parts, start=1):
            axes = figure.add_subplot(grid[0, column], sharey=image)
            _draw_per_order(axes, values, limit, look.text)
            axes.set_xlabel(label, fontsize=look.text)
            axes.tick_params(labelleft=False, labelsize=0.9 * look.text)
    image.set_ylim(-0.75, len(view.orders) - 0.25)
    age = view.previous.age_days
    subtitle = f"{view.subtitle()}   against {view.previous.name}, {age:.1f} days earlier"
    style.put_titles(figure, f"{view.title()}  change since an earlier night", subtitle, look.text, look.height)
    return figure


def ratio_reach(ratio: NDArray[np.float64]) -> float:
    """How far from 1 the ratio is drawn in grey levels: nearly all of it is within."""
    off = np.abs(ratio[np.isfinite(ratio)] - 1)
    reach = float(np.percentile(off, 98)) if off.size else 0.0
    return reach if reach > 0 else 0.01


def _draw_per_order(axes: Axes, values: NDArray[np.float64], limit: float | None, text: float) -> None:
    """Draw a figure of each order, and the limit where there is one."""
    orders = np.arange(values.size)
    with np.errstate(invalid="ignore"):
        over = values >= limit if limit is not None else np.zeros(values.size, bool)
    if limit is not None:
        # What is far below it differs by rounding.
        values = np.maximum(values, limit / FAR_BELOW)
    axes.plot(values[~over], orders[~over], "o", color=style.BLUE, label="order" if limit is None else "within")
    if over.any():
        axes.plot(values[over], orders[over], "X", color=style.VERMILION, label=f"not below the limit: {over.sum()}")
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        axes.plot(np.full(missing.size, 0.04), missing, "x", color=style.GREY, transform=axes.get_yaxis_transform(),
                  label=f"no value: {missing.size}")  # fmt: skip
    if limit is not None:
        axes.axvline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
        style.log_axis(axes, "x", np.append(values, limit))
    else:
        axes.axvline(1, color=style.GREY, linewidth=1.0, linestyle=":", label="unchanged")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    style.put_legend(axes, axes.get_legend_handles_labels()[0], 0.95 * text, 1)
