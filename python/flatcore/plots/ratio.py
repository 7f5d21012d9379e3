"""The figure of a ratio: an image of orders by columns, and beside it what comes of each order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.flats import draw_flat_image

# Draws something of every order, its number upwards.
DrawOrders = Callable[[Axes], None]


@dataclass(frozen=True)
class Words:
    """What a figure says: title and line below it, title of the image, and label of its grey levels."""

    title: str
    subtitle: str
    image: str
    levels: str


def ratio_figure(ratio: NDArray[np.float64], words: Words, parts: Sequence[tuple[str, DrawOrders]]) -> Figure:
    """Draw a ratio that is 1 where nothing is to be told, and up to three parts beside it.

    Parameters
    ----------
    ratio
        Orders by columns; NaN is white.
    parts
        Labels of their horizontal axes, and what draws them.
    """
    look = style.OVERVIEW
    figure = style.new_figure(look)
    grid = figure.add_gridspec(
        2, 4, width_ratios=(12, 3, 3, 3), height_ratios=(60, 1), wspace=0.06, hspace=0.11, left=0.04, right=0.985,
        bottom=0.05, top=0.9,
    )  # fmt: skip
    image, bar = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    draw_flat_image(image, bar, ratio, _reach(ratio), label=words.levels, text=look.text, upright=False)
    image.yaxis.set_major_locator(MaxNLocator(nbins=25, integer=True))
    image.set_title(words.image, loc="left", fontsize=look.text)
    style.label_axes(image, look.text, "column [pixel]", "order")
    for column, (label, draw) in enumerate(parts, start=1):
        axes = figure.add_subplot(grid[0, column], sharey=image)
        draw(axes)
        style.put_legend(axes, axes.get_legend_handles_labels()[0], 0.95 * look.text, 1)
        axes.set_xlabel(label, fontsize=look.text)
        axes.tick_params(labelleft=False, labelsize=0.9 * look.text)
    image.set_ylim(-0.75, len(ratio) - 0.25)
    style.put_titles(figure, words.title, words.subtitle, look.text, look.height)
    return figure


def mark_missing(axes: Axes, values: NDArray[np.float64], label: str) -> None:
    """Mark the orders without a value at the left edge."""
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        left = np.full(missing.size, 0.04)
        transform = axes.get_yaxis_transform()
        axes.plot(left, missing, "x", color=style.GREY, transform=transform, label=f"{label}: {missing.size}")


def draw_level(axes: Axes, label: str) -> None:
    """Mark 1 on a linear axis."""
    axes.axvline(1, color=style.GREY, linewidth=1.0, linestyle=":", label=label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.ticklabel_format(axis="x", useOffset=False)


def _reach(ratio: NDArray[np.float64]) -> float:
    """How far from 1 the ratio is drawn in grey levels: nearly all of it is within."""
    off = np.abs(ratio[np.isfinite(ratio)] - 1)
    reach = float(np.percentile(off, 98)) if off.size else 0.0
    return reach if reach > 0 else 0.01
