"""Every order's own blaze against the model of all orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.flats import draw_flat_image
from flatcore.plots.previous import ratio_reach
from flatcore.plots.view import FiberView
from flatcore.spectra import Comparison, Rung


def compared_figure(view: FiberView) -> Figure:
    """Draw the ratio of both blazes as an image, and per order its rms, the signal to noise, and the lamp.

    Parameters
    ----------
    view
        A fibre whose orders have ``compared``.

    Raises
    ------
    ValueError
        There is no model of all orders.
    """
    compared = [fit.compared for fit in view.flat.fits if fit.compared is not None]
    if len(compared) != len(view.orders):
        raise ValueError(f"{view.stem}: fibre {view.fiber} has no model of all orders to compare with")
    look = style.OVERVIEW
    figure = style.new_figure(look)
    grid = figure.add_gridspec(
        2, 4, width_ratios=(12, 3, 3, 3), height_ratios=(60, 1), wspace=0.06, hspace=0.11, left=0.04, right=0.985,
        bottom=0.05, top=0.9,
    )  # fmt: skip
    image = figure.add_subplot(grid[0, 0])
    ratio = _ratios(view, compared)
    bar = figure.add_subplot(grid[1, 0])
    label = "global / own blaze, levels divided out (no unit)"
    draw_flat_image(image, bar, ratio, ratio_reach(ratio), label=label, text=look.text, upright=False)
    image.yaxis.set_major_locator(MaxNLocator(nbins=25, integer=True))
    image.set_title("global / own blaze; no own blaze, or not fitted: white", loc="left", fontsize=look.text)
    style.label_axes(image, look.text, "column [pixel]", "order")
    parts = (
        ("rms of the ratio\nless 1 (no unit)", [one.rms for one in compared], True),
        ("signal to noise\nof a column (no unit)", [one.snr for one in compared], True),
        ("amplitude over the\nlamp's (no unit)", [one.parameters[0] / one.lamp for one in compared], False),
    )
    used = np.array([fit.rung is Rung.GLOBAL for fit in view.flat.fits])
    for column, (text, values, logarithmic) in enumerate(parts, start=1):
        axes = figure.add_subplot(grid[0, column], sharey=image)
        _draw_per_order(axes, np.array(values), used, logarithmic, look.text)
        axes.set_xlabel(text, fontsize=look.text)
        axes.tick_params(labelleft=False, labelsize=0.9 * look.text)
    image.set_ylim(-0.75, len(view.orders) - 0.25)
    style.put_titles(
        figure,
        f"{view.title()}  own blazes and the model of all orders",
        f"{view.subtitle()}   the model is used in {used.sum()} of {used.size} orders",
        look.text,
        look.height,
    )
    return figure


def _ratios(view: FiberView, compared: Sequence[Comparison]) -> NDArray[np.float64]:
    """Ratio of both blazes, levels divided out; orders by columns, NaN where there is none."""
    ratios = np.full((len(view.orders), view.columns), np.nan)
    for row, one, fit in zip(ratios, compared, view.flat.fits, strict=True):
        with np.errstate(all="ignore"):
            found = np.where(fit.fitted, one.blaze / one.own_blaze, np.nan)
        if np.isfinite(found).any():
            row[:] = found / np.nanmedian(found)
    return ratios


def _draw_per_order(
    axes: Axes, values: NDArray[np.float64], used: NDArray[np.bool_], logarithmic: bool, text: float
) -> None:
    """Draw a figure of each order, by the blaze that it has."""
    orders = np.arange(values.size)
    kinds = ((~used, style.BLUE, "o", "own blaze used"), (used, style.ORANGE, "D", "global blaze used"))
    for here, colour, marker, label in kinds:
        if here.any():
            axes.plot(values[here], orders[here], marker, color=colour, label=f"{label}: {here.sum()}")
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        axes.plot(np.full(missing.size, 0.04), missing, "x", color=style.GREY, transform=axes.get_yaxis_transform(),
                  label=f"no own blaze: {missing.size}")  # fmt: skip
    if logarithmic:
        style.log_axis(axes, "x", values)
    else:
        axes.axvline(1, color=style.GREY, linewidth=1.0, linestyle=":", label="as the lamp")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.ticklabel_format(axis="x", useOffset=False)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    style.put_legend(axes, axes.get_legend_handles_labels()[0], 0.95 * text, 1)
