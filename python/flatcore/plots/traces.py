"""Every trace on the image it was found on, with what is known of each beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.bootstrap.results import BootstrapResult, TracedFiber
from flatcore.images import Image
from flatcore.locate import Trace
from flatcore.plots import style
from flatcore.plots.catalogue import FigureFile
from flatcore.plots.write import write_file

LOOK = style.Look(16.0, 11.0, 10.0, 120.0)
# Told apart on grey by all eyes.
COLOURS = (style.ORANGE, style.SKY, style.GREEN, style.YELLOW, style.PURPLE)
# Pixels of the drawn image each way, and points along a trace.
DRAWN, POINTS = 1100, 300
# Faint orders are to be seen beside bright ones: values are drawn by this power.
POWER = 0.35
NUMBER = 7.0


def write_trace_figures(result: BootstrapResult, folder: Path) -> tuple[Path, ...]:
    """Draw the traces of a night, a figure for each flat, and write them as PNG.

    Parameters
    ----------
    result
        With its images kept.
    folder
        Where the files go; made if missing.

    Raises
    ------
    ValueError
        The flats were not kept.
    OutputError
        The folder or the disk does not take a file.
    """
    written = []
    for fibers in _by_flat(result.traced):
        names = "-".join(fiber.name for fiber in fibers)
        path = folder / f"{result.obs_dir.replace('/', '-')}_locate_{names}.png"
        title = f"{result.instrument} {result.obs_dir}: traces"
        write_file(FigureFile(path, (partial(traces_figure, title, fibers),)))
        written.append(path)
    return tuple(written)


def _by_flat(traced: Sequence[TracedFiber]) -> list[list[TracedFiber]]:
    """Put fibres together that were found on the same flat."""
    groups: list[list[TracedFiber]] = []
    for fiber in traced:
        own = next((group for group in groups if group[0].flat is fiber.flat), None)
        if own is None:
            groups.append([fiber])
        else:
            own.append(fiber)
    return groups


def traces_figure(title: str, fibers: Sequence[TracedFiber]) -> Figure:
    """Draw the traces of fibres on their flat; beside it width, rms and signal to noise of each.

    Raises
    ------
    ValueError
        The flat was not kept.
    """
    flat = fibers[0].flat
    if flat is None:
        raise ValueError(f"{title}: the flat was not kept")
    figure = style.new_figure(LOOK)
    grid = figure.add_gridspec(
        1, 4, width_ratios=(6, 1, 1, 1), wspace=0.08, left=0.055, right=0.985, bottom=0.06, top=0.905
    )
    image = figure.add_subplot(grid[0])
    beside = [figure.add_subplot(grid[i], sharey=image) for i in (1, 2, 3)]
    _draw_image(image, flat)
    handles = []
    for label, colour, traces in _coloured(fibers):
        handles.append(Line2D([], [], color=colour, linewidth=2, label=f"{label}: {len(traces)} orders"))
        for trace in traces:
            _draw_trace(image, trace, colour, flat.shape)
        rows = np.array([trace.middle for trace in traces])
        for axes, values in zip(beside, _figures_of(traces), strict=True):
            axes.plot(values, rows, "o", color=colour, markersize=4, markeredgecolor="0.25", markeredgewidth=0.4)
    _number(image, [trace for fiber in fibers for trace in fiber.traces], flat.shape)
    _label(image, beside, flat.shape)
    count = sum(len(fiber.traces) for fiber in fibers)
    style.put_titles(figure, title, _subtitle(fibers, count), LOOK.text, LOOK.height)
    style.put_legend(image, handles, LOOK.text, 5)
    return figure


def _subtitle(fibers: Sequence[TracedFiber], count: int) -> str:
    traces = [trace for fiber in fibers for trace in fiber.traces]
    cut = sum(not trace.complete for trace in traces)
    rms = np.nanmedian([trace.rms for trace in traces])
    return (
        f"{count} traces, median rms {rms:.3f} pixels, {cut} cut by an edge   "
        "(broken line: polynomial where the order was not followed)"
    )


def _coloured(fibers: Sequence[TracedFiber]) -> Iterator[tuple[str, str, list[Trace]]]:
    """Label, colour and traces of every strip of the fibres."""
    used = 0
    for fiber in fibers:
        strips = sorted({trace.fiber for trace in fiber.traces})
        for number, strip in enumerate(strips, start=1):
            label = f"{fiber.name} {number}" if len(strips) > 1 else fiber.name
            yield label, COLOURS[used % len(COLOURS)], [trace for trace in fiber.traces if trace.fiber == strip]
            used += 1


def _draw_image(axes: Axes, flat: Image) -> None:
    rows, columns = flat.shape
    shown = style.thin(flat, DRAWN, DRAWN)
    shown = np.sign(shown) * np.abs(shown) ** POWER
    low, high = np.nanpercentile(shown, (2.0, 99.7))
    # White lines would be lost: the brightest light is drawn no brighter than a light grey.
    axes.imshow(
        shown, origin="lower", cmap=style.grey_map(), vmin=low, vmax=low + 1.25 * (high - low), aspect="auto",
        extent=(-0.5, columns - 0.5, -0.5, rows - 0.5), interpolation="nearest",
    )  # fmt: skip


def _draw_trace(axes: Axes, trace: Trace, colour: str, shape: tuple[int, ...]) -> None:
    """Draw a trace, solid where it was followed."""
    x = np.linspace(0, shape[1] - 1, POINTS)
    rows = chebyshev.chebval(2 * x / shape[1] - 1, trace.coefficients)
    rows = np.where((rows >= 0) & (rows <= shape[0] - 1), rows, np.nan)
    seen = (x >= trace.first) & (x <= trace.last)
    axes.plot(x, np.where(seen, rows, np.nan), color=colour, linewidth=0.9)
    # One point of overlap, so that there is no gap where it was last followed.
    beyond = ~seen | np.concatenate([[False], ~seen[:-1]]) | np.concatenate([~seen[1:], [False]])
    axes.plot(x, np.where(beyond, rows, np.nan), color=colour, linewidth=0.8, linestyle=(0, (3, 2)))


def _number(axes: Axes, traces: Sequence[Trace], shape: tuple[int, ...]) -> None:
    """Write the numbers of the orders on the left, as many as there is room for."""
    orders = sorted({trace.order for trace in traces})
    place = {order: np.mean([t.middle for t in traces if t.order == order]) for order in orders}
    points = axes.bbox.height / axes.figure.dpi * 72 / shape[0]
    apart = np.median(np.diff(list(place.values()))) * points if len(orders) > 1 else np.inf
    step = next(k for k in (1, 2, 5, 10, 20, 50) if k * apart > 1.2 * NUMBER or k == 50)
    at = 0.012 * shape[1]
    for order in orders[::step]:
        rows = [chebyshev.chebval(2 * at / shape[1] - 1, t.coefficients) for t in traces if t.order == order]
        row = float(np.mean(rows))
        if 0 <= row <= shape[0] - 1:
            axes.text(
                at, row, str(order), color="white", fontsize=NUMBER, va="center", ha="left", fontweight="bold",
                path_effects=[withStroke(linewidth=1.8, foreground="black")],
            )  # fmt: skip


def _figures_of(traces: Sequence[Trace]) -> tuple[NDArray[np.float64], ...]:
    """Width, rms and signal to noise of traces."""
    return tuple(np.array([getattr(trace, name) for trace in traces]) for name in ("fwhm", "rms", "peak_snr"))


def _label(image: Axes, beside: Sequence[Axes], shape: tuple[int, ...]) -> None:
    style.label_axes(image, LOOK.text, "column [pixel]", "row [pixel]")
    image.set(xlim=(-0.5, shape[1] - 0.5), ylim=(-0.5, shape[0] - 0.5))
    for axes, name in zip(beside, ("FWHM [pixel]", "rms [pixel]", "S/N per column"), strict=True):
        style.label_axes(axes, LOOK.text, name, "")
        axes.tick_params(labelleft=False)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    widths = np.concatenate([line.get_xdata() for line in beside[0].lines])
    beside[0].set_xlim(0, 1.15 * float(np.nanmax(np.asarray(widths, dtype=float))))
    for axes in beside[1:]:
        values = np.concatenate([line.get_xdata() for line in axes.lines])
        style.log_axis(axes, "x", np.asarray(values, dtype=float))
