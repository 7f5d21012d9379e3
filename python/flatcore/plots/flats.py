"""The flat of a whole fibre: as an image with its masks, and as a histogram with its limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flatcore.plots import style
from flatcore.plots.masks import Mark, marked
from flatcore.plots.style import Look
from flatcore.plots.view import FiberView
from flatcore.spectra import Reason

DRAWN_COLUMNS = 1000
BINS = 161
# The histogram reaches this far beyond its limit.
REACH = 1.25

Marked = list[tuple[Mark, NDArray[np.bool_]]]


def flat_image_figure(view: FiberView) -> Figure:
    """Draw the flat as an image, orders by columns, with a second one that says why pixels are masked or doubtful.

    Parameters
    ----------
    view
        The fibre.
    """
    look = Look(15.0, 10.0, 10.0)
    figure = style.new_figure(look)
    found = [(mark, here) for mark, here in marked(view.flat.reasons, view.limits) if here.any()]
    grid = figure.add_gridspec(
        3, 2, width_ratios=(80, 1), wspace=0.02, hspace=0.24, left=0.05, right=0.935, bottom=0.06, top=0.905,
    )  # fmt: skip
    flat = figure.add_subplot(grid[0, 0])
    bar = figure.add_subplot(grid[0, 1])
    draw_flat_image(flat, bar, view.flat.flat, flat_reach(view), label="flat (no unit)", text=look.text)
    flat.set_title("flat; masked pixels white", loc="left", fontsize=look.text)
    panels = (("no value", True), ("kept, but doubtful", False))
    for row, (title, masked) in enumerate(panels, start=1):
        axes = figure.add_subplot(grid[row, 0], sharex=flat, sharey=flat)
        draw_reasons(axes, [(mark, here) for mark, here in found if mark.masked is masked], view.flat.flat.shape)
        style.put_legend(axes, _mark_patches(found, masked), look.text, 4)
        axes.set_title(title, loc="left", fontsize=look.text)
        style.label_axes(axes, look.text, "" if masked else "column [pixel]", "order")
    style.label_axes(flat, look.text, y="order")
    usable = np.isfinite(view.flat.flat).mean()
    subtitle = f"{view.subtitle()}   {usable:.1%} of the columns have a value"
    style.put_titles(figure, f"{view.title()}  flat and its masks", subtitle, look.text, look.height)
    return figure


def flat_reach(view: FiberView) -> float:
    """How far from 1 the flat is drawn in grey levels: five times the typical rms of what is averaged to one spot."""
    rms = view.flat.rms[np.isfinite(view.flat.rms)]
    step = style.block_steps(view.flat.flat.shape, len(view.orders), DRAWN_COLUMNS)[1]
    return 5 * float(np.median(rms)) / np.sqrt(step) if rms.size and np.median(rms) > 0 else view.limits.limit


def draw_flat_image(
    axes: Axes,
    bar_axes: Axes,
    flat: NDArray[np.float64],
    reach: float,
    *,
    label: str,
    text: float,
    upright: bool = True,
) -> None:
    """Draw a flat in grey levels, thinned, within ``reach`` of 1, with its colour bar."""
    orders, columns = flat.shape
    shown = axes.imshow(
        style.thin(flat, orders, DRAWN_COLUMNS), origin="lower", aspect="auto", interpolation="nearest",
        cmap=style.grey_map().with_extremes(bad="white"), vmin=1 - reach, vmax=1 + reach, extent=_extent(flat.shape),
    )  # fmt: skip
    axes.set_xlim(-0.5, columns - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    orientation = "vertical" if upright else "horizontal"
    bar = axes.figure.colorbar(shown, cax=bar_axes, orientation=orientation, extend="both", extendfrac=0.015)
    bar.set_label(label, fontsize=text)
    bar.ax.tick_params(labelsize=0.9 * text)


def draw_reasons(axes: Axes, found: Marked, shape: tuple[int, ...]) -> None:
    """Draw each pixel in the colour of its reason; of several that fall on one spot the last is seen."""
    orders, columns = shape
    step = style.block_steps(shape, orders, DRAWN_COLUMNS)[1]
    # Bytes, which are drawn faster than floating-point colours.
    colours = np.zeros((orders, -(-columns // step), 4), np.uint8)
    for mark, here in found:
        seen = style.in_blocks(here, (1, step), False).any(axis=(1, 3))
        colours[seen] = (*(round(255 * part) for part in to_rgb(mark.colour)), 255)
    axes.imshow(colours, origin="lower", aspect="auto", interpolation="nearest", extent=_extent(shape))
    axes.set_xlim(-0.5, columns - 0.5)


def _extent(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Where the thinned image lies in columns and orders."""
    orders, columns = shape
    step = style.block_steps(shape, orders, DRAWN_COLUMNS)[1]
    return -0.5, step * -(-columns // step) - 0.5, -0.5, orders - 0.5


def _mark_patches(found: Marked, masked: bool) -> list[Patch]:
    """Legend of the reasons, with the number of pixels of each."""
    return [
        Patch(facecolor=mark.colour, label=f"{mark.name.removeprefix('kept; ')}: {np.count_nonzero(here)}")
        for mark, here in found
        if mark.masked is masked
    ]


def flat_histogram_figure(view: FiberView) -> Figure:
    """Draw the distribution of the flat, and of its distance from 1 in units of each order's rms, with both limits.

    Parameters
    ----------
    view
        The fibre.
    """
    look = style.ORDER
    figure = style.new_figure(look)
    left, right = figure.subplots(
        1, 2, gridspec_kw={"left": 0.065, "right": 0.985, "bottom": 0.075, "top": 0.825, "wspace": 0.16}
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = view.spectra.e2ds / np.stack([fit.blaze for fit in view.flat.fits])
        sigmas = (raw - 1) / view.flat.rms_before[:, None]
    limit, cut, rms = view.limits.limit, view.limits.sigma_cut, view.flat.rms[np.isfinite(view.flat.rms)]
    reasons = view.flat.reasons
    _draw_histogram(left, raw - 1, reasons, limit, f"limits 1 ± {limit:g}", look.text, 1.0)
    _draw_histogram(right, sigmas, reasons, cut, f"limits ± {cut:g} rms", look.text, 0.0)
    width = 2 * REACH * cut / (BINS - 1)
    count = np.count_nonzero(np.isfinite(sigmas))
    x = np.linspace(-REACH * cut, REACH * cut, 801)
    normal = count * width * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    (line,) = right.plot(x, normal, color=style.VERMILION, linewidth=1.2, label="normal distribution of unit width")
    _put_legend(right, look.text, [line])
    _put_legend(left, look.text, [])
    count_label = "columns of all orders per bin"
    style.label_axes(left, look.text, "E2DS / blaze, before the masks (no unit)", count_label)
    style.label_axes(
        right,
        look.text,
        "(E2DS / blaze − 1) / rms of the order, before the masks (no unit)",
        count_label,
    )
    told = f"{np.median(rms):.4f}" if rms.size else "none"
    subtitle = f"{view.subtitle()}   median rms of the orders {told}   values beyond the axes are counted at their ends"
    style.put_titles(figure, f"{view.title()}  histogram of the flat", subtitle, look.text, look.height)
    return figure


def _draw_histogram(  # noqa: PLR0917 - what makes a histogram
    axes: Axes, distance: NDArray[np.float64], reasons: NDArray[np.int16], limit: float, label: str, text: float,
    centre: float,
) -> None:  # fmt: skip
    """Draw kept values, and on them the masked ones by reason; what lies beyond the axes counts at their edge."""
    edges = np.linspace(-REACH * limit, REACH * limit, BINS)
    finite = np.isfinite(distance)
    outliers = {
        Reason.OUTLIER_SIGMA: (style.ORANGE, "masked: beyond its rms limit"),
        Reason.OUTLIER_LIMIT: (style.PURPLE, "masked: beyond the fixed limit"),
    }
    masked = finite & ((reasons & np.int16(Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT)) != 0)
    parts: list[tuple[NDArray[np.bool_], str, str]] = [(finite & ~masked, style.GREY, "kept")]
    taken = ~masked
    for reason, (colour, name) in reversed(outliers.items()):
        here = masked & ~taken & ((reasons & np.int16(reason)) != 0)
        taken |= here
        parts.append((here, colour, name))
    inside = np.clip(distance, edges[0], edges[-1])
    shown = [(inside[here] + centre, colour, f"{name}: {here.sum()}") for here, colour, name in parts if here.any()]
    if shown:
        values, colours, names = zip(*shown, strict=True)
        axes.hist(
            list(values), list(edges + centre), stacked=True, color=list(colours), label=list(names),
            histtype="stepfilled",
        )  # fmt: skip
    style.log_axis(axes, "y", np.array([1.0, *(top for top in axes.dataLim.intervaly if top > 1)]))
    axes.set_xlim(edges[0] + centre, edges[-1] + centre)
    for sign in (-1, 1):
        axes.axvline(centre + sign * limit, color=style.BLACK, linewidth=1.0, linestyle="--",
                     label=label if sign > 0 else None)  # fmt: skip


def _put_legend(axes: Axes, text: float, more: Sequence[Artist]) -> None:
    # A stack is drawn from the top down; what is kept is named first.
    handles = sorted(
        (handle for handle in axes.get_legend_handles_labels()[0] if handle not in more),
        key=lambda handle: not str(handle.get_label()).startswith("kept"),
    )
    axes.legend(
        handles=[*handles, *more], loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=0.9 * text,
        frameon=False, borderaxespad=0.2, handlelength=1.5, columnspacing=1.2,
    )  # fmt: skip
