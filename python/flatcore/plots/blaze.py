"""E2DS with its fitted blaze, and the flat, along the orders."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.flats import draw_flat_image, draw_reasons, flat_reach
from flatcore.plots.masks import Mark, marked
from flatcore.plots.style import Look
from flatcore.plots.view import FiberView

BLAZE = style.VERMILION
DRAWN_COLUMNS = 1000

Marked = list[tuple[Mark, NDArray[np.bool_]]]


def blaze_order_figure(view: FiberView, order: int, *, summary: bool = False) -> Figure:
    """Draw an order's E2DS with its fitted blaze, and below the flat, in full and enlarged.

    Parameters
    ----------
    view
        The fibre.
    order
        Index of the order.
    summary
        Larger type, and no enlarged flat.
    """
    look = style.SUMMARY if summary else style.ORDER
    figure = style.new_figure(look)
    draw_blaze(figure, view, order, look, enlarged=not summary)
    return figure


def draw_blaze(figure: FigureBase, view: FiberView, order: int, look: Look, *, enlarged: bool = True) -> None:
    """Draw what :func:`blaze_order_figure` gives into a figure or a part of one."""
    found = [(mark, here) for mark, here in marked(view.flat.reasons[order], view.limits) if here.any()]
    heights = (5, 3, 3) if enlarged else (3, 2)
    line = look.text * 1.5 / 72
    left = 5.0 * line / look.width
    labels = ["E2DS", "fitted blaze", *(_named(mark, here) for mark, here in found)]
    legend_rows = -(-len(labels) // style.legend_columns(labels, look.text, (0.985 - left) * look.width, 4))
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, hspace=0.08, left=left, right=0.985,
        bottom=2.6 * line / look.height, top=1 - (2.9 + 1.1 * legend_rows) * line / look.height,
    )  # fmt: skip
    upper = figure.add_subplot(grid[0])
    _draw_e2ds(upper, view, order, found, look.text)
    limit = view.limits.limit
    full = figure.add_subplot(grid[1], sharex=upper)
    # The marks of doubtful columns have room above the limit.
    _draw_flat(full, view, order, found, 1.7 * limit)
    for sign in (-1, 1):
        full.axhline(1 + sign * limit, color=style.BLACK, linewidth=1.0, linestyle="--", label="limit")
    style.label_axes(full, look.text, "" if enlarged else "column [pixel]", f"flat\n(limits ±{limit:g})")
    if enlarged:
        _draw_enlarged(figure.add_subplot(grid[2], sharex=upper), view, order, found, look.text)
    problem = view.flat.fits[order].problem
    if problem:
        full.text(0.5, 0.5, f"no blaze: {problem}", transform=full.transAxes, ha="center", va="center",
                  fontsize=1.2 * look.text, color=BLAZE, backgroundcolor="white")  # fmt: skip
    figure.align_ylabels()
    style.put_titles(figure, view.title(order), view.subtitle(order), look.text, look.height)


def _draw_e2ds(axes: Axes, view: FiberView, order: int, found: Marked, text: float) -> None:
    """E2DS where it is kept, the blaze, and the masked pixels that have a flux."""
    x, raw = np.arange(view.columns), view.spectra.e2ds[order]
    (kept,) = axes.plot(x, view.flat.e2ds[order], ".", color=style.BLACK, markersize=2, label="E2DS", rasterized=True)
    (fit,) = axes.plot(x, view.flat.fits[order].blaze, color=BLAZE, linewidth=1.5, label="fitted blaze")
    low, high = np.nanpercentile(raw, (0.5, 99.5)) if np.isfinite(raw).any() else (0.0, 1.0)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    axes.set_xlim(-0.5, view.columns - 0.5)
    axes.set_ylim(low - 0.08 * (high - low), high + 0.2 * (high - low))
    handles: list[Artist] = [kept, fit]
    for mark, here in found:
        if mark.masked:
            _points(axes, mark, x[here], raw[here])
        handles.append(_mark_handle(mark, _named(mark, here)))
    style.label_axes(axes, text, y="E2DS\n[electrons]")
    axes.ticklabel_format(axis="y", style="plain")
    style.put_legend(axes, handles, text, 4)


def _draw_flat(axes: Axes, view: FiberView, order: int, found: Marked, reach: float) -> None:
    """Draw the flat within ``reach`` of 1, the outliers, and at the lower edge a mark for every masked column."""
    x = np.arange(view.columns)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.axhline(1, color=BLAZE, linewidth=1.0)
    axes.plot(x, view.flat.flat[order], ".", color=style.BLACK, markersize=2, label="flat", rasterized=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = view.spectra.e2ds[order] / view.flat.fits[order].blaze
    for mark, here in found:
        axes.plot(
            x[here], np.full(np.count_nonzero(here), mark.height), "|", color=mark.colour, markersize=6,
            markeredgewidth=1.4, transform=axes.get_xaxis_transform(), clip_on=False, label=f"columns: {mark.name}",
            rasterized=True,
        )  # fmt: skip
        if mark.masked:
            _points(axes, mark, x[here], raw[here])


def _draw_enlarged(axes: Axes, view: FiberView, order: int, found: Marked, text: float) -> None:
    rms = float(view.flat.rms[order])
    flat = view.flat.flat[order]
    off = np.abs(flat[np.isfinite(flat)] - 1)
    reach = max(6 * rms, 1.1 * float(np.percentile(off, 99))) if off.size and np.isfinite(rms) else 0.0
    _draw_flat(axes, view, order, found, reach if reach > 0 else view.limits.limit)
    if np.isfinite(rms):
        axes.axhspan(1 - rms, 1 + rms, color=style.SKY, alpha=0.3, linewidth=0, label="rms")
    style.label_axes(axes, text, "column [pixel]", "flat, enlarged\n(band: ±rms)")


def _points(axes: Axes, mark: Mark, x: NDArray[np.int_], y: NDArray[np.float64]) -> None:
    """Draw masked pixels at their values; those beyond the axes are drawn at their edge."""
    low, high = axes.get_ylim()
    with np.errstate(invalid="ignore"):
        inside = np.clip(y, low, high)
    axes.plot(x, inside, mark.marker, color=mark.colour, markersize=4 if mark.marker != "." else 2.5, label=mark.name,
              linestyle="none", clip_on=False, rasterized=True)  # fmt: skip


def _named(mark: Mark, here: NDArray[np.bool_]) -> str:
    return f"{mark.name}: {np.count_nonzero(here)}"


def _mark_handle(mark: Mark, label: str) -> Line2D:
    return Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="none", markersize=6, label=label)


def blaze_overview_figure(view: FiberView) -> Figure:
    """Draw every order's E2DS with its blaze, the flats as an image with the masks by reason, and the rms of each."""
    look = style.OVERVIEW
    figure = style.new_figure(look)
    grid = figure.add_gridspec(
        2, 3, width_ratios=(9, 9, 3), height_ratios=(60, 1), wspace=0.05, hspace=0.11, left=0.04, right=0.985,
        bottom=0.05, top=0.915,
    )  # fmt: skip
    left = figure.add_subplot(grid[0, 0])
    middle = figure.add_subplot(grid[0, 1], sharey=left)
    right = figure.add_subplot(grid[0, 2], sharey=left)
    _draw_all_e2ds(left, view)
    _draw_all_flats(middle, figure.add_subplot(grid[1, 1]), view, look.text)
    _draw_all_rms(right, view)
    left.set_ylim(-0.75, len(view.orders) - 0.25)
    left.yaxis.set_major_locator(MaxNLocator(nbins=25, integer=True))
    style.label_axes(left, look.text, "column [pixel]", "order")
    style.label_axes(middle, look.text, "column [pixel]")
    style.label_axes(right, look.text, "rms of the flat")
    for axes in (middle, right):
        axes.tick_params(labelleft=False)
    style.put_titles(figure, view.title(), view.subtitle(), look.text, look.height)
    return figure


def _draw_all_e2ds(axes: Axes, view: FiberView) -> None:
    """Each order in a row of its own, 0.8 high at its 95th percentile."""
    step = max(view.columns // DRAWN_COLUMNS, 1)
    x = np.arange(view.columns)[::step]
    kept, masked, blazes = [], [], []
    for order in view.orders:
        fit = view.flat.fits[order]
        finite = fit.filtered[np.isfinite(fit.filtered)]
        scale = 0.8 / float(np.percentile(finite, 95)) if finite.size and np.percentile(finite, 95) > 0 else np.nan
        base = order - 0.45
        kept.append(np.column_stack([x, base + scale * view.flat.e2ds[order, ::step]]))
        without = np.isnan(view.flat.e2ds[order])
        left_out = np.where(without, np.clip(scale * view.spectra.e2ds[order], 0, 0.9), np.nan)
        masked.append(np.column_stack([x, base + left_out[::step]]))
        blazes.append(np.column_stack([x, base + scale * fit.blaze[::step]]))
    axes.add_collection(LineCollection(masked, colors=style.SKY, linewidths=0.8, rasterized=True))
    axes.add_collection(LineCollection(kept, colors=style.BLACK, linewidths=0.8, rasterized=True))
    axes.add_collection(LineCollection(blazes, colors=BLAZE, linewidths=0.9))
    axes.set_xlim(-0.5, view.columns - 0.5)
    axes.set_title("E2DS over its 95th percentile", loc="left", fontsize=style.OVERVIEW.text)
    handles = [
        Line2D([], [], color=style.BLACK, label="E2DS"),
        Line2D([], [], color=BLAZE, label="fitted blaze"),
        Line2D([], [], color=style.SKY, label="masked"),
    ]
    style.put_legend(axes, handles, style.OVERVIEW.text, 3)


def _draw_all_flats(axes: Axes, bar_axes: Axes, view: FiberView, text: float) -> None:
    """Flats as grey levels, masked pixels in the colour of their reason."""
    found = [(mark, here) for mark, here in marked(view.flat.reasons, view.limits) if mark.masked and here.any()]
    draw_flat_image(axes, bar_axes, view.flat.flat, flat_reach(view), label="flat (no unit)", text=text, upright=False)
    draw_reasons(axes, found, view.flat.flat.shape)
    axes.set_title("flat", loc="left", fontsize=text)
    handles = [Patch(facecolor=mark.colour, label=_named(mark, here)) for mark, here in found]
    style.put_legend(axes, handles, 0.95 * text, 3)


def _draw_all_rms(axes: Axes, view: FiberView) -> None:
    for verdict, (colour, marker) in style.VERDICTS.items():
        here = [order for order in view.orders if view.qc.orders[order] == verdict]
        if here:
            axes.plot(view.flat.rms[here], here, marker, color=colour, label=f"{verdict}: {len(here)}")
    limit = view.asked.max_rms
    axes.axvline(limit, color=style.BLACK, linewidth=1.0, linestyle="--", label=f"limit {limit:g}")
    style.log_axis(axes, "x", np.append(view.flat.rms, limit))
    style.put_legend(axes, axes.get_legend_handles_labels()[0], style.OVERVIEW.text, 2)
