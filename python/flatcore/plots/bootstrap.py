"""What a bootstrap made: bad and unlit pixels, traces and straightness, and the order profiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from flatcore.bootstrap.badpixels import Bad, counts
from flatcore.bootstrap.results import BootstrapImages, BootstrapResult
from flatcore.images import Image, Mask
from flatcore.plots import style
from flatcore.plots.catalogue import FigureFile
from flatcore.plots.write import write_file

LOOK = style.Look(13.0, 9.0, 10.0)
# Parts of the detector each way in which bad pixels are counted, and columns whose median is a cut across the orders.
CELLS, CUT_COLUMNS = 64, 11
# Rows of a profile that are drawn, and columns at which it is cut, as shares of the detector.
CUT_ROWS, PLACES = 260, (0.1, 0.5, 0.9)
KINDS = {
    Bad.DEAD: style.BLUE,
    Bad.HOT: style.VERMILION,
    Bad.BRIGHT: style.ORANGE,
    Bad.UNSTABLE: style.PURPLE,
    Bad.NONLINEAR: style.GREEN,
    Bad.NO_VALUE: style.BLACK,
}


def write_bootstrap_figures(result: BootstrapResult, folder: Path) -> tuple[Path, ...]:
    """Draw the figures of a bootstrap and write them as PNG.

    Parameters
    ----------
    result
        With its images kept.
    folder
        Where the files go; made if missing.

    Raises
    ------
    ValueError
        The images were not kept.
    OutputError
        The folder or the disk does not take a file.
    """
    if result.images is None:
        raise ValueError(f"{result.obs_dir}: the bootstrap's images were not kept")
    drawings: dict[str, Callable[[BootstrapResult, BootstrapImages], Figure]] = {
        "pixels": pixels_figure,
        "traces": traces_figure,
        "orderprofile": profiles_figure,
    }
    night = result.obs_dir.replace("/", "-")
    files = [
        FigureFile(folder / f"{night}_bootstrap_{name}.png", (partial(draw, result, result.images),))
        for name, draw in drawings.items()
    ]
    for file in files:
        write_file(file)
    return tuple(file.path for file in files)


def pixels_figure(result: BootstrapResult, images: BootstrapImages) -> Figure:
    """Draw where bad pixels lie and the unlit pixels, and a cut across the orders with the unlit ones marked."""
    figure = style.new_figure(LOOK)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2), hspace=0.3, wspace=0.16, left=0.07, right=0.98, bottom=0.07,
                               top=0.89)  # fmt: skip
    bad, unlit = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    _draw_bad(bad, images.bad)
    _draw_unlit(unlit, images.unlit)
    _draw_cut(figure.add_subplot(grid[1, :]), images)
    share = np.count_nonzero(images.bad) / images.bad.size
    subtitle = f"{share:.3%} bad   {images.unlit.mean():.1%} unlit"
    style.put_titles(figure, _title(result, "bad and unlit pixels"), subtitle, LOOK.text, LOOK.height)
    return figure


def traces_figure(result: BootstrapResult, images: BootstrapImages) -> Figure:
    """Draw the traces on the flat, and what is left of their curve after straightening."""
    figure = style.new_figure(LOOK)
    grid = figure.add_gridspec(1, 2, width_ratios=(3, 2), wspace=0.18, left=0.07, right=0.98, bottom=0.08, top=0.89)
    axes = figure.add_subplot(grid[0])
    step = max(images.flat.shape[0] // 800, 1), max(images.flat.shape[1] // 800, 1)
    shown = np.sqrt(np.maximum(images.flat[:: step[0], :: step[1]], 0))
    top = float(np.nanpercentile(shown, 99.5))
    rows, columns = images.flat.shape
    axes.imshow(shown, origin="lower", cmap="gray", vmin=0, vmax=top, aspect="auto", extent=(0, columns, 0, rows))
    left = figure.add_subplot(grid[1])
    names, x = [], np.arange(columns)
    for (name, traces), colour in zip(images.traces.items(), (style.ORANGE, style.SKY, style.GREEN), strict=False):
        names.append(Line2D([], [], color=colour, label=f"{name}: {len(traces)} traces"))
        for trace in traces:
            axes.plot(x[:: step[1]], trace[:: step[1]], color=colour, linewidth=0.6)
            left.plot(x[:: step[1]], _left_over(trace, images.dymap)[:: step[1]], color=colour, linewidth=0.6)
    axes.set_xlim(0, columns)
    axes.set_ylim(0, rows)
    style.label_axes(axes, LOOK.text, "column [pixel]", "row [pixel]")
    style.label_axes(left, LOOK.text, "column [pixel]", "trace after straightening, less its row [pixel]")
    left.set_ylim(-0.5, 0.5)
    left.axhline(0, color=style.GREY, linewidth=0.8)
    style.put_legend(left, names, LOOK.text, 1)
    style.put_titles(figure, _title(result, "traces"), "square root of the flat", LOOK.text, LOOK.height)
    return figure


def profiles_figure(result: BootstrapResult, images: BootstrapImages) -> Figure:
    """Draw cuts of the order profiles across the orders, over the flat that they are of."""
    figure = style.new_figure(LOOK)
    grid = figure.add_gridspec(len(PLACES), 1, hspace=0.35, left=0.07, right=0.98, bottom=0.07, top=0.89)
    rows, columns = images.flat.shape
    first = max(rows // 2 - CUT_ROWS // 2, 0)
    y = np.arange(first, min(first + CUT_ROWS, rows))
    for number, place in enumerate(PLACES):
        axes, x = figure.add_subplot(grid[number]), int(place * (columns - 1))
        axes.plot(y, images.flat[y, x], ".", color=style.GREY, markersize=3, label="flat")
        for (name, profile), colour in zip(
            images.profiles.items(), (style.VERMILION, style.BLUE, style.GREEN), strict=False
        ):
            drawn = np.where(profile[y, x] == 0, np.nan, profile[y, x])
            axes.plot(y, drawn, color=colour, linewidth=1.2, label=f"profile of {name}")
        axes.set_title(f"column {x}", loc="left", fontsize=LOOK.text)
        last = number == len(PLACES) - 1
        style.label_axes(axes, LOOK.text, "row [pixel]" if last else "", "flux [electrons]")
        if number == 0:
            style.put_legend(axes, axes.get_legend_handles_labels()[0], LOOK.text, 4)
    style.put_titles(figure, _title(result, "order profiles"), "cuts across the orders", LOOK.text, LOOK.height)
    return figure


def _title(result: BootstrapResult, what: str) -> str:
    return f"{result.instrument} {result.obs_dir}: {what}"


def _draw_bad(axes: Axes, bad: Mask) -> None:
    """Points where pixels are bad; of many of a kind some thousand."""
    found = counts(bad)
    handles = []
    for kind, colour in KINDS.items():
        if not found[kind]:
            continue
        y, x = np.nonzero(bad & kind)
        step = max(len(y) // 4000, 1)
        axes.plot(x[::step], y[::step], ",", color=colour)
        thinned = f", one in {step} drawn" if step > 1 else ""
        handles.append(Patch(color=colour, label=f"{kind.title}: {found[kind]}{thinned}"))
    axes.set_xlim(0, bad.shape[1])
    axes.set_ylim(0, bad.shape[0])
    axes.set_title("bad pixels", loc="left", fontsize=LOOK.text)
    style.label_axes(axes, LOOK.text, "column [pixel]", "row [pixel]")
    if handles:
        style.put_legend(axes, handles, LOOK.text, 2)


def _draw_unlit(axes: Axes, unlit: Mask) -> None:
    step = max(unlit.shape[0] // 700, 1), max(unlit.shape[1] // 700, 1)
    extent = (0, unlit.shape[1], 0, unlit.shape[0])
    colours = ListedColormap(["white", style.BLUE])
    axes.imshow(
        unlit[:: step[0], :: step[1]], origin="lower", cmap=colours, aspect="auto", extent=extent, vmin=0, vmax=1
    )
    axes.set_title("unlit pixels", loc="left", fontsize=LOOK.text)
    style.label_axes(axes, LOOK.text, "column [pixel]", "")


def _draw_cut(axes: Axes, images: BootstrapImages) -> None:
    middle = images.flat.shape[1] // 2
    columns = slice(middle - CUT_COLUMNS // 2, middle + CUT_COLUMNS // 2 + 1)
    rows = np.arange(images.flat.shape[0])
    # One column of the flat: the mask is made pixel by pixel.
    cut, dark = images.flat[:, middle], images.unlit[:, columns].mean(axis=1) > 0.5
    axes.plot(rows, cut, color=style.GREY, linewidth=0.6, label="flat without background")
    axes.plot(rows[dark], cut[dark], ".", color=style.BLUE, markersize=3, label="unlit")
    axes.set_yscale("symlog", linthresh=30)
    axes.set_xlim(0, rows.size)
    axes.set_title(f"column {middle}", loc="left", fontsize=LOOK.text)
    style.label_axes(axes, LOOK.text, "row [pixel]", "flux [electrons]")
    style.put_legend(axes, axes.get_legend_handles_labels()[0], LOOK.text, 2)


def _left_over(trace: NDArray[np.float64], dymap: Image) -> NDArray[np.float64]:
    """Row of a trace in the straight image less its row in the middle column; NaN where it was not followed."""
    middle = float(trace[trace.size // 2])
    row = int(np.clip(middle, 0, dymap.shape[0] - 2))
    share = middle - row
    return np.asarray(trace - (1 - share) * dymap[row] - share * dymap[row + 1] - middle)
