"""How good each order is: rms of the flat and signal to noise, with the limits of quality control."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.view import FiberView


def quality_figure(view: FiberView) -> Figure:
    """Draw the rms of each order's flat, its signal to noise, and that over the photons', with what is asked.

    Parameters
    ----------
    view
        The fibre.
    """
    look = style.ORDER
    figure = style.new_figure(look)
    grid = figure.add_gridspec(
        3, 1, height_ratios=(4, 4, 3), hspace=0.2, left=0.075, right=0.985, bottom=0.075, top=0.87
    )
    upper = figure.add_subplot(grid[0])
    middle, lower = (figure.add_subplot(part, sharex=upper) for part in (grid[1], grid[2]))
    _draw_rms(upper, view, look.text)
    _draw_snr(middle, view, look.text)
    _draw_ratio(lower, view, look.text)
    style.order_axis(upper, len(view.orders))
    style.label_axes(upper, look.text, y="rms of the flat\n(no unit)")
    style.label_axes(middle, look.text, y="S/N\n(per column)")
    style.label_axes(lower, look.text, x="order", y="measured S/N\nover the photons'")
    figure.align_ylabels()
    style.put_titles(figure, f"{view.title()}  rms and S/N", view.subtitle(), look.text, look.height)
    return figure


def _draw_rms(axes: Axes, view: FiberView, text: float) -> None:
    """Rms over the fitted columns by verdict, with the limit; what has no rms is marked below."""
    rms, limit = view.flat.rms, view.asked.max_rms
    for verdict, (colour, marker) in style.VERDICTS.items():
        here = [order for order in view.orders if view.qc.orders[order] == verdict]
        if here:
            axes.plot(here, rms[here], marker, color=colour, label=f"{verdict}: {len(here)}", clip_on=False)
    axes.axhline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
    mark_missing(axes, rms, "no flat")
    style.log_axis(axes, "y", np.append(rms, limit))
    style.put_legend(axes, axes.get_legend_handles_labels()[0], text, 5)


def _draw_snr(axes: Axes, view: FiberView, text: float) -> None:
    """Signal to noise as the flux and its read noise promise, as the flat's scatter shows, and as photons allow."""
    orders, diagnostics = np.arange(len(view.orders)), view.diagnostics
    series = (
        (diagnostics.snr_photon, "--", style.GREY, "photons alone, all frames"),
        (view.spectra.snr, "o", style.BLUE, "of the spectrum, from flux and read noise, middle columns"),
        (diagnostics.snr_measured, "D", style.ORANGE, "measured: 1 / scatter of the flat from pixel to pixel"),
    )
    for values, form, colour, label in series:
        axes.plot(orders, values, form, color=colour, markersize=5, label=label)
    saturated = np.flatnonzero(view.spectra.saturated)
    if saturated.size:
        axes.plot(saturated, view.spectra.snr[saturated], "o", color=style.VERMILION, markersize=10,
                  markerfacecolor="none", label=f"above the saturation limit: {saturated.size}")  # fmt: skip
    style.log_axis(axes, "y", np.concatenate([values for values, *_ in series]))
    style.put_legend(axes, axes.get_legend_handles_labels()[0], text, 4)


def _draw_ratio(axes: Axes, view: FiberView, text: float) -> None:
    ratio, limit = view.diagnostics.snr_ratio, view.asked.min_snr_ratio
    with np.errstate(invalid="ignore"):
        low = ratio <= limit
    orders = np.arange(ratio.size)
    axes.plot(orders[~low], ratio[~low], "D", color=style.ORANGE, markersize=5, label="measured over the photons'")
    if low.any():
        axes.plot(orders[low], ratio[low], "X", color=style.VERMILION, label=f"not above the limit: {low.sum()}")
    axes.axhline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
    axes.axhline(1, color=style.GREY, linewidth=1.0, linestyle=":", label="as the photons allow")
    mark_missing(axes, ratio, "no S/N")
    finite = ratio[np.isfinite(ratio)]
    axes.set_ylim(0, 1.15 * max(1.0, float(finite.max()) if finite.size else 0.0))
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    style.put_legend(axes, axes.get_legend_handles_labels()[0], text, 5)


def mark_missing(axes: Axes, values: NDArray[np.float64], label: str) -> None:
    """Mark the orders without a value at the lower edge."""
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        axes.plot(missing, np.full(missing.size, 0.04), "x", color=style.GREY, transform=axes.get_xaxis_transform(),
                  label=f"{label}: {missing.size}", clip_on=False)  # fmt: skip
