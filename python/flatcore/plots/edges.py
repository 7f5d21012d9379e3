"""The image before and after straightening, with traces and extraction edges."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from flatcore.images import Image
from flatcore.plots import style
from flatcore.plots.style import Look
from flatcore.plots.view import FiberView

TRACE, EDGE = style.VERMILION, style.SKY
# Rows shown beyond the edges, as a share of the window, and at least so many.
MARGIN_SHARE, LEAST_MARGIN = 0.75, 4
DRAWN_COLUMNS = 1400
# The images drawn last, before and after straightening, with what is left of them when they are thinned.
_THINNED: deque[tuple[Image, NDArray[np.float32]]] = deque(maxlen=2)


def edges_order_figure(view: FiberView, order: int, *, summary: bool = False) -> Figure:
    """Draw an order on the image before and after straightening, with its trace and both extraction edges.

    Parameters
    ----------
    view
        The fibre.
    order
        Index of the order.
    summary
        Larger type.
    """
    look = style.SUMMARY if summary else style.ORDER
    figure = style.new_figure(look)
    draw_edges(figure, view, order, look)
    return figure


def draw_edges(figure: FigureBase, view: FiberView, order: int, look: Look) -> None:
    """Draw what :func:`edges_order_figure` gives into a figure or a part of one."""
    trace, row, edges = view.trace(order), view.straight_row(order), view.straight_edges(order)
    margin = max(MARGIN_SHARE * (edges[1] - edges[0]), LEAST_MARGIN)
    x = np.arange(view.columns)
    before_edges = [trace + edge - row for edge in edges]
    before_rows = _rows(view.before, before_edges[0].min() - margin, before_edges[1].max() + margin)
    after_rows = _rows(view.after, edges[0] - margin, edges[1] + margin)
    levels = style.stretch(view.after[slice(*after_rows)])

    share = np.clip((before_rows[1] - before_rows[0]) / max(after_rows[1] - after_rows[0], 1), 1.0, 2.5)
    line = look.text * 1.5 / 72
    grid = figure.add_gridspec(
        2, 2, height_ratios=(share, 1.0), width_ratios=(60, 1), hspace=0.08, wspace=0.03, left=4.6 * line / look.width,
        right=1 - 5.2 * line / look.width, bottom=2.6 * line / look.height, top=1 - 4.0 * line / look.height,
    )  # fmt: skip
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    _show(upper, view.before, levels, before_rows)
    shown = _show(lower, view.after, levels, after_rows)
    upper.plot(x, trace, color=TRACE, linewidth=1.2, linestyle=(0, (6, 4)), label="trace")
    lower.axhline(row, color=TRACE, linewidth=1.2, linestyle=(0, (6, 4)), label="straight row")
    for edge, before in zip(edges, before_edges, strict=True):
        upper.plot(x, before, color=EDGE, linewidth=1.4, label="extraction edge")
        lower.axhline(edge, color=EDGE, linewidth=1.4, label="extraction edge")
    style.label_axes(upper, look.text, y="before\nrow [pixel]")
    style.label_axes(lower, look.text, x="column [pixel]", y="straightened\nrow [pixel]")
    figure.align_ylabels((upper, lower))
    _colour_bar(figure, shown, figure.add_subplot(grid[:, 1]), look.text)
    handles = [
        Line2D([], [], color=TRACE, linestyle=(0, (3, 2)), label="trace"),
        Line2D([], [], color=EDGE, linewidth=1.6, label="extraction edges"),
        style.no_value_patch(style.block_steps(view.after.shape, view.after.shape[0], DRAWN_COLUMNS)[1]),
    ]
    style.put_legend(upper, handles, look.text, 3)
    style.put_titles(figure, view.title(order), view.subtitle(order), look.text, look.height)


def edges_overview_figure(view: FiberView) -> Figure:
    """Draw the whole image before and after straightening, with the traces and extraction edges of every order."""
    look = style.OVERVIEW
    figure = style.new_figure(look)
    levels = style.stretch(view.after[::4, ::4])
    grid = figure.add_gridspec(
        1, 3, width_ratios=(50, 50, 1), wspace=0.06, left=0.045, right=0.935, bottom=0.05, top=0.925
    )
    left = figure.add_subplot(grid[0, 0])
    right = figure.add_subplot(grid[0, 1], sharey=left)
    x = np.linspace(0, view.columns - 1, min(view.columns, 200)).astype(int)
    for axes, image in ((left, view.before), (right, view.after)):
        shown = _show(axes, image, levels)
        traces, edges = [], []
        for order in view.orders:
            row = view.straight_row(order)
            rows = view.trace(order)[x] if axes is left else np.full(x.size, row)
            traces.append(np.column_stack([x, rows]))
            edges += [np.column_stack([x, rows + edge - row]) for edge in view.straight_edges(order)]
            axes.annotate(
                str(order), (view.columns - 1, rows[-1]), xytext=(3, 0), textcoords="offset points", va="center",
                fontsize=0.6 * look.text, annotation_clip=True,
            )  # fmt: skip
        axes.add_collection(LineCollection(edges, colors=EDGE, linewidths=0.8, label="extraction edges"))
        axes.add_collection(LineCollection(traces, colors=TRACE, linewidths=0.8, linestyles="dashed", label="traces"))
    style.label_axes(left, look.text, x="column [pixel]", y="row [pixel]")
    style.label_axes(right, look.text, x="column [pixel]")
    right.tick_params(labelleft=False)
    left.set_title("before straightening", loc="left", fontsize=look.text)
    right.set_title("straightened; orders numbered at their ends", loc="left", fontsize=look.text)
    _colour_bar(figure, shown, figure.add_subplot(grid[0, 2]), look.text)
    handles = [
        Line2D([], [], color=TRACE, linestyle="dashed", label="traces"),
        Line2D([], [], color=EDGE, label="extraction edges"),
        style.no_value_patch(),
    ]
    style.put_legend(right, handles, look.text, 3)
    style.put_titles(figure, view.title(), view.subtitle(), look.text, look.height)
    return figure


def _rows(image: Image, low: float, high: float) -> tuple[int, int]:
    """Rows to show, half-open: those asked for that are on the detector."""
    first = min(max(math.floor(low), 0), image.shape[0] - 1)
    return first, max(min(math.ceil(high) + 1, image.shape[0]), first + 1)


def _show(axes: Axes, image: Image, levels: tuple[float, float], rows: tuple[int, int] | None = None) -> AxesImage:
    """Draw an image, or some rows of it, thinned to what can be seen, in the image's own pixel positions.

    Of a few rows every pixel without a value is seen; of a whole image only places where most have none.
    """
    few = rows is not None
    rows = rows or (0, image.shape[0])
    crop = image[slice(*rows)]
    seen = (crop.shape[0], DRAWN_COLUMNS) if few else (DRAWN_COLUMNS, DRAWN_COLUMNS // 2)
    steps = style.block_steps(crop.shape, *seen)
    drawn = style.thin(crop, *seen, whole=True) if few else _thinned(image)
    right, top = drawn.shape[1] * steps[1] - 0.5, rows[0] + drawn.shape[0] * steps[0] - 0.5
    shown = axes.imshow(
        drawn, origin="lower", aspect="auto", interpolation="nearest", cmap=style.grey_map(), vmin=levels[0],
        vmax=levels[1], extent=(-0.5, right, rows[0] - 0.5, top),
    )  # fmt: skip
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(rows[0] - 0.5, rows[1] - 0.5)
    return shown


def _thinned(image: Image) -> NDArray[np.float32]:
    """Thin a whole image, once for all fibres that show it one after the other."""
    for known, thinned in _THINNED:
        if known is image:
            return thinned
    thinned = style.thin(image, DRAWN_COLUMNS, DRAWN_COLUMNS // 2)
    _THINNED.append((image, thinned))
    return thinned


def _colour_bar(figure: FigureBase, shown: AxesImage, axes: Axes, text: float) -> None:
    bar = figure.colorbar(shown, cax=axes, extend="both", extendfrac=0.015)
    bar.set_label("flux [electrons]", fontsize=text)
    bar.ax.tick_params(labelsize=0.9 * text)
