"""Every order's own blaze against the model of all orders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.ratio import Words, draw_level, mark_missing, ratio_figure
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
    used = np.array([fit.rung is Rung.GLOBAL for fit in view.flat.fits])
    words = Words(
        title=f"{view.title()}  own blazes and the model of all orders",
        subtitle=f"{view.subtitle()}   the model is used in {used.sum()} of {used.size} orders",
        image="global / own blaze; no own blaze, or not fitted: white",
        levels="global / own blaze, levels divided out (no unit)",
    )
    parts = (
        ("rms of the ratio\nless 1 (no unit)", [one.rms for one in compared], True),
        ("signal to noise\nof a column (no unit)", [one.snr for one in compared], True),
        ("amplitude over the\nlamp's (no unit)", [one.parameters[0] / one.lamp for one in compared], False),
    )
    drawn = [(label, partial(_draw_orders, np.array(values), used, log)) for label, values, log in parts]
    return ratio_figure(_ratios(view, compared), words, drawn)


def _ratios(view: FiberView, compared: Sequence[Comparison]) -> NDArray[np.float64]:
    """Ratio of both blazes, levels divided out; orders by columns, NaN where there is none."""
    ratios = np.full((len(view.orders), view.columns), np.nan)
    for row, one, fit in zip(ratios, compared, view.flat.fits, strict=True):
        with np.errstate(all="ignore"):
            found = np.where(fit.fitted, one.blaze / one.own_blaze, np.nan)
        if np.isfinite(found).any():
            row[:] = found / np.nanmedian(found)
    return ratios


def _draw_orders(values: NDArray[np.float64], used: NDArray[np.bool_], logarithmic: bool, axes: Axes) -> None:
    """Draw a figure of each order, by the blaze that it has."""
    orders = np.arange(values.size)
    kinds = ((~used, style.BLUE, "o", "own blaze used"), (used, style.ORANGE, "D", "global blaze used"))
    for here, colour, marker, label in kinds:
        if here.any():
            axes.plot(values[here], orders[here], marker, color=colour, label=f"{label}: {here.sum()}")
    mark_missing(axes, values, "no own blaze")
    if logarithmic:
        style.log_axis(axes, "x", values)
    else:
        draw_level(axes, "as the lamp")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
