"""The background before and after its subtraction, and the map that was subtracted."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from flatcore.images import BackgroundMaps, Image
from flatcore.plots import style
from flatcore.plots.view import ImageView

# Pixels drawn of an image.
DRAWN_ROWS, DRAWN_COLUMNS = 700, 460
# Columns whose median makes the cut along the rows.
CUT_COLUMNS = 21
# Grey levels reach from this many read noises below the background to as many above it.
NOISES = 2.0
# What is brighter: the orders.
ORDERS = "#CDE6F5"


def background_figure(image: ImageView) -> Figure:
    """Draw the image before and after, the global map between them, and a cut along the middle columns.

    Parameters
    ----------
    image
        An image whose background was subtracted.

    Raises
    ------
    ValueError
        It was not.
    """
    maps = image.background
    if maps is None:
        raise ValueError(f"{image.stem}: no background was subtracted")
    look = style.OVERVIEW
    figure = style.new_figure(look)
    outer = figure.add_gridspec(2, 1, height_ratios=(2, 1), hspace=0.2, left=0.055, right=0.93, bottom=0.05, top=0.92)
    grid = outer[0].subgridspec(1, 4, width_ratios=(40, 40, 40, 1), wspace=0.05)
    first = figure.add_subplot(grid[0])
    levels = grey_levels(maps, image.readnoise_e)
    panels = (("before", maps.original), ("background: the global map", maps.global_map), ("after", maps.corrected))
    for column, (title, pixels) in enumerate(panels):
        axes = first if column == 0 else figure.add_subplot(grid[column], sharex=first, sharey=first)
        shown = _show(axes, pixels, levels)
        axes.set_title(title, loc="left", fontsize=look.text)
        style.label_axes(axes, look.text, "column [pixel]", "row [pixel]" if column == 0 else "")
        axes.tick_params(labelleft=column == 0)
    bar = figure.colorbar(shown, cax=figure.add_subplot(grid[3]), extend="both", extendfrac=0.015)
    bar.set_label("flux [electrons]", fontsize=look.text)
    bar.ax.tick_params(labelsize=0.9 * look.text)
    above = Patch(facecolor=ORDERS, edgecolor=style.GREY, label="above the scale: orders")
    style.put_legend(axes, [above, style.no_value_patch()], look.text, 2)
    _draw_cut(figure.add_subplot(outer[1]), maps, levels, look.text)
    low, high = (float(value) for value in (np.nanmin(maps.cells), np.nanmax(maps.cells)))
    subtitle = (
        f"background {low:.1f} to {high:.1f} electrons   effective read noise {image.readnoise_e:.2f} electrons   "
        f"{image.stem}"
    )
    style.put_titles(figure, image.title("background"), subtitle, look.text, look.height)
    return figure


def grey_levels(maps: BackgroundMaps, readnoise_e: float) -> tuple[float, float]:
    """Give the values drawn black and white: about the background before and after, and the noise about it."""
    low, high = min(float(np.nanmin(maps.cells)), 0.0), max(float(np.nanmax(maps.cells)), 0.0)
    noise = NOISES * readnoise_e if np.isfinite(readnoise_e) and readnoise_e > 0 else max(high - low, 1.0)
    return low - noise, high + noise


def _show(axes: Axes, pixels: Image, levels: tuple[float, float]) -> AxesImage:
    steps = style.block_steps(pixels.shape, DRAWN_ROWS, DRAWN_COLUMNS)
    drawn = style.thin(pixels, DRAWN_ROWS, DRAWN_COLUMNS)
    extent = (-0.5, drawn.shape[1] * steps[1] - 0.5, -0.5, drawn.shape[0] * steps[0] - 0.5)
    colours = style.grey_map().with_extremes(bad=style.NO_VALUE, over=ORDERS)
    shown = axes.imshow(
        drawn, origin="lower", aspect="auto", interpolation="nearest", cmap=colours, vmin=levels[0],
        vmax=levels[1], extent=extent,
    )  # fmt: skip
    axes.set_xlim(-0.5, pixels.shape[1] - 0.5)
    axes.set_ylim(-0.5, pixels.shape[0] - 0.5)
    return shown


def _draw_cut(axes: Axes, maps: BackgroundMaps, levels: tuple[float, float], text: float) -> None:
    """Draw the median of the middle columns along the rows, where the background is."""
    first = max(maps.original.shape[1] // 2 - CUT_COLUMNS // 2, 0)
    rows = np.arange(maps.original.shape[0])
    for pixels, colour, width, label in (
        (maps.original, style.GREY, 0.8, "before"),
        (maps.corrected, style.BLUE, 0.8, "after"),
        (maps.global_map, style.VERMILION, 1.6, "background"),
    ):
        axes.plot(rows, _cut(pixels, first), color=colour, linewidth=width, label=label)
    axes.axhline(0, color=style.BLACK, linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.5, rows.size - 0.5)
    axes.set_ylim(*levels)
    title = f"median of columns {first} to {first + CUT_COLUMNS - 1}; orders go beyond the upper edge"
    axes.set_title(title, loc="left", fontsize=text)
    style.label_axes(axes, text, "row [pixel]", "flux [electrons]")
    style.put_legend(axes, axes.get_legend_handles_labels()[0], text, 3)


def _cut(pixels: Image, first: int) -> NDArray[np.float32]:
    """Median along columns; NaN where no pixel of a row has a value."""
    part = pixels[:, first : first + CUT_COLUMNS]
    cut = np.full(part.shape[0], np.nan, np.float32)
    here = np.isfinite(part).any(axis=1)
    cut[here] = np.nanmedian(part[here], axis=1)
    return cut
