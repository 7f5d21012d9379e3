"""Tonight's flat against an earlier night's."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.ratio import DrawOrders, Words, draw_level, mark_missing, ratio_figure
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
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = view.flat.flat / view.previous.flat
    words = Words(
        title=f"{view.title()}  change since an earlier night",
        subtitle=f"{view.subtitle()}   against {view.previous.name}, {view.previous.age_days:.1f} days earlier",
        image="flat / earlier flat; no value in either: white",
        levels="flat / earlier flat (no unit)",
    )
    parts: list[tuple[str, DrawOrders]] = []
    if view.change is not None:
        parts = [
            ("scatter of the\nflats' ratio (no unit)", _limited(view.change.flat, view.asked.max_flat_change)),
            ("change of the blaze's\nshape (no unit)", _limited(view.change.blaze, view.asked.max_blaze_change)),
            ("level of the blaze over\nthe earlier one (no unit)", _limited(view.change.level, None)),
        ]
    return ratio_figure(ratio, words, parts)


def _limited(values: NDArray[np.float64], limit: float | None) -> DrawOrders:
    return partial(_draw_orders, values, limit)


def _draw_orders(values: NDArray[np.float64], limit: float | None, axes: Axes) -> None:
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
    mark_missing(axes, values, "no value")
    if limit is not None:
        axes.axvline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
        style.log_axis(axes, "x", np.append(values, limit))
    else:
        draw_level(axes, "unchanged")
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
