"""Parameters of the blaze across the orders, with what the other orders predict."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.blaze.across import Across
from flatcore.plots import style
from flatcore.plots.view import FiberView
from flatcore.spectra import Rung

# Parameters as the axes name them, and where each is found in a fit.
TERMS = (
    ("A, amplitude\n[electrons]", 0),
    ("s, slope\n[1/pixel]", 5),
    ("P, period\n[pixel]", 1),
    ("L, centre\n[pixel]", 2),
    ("Q, quadratic term\n[1/pixel]", 3),
    ("C, cubic term\n[1/pixel²]", 4),
)
# The terms that the other orders predict.
PREDICTED_TERMS = (1, 2, 3, 4)
RUNGS = {
    Rung.GLOBAL: (style.VERMILION, "p"),
    Rung.FULL: (style.BLUE, "o"),
    Rung.NO_CUBIC: (style.GREEN, "s"),
    Rung.NO_QUADRATIC: (style.PURPLE, "^"),
    Rung.PREDICTED: (style.ORANGE, "D"),
    Rung.SPLINE: (style.SKY, "|"),
    Rung.NONE: (style.GREY, "x"),
}
PREDICTION = style.VERMILION
# Room above and below the values, as a share of their range.
MARGIN = 0.2


def parameters_figure(view: FiberView) -> Figure:
    """Draw each parameter against order, by rung, with the prediction from the other orders.

    Parameters
    ----------
    view
        The fibre.
    """
    look = style.ORDER
    figure = style.new_figure(look)
    axes = figure.subplots(
        3, 2, sharex=True,
        gridspec_kw={"left": 0.09, "right": 0.985, "bottom": 0.075, "top": 0.85, "hspace": 0.12, "wspace": 0.2},
    )  # fmt: skip
    values, scatter = predictions(view)
    for part, (label, term) in zip(axes.flat, TERMS, strict=True):
        _draw_prediction(part, values[:, term], scatter[:, term], term)
        _draw_fits(part, view, term)
        _scale(part, view, values[:, term], term)
        style.label_axes(part, look.text, x="order" if part in axes[-1] else "", y=label)
        part.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5))
        part.grid(color="0.92")
        part.set_axisbelow(True)
    style.order_axis(axes[0, 0], len(view.orders))
    figure.align_ylabels()
    handles: dict[str, Artist] = {}
    for part in axes.flat[::-1]:
        handles |= {label: handle for handle, label in zip(*part.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(handles.values()), list(handles), loc="upper right", bbox_to_anchor=(0.99, 0.925), ncols=8,
        fontsize=0.9 * look.text, frameon=False, handlelength=1.5, columnspacing=1.2,
    )  # fmt: skip
    style.put_titles(
        figure,
        f"{view.title()}  blaze parameters",
        f"{view.subtitle()}   bars: errors, as far as there is room",
        look.text,
        look.height,
    )
    return figure


def _scale(axes: Axes, view: FiberView, predicted: NDArray[np.float64], term: int) -> None:
    """Show values and predictions; the error of a badly determined one would leave no room for the others."""
    shown = np.array([*(fit.parameters[term] for fit in view.flat.fits), *predicted])
    shown = shown[np.isfinite(shown)]
    if shown.size and np.ptp(shown) > 0:
        margin = MARGIN * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, shown.max() + margin)


def predictions(view: FiberView) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predict each order's parameters from the other orders' own fits, and their scatter; NaN where there are too few.

    Only P, L, Q and C follow from other orders; the others are NaN too.
    """
    own = {order: view.flat.fits[order].parameters for order in view.orders if _is_own(view, order)}
    across = Across(own, view.columns, view.grating)
    values, scatter = (np.full((len(view.orders), 6), np.nan) for _ in range(2))
    for order in view.orders:
        found = across.predicted(order)
        if found is not None:
            for kept, predicted in zip((values, scatter), found, strict=True):
                kept[order, list(PREDICTED_TERMS)] = predicted[list(PREDICTED_TERMS)]
    return values, scatter


def _is_own(view: FiberView, order: int) -> bool:
    return Rung.FULL <= view.flat.fits[order].rung < Rung.PREDICTED


def _draw_prediction(axes: Axes, values: NDArray[np.float64], scatter: NDArray[np.float64], term: int) -> None:
    if term not in PREDICTED_TERMS or not np.isfinite(values).any():
        return
    orders = np.arange(values.size)
    axes.plot(orders, values, color=PREDICTION, linewidth=1.2, label="predicted from the other orders")
    axes.fill_between(orders, values - scatter, values + scatter, color=PREDICTION, alpha=0.2, linewidth=0,
                      label="± their scatter about it")  # fmt: skip


def _draw_fits(axes: Axes, view: FiberView, term: int) -> None:
    """Every order by its rung; what has no parameters is marked at the lower edge."""
    fits = view.flat.fits
    for rung, (colour, marker) in RUNGS.items():
        here = [order for order in view.orders if fits[order].rung is rung]
        if not here:
            continue
        label = f"rung {rung.words}: {len(here)}"
        if rung in (Rung.SPLINE, Rung.NONE):
            axes.plot(here, np.full(len(here), 0.04), marker, color=colour, markersize=8, markeredgewidth=2,
                      transform=axes.get_xaxis_transform(), label=label, clip_on=False)  # fmt: skip
            continue
        values = np.array([fits[order].parameters[term] for order in here])
        errors = np.array([fits[order].errors[term] for order in here])
        axes.errorbar(here, values, np.where(np.isfinite(errors), errors, 0), fmt=marker, color=colour, markersize=5,
                      elinewidth=1.0, ecolor=to_rgba(colour, 0.4), label=label)  # fmt: skip
    robust = [order for order in view.orders if fits[order].loss == "soft_l1" and _is_own(view, order)]
    if robust:
        axes.plot(robust, [fits[order].parameters[term] for order in robust], "o", color=style.BLACK, markersize=10,
                  markerfacecolor="none", label=f"robust fit: {len(robust)}")  # fmt: skip
