"""How figures look: colours, sizes, titles, the stretch of images, and the thinning of what is finer than the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

# Okabe and Ito's colours, told apart by all eyes.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"

NO_VALUE = PURPLE
# Colour and marker of an order by its verdict.
VERDICTS = {"pass": (BLUE, "o"), "fail": (VERMILION, "X"), "skipped": (GREY, "s")}
STRETCH_PERCENTILES = (1.0, 99.5)
DPI = 110
# Widths of a letter, and of what stands beside a legend's entry, over the size of the type.
LETTER, BESIDE = 0.56, 3.5


@dataclass(frozen=True)
class Look:
    """Size of a figure [inches], of its type [points], and pixels per inch."""

    width: float
    height: float
    text: float
    dpi: float = DPI


ORDER = Look(13.0, 8.0, 10.0)
SUMMARY = Look(13.0, 8.0, 15.0)
# So large that more pixels would only take time.
OVERVIEW = Look(18.0, 14.0, 10.0, 90.0)


def new_figure(look: Look) -> Figure:
    """Give an empty figure that belongs to no window."""
    return Figure(figsize=(look.width, look.height), dpi=look.dpi)


def put_titles(figure: FigureBase, title: str, subtitle: str, text: float, height: float) -> None:
    """Write title and subtitle at the upper left; ``height`` is the figure's [inches]."""
    line = text * 1.5 / 72 / height
    figure.text(0.01, 1 - 0.4 * line, title, fontsize=1.25 * text, fontweight="bold", va="top")
    figure.text(0.01, 1 - 1.6 * line, subtitle, fontsize=text, va="top")


def label_axes(axes: Axes, text: float, x: str = "", y: str = "") -> None:
    """Name the axes and set the size of their type; without a name for x, its ticks have no numbers."""
    axes.set_ylabel(y, fontsize=text)
    axes.set_xlabel(x, fontsize=text)
    axes.tick_params(labelsize=0.9 * text, labelbottom=bool(x))


def log_axis(axes: Axes, along: Literal["x", "y"], values: NDArray[np.float64]) -> None:
    """Scale an axis by logarithm, over the positive values, with plain numbers at its ticks."""
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = (positive.min() / 1.5, positive.max() * 1.5) if positive.size else (0.1, 1.0)
    axes.set(**{f"{along}scale": "log", f"{along}lim": (low, high)})
    axis = axes.xaxis if along == "x" else axes.yaxis
    decades = np.log10(high / low)
    # Every tick takes its time to draw.
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(axis=along, color="0.9")
    axes.set_axisbelow(True)


def order_axis(axes: Axes, orders: int, most: int = 13) -> None:
    """Let x run over the orders, with ``most`` ticks at most."""
    axes.set_xlim(-0.75, orders - 0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True))


def put_legend(axes: Axes, handles: Sequence[Artist], text: float, most: int) -> None:
    """Write the legend above the axes, on the right, in as many columns as there is room for, ``most`` at most."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = legend_columns(labels, text, axes.bbox.width / axes.figure.dpi, most)
    axes.legend(
        handles=list(handles), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=0.9 * text,
        frameon=False, borderaxespad=0.2, handlelength=1.5, columnspacing=1.2,
    )  # fmt: skip


def legend_columns(labels: Sequence[str], text: float, width: float, most: int) -> int:
    """Give the number of columns, ``most`` at most, in which a legend is no wider than ``width`` [inches]."""
    letter, beside = (share * 0.9 * text / 72 for share in (LETTER, BESIDE))
    for columns in range(most, 1, -1):
        parts = np.array_split(np.array([len(label) for label in labels]), columns)
        if sum(letter * max(part, default=0) + beside for part in parts) <= width:
            return columns
    return 1


def no_value_patch(step: int = 1) -> Patch:
    """Legend entry of pixels without a value; ``step`` columns are drawn as one that has none if any of them has."""
    where = f" in any of {step} columns" if step > 1 else ""
    return Patch(facecolor=NO_VALUE, edgecolor="none", label=f"no value (NaN){where}")


def grey_map() -> Colormap:
    """Grey levels, with a colour of its own for pixels without a value."""
    return colormaps["gray"].with_extremes(bad=NO_VALUE)


def stretch(image: NDArray[Any]) -> tuple[float, float]:
    """Give the values drawn black and white: percentiles of the finite pixels."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, STRETCH_PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def thin(image: NDArray[Any], rows: int, columns: int, *, whole: bool = False) -> NDArray[Any]:
    """Average blocks so that no more than about the given rows and columns are left.

    An image that is no larger comes back as it is. A block in which half the pixels have no value has none; with
    ``whole``, a block in which any has none.

    Parameters
    ----------
    image
        Rows by columns; NaN for no value.
    rows, columns
        What can be seen on the paper.
    """
    steps = block_steps(image.shape, rows, columns)
    if steps == (1, 1):
        return image
    blocks = in_blocks(image, steps, np.nan)
    shape = blocks.shape[0], blocks.shape[2]
    total, count = np.zeros(shape, image.dtype), np.zeros(shape, np.int64)
    for i, j in np.ndindex(steps):
        part = blocks[:, i, :, j]
        finite = np.isfinite(part)
        total += np.where(finite, part, 0)
        count += finite
    inside = np.outer(
        *(np.minimum(size - np.arange(n) * step, step) for size, n, step in zip(image.shape, shape, steps, strict=True))
    )
    kept = count == inside if whole else 2 * count > inside
    return np.where(kept, total / np.maximum(count, 1), np.nan)


def block_steps(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of a block."""
    return max(-(-shape[0] // rows), 1), max(-(-shape[1] // columns), 1)


def in_blocks(image: NDArray[Any], steps: tuple[int, int], fill: float) -> NDArray[Any]:
    """View an image as block rows, rows in a block, block columns, columns in a block; the last ones are filled up."""
    short = [-size % step for size, step in zip(image.shape, steps, strict=True)]
    if any(short):
        image = np.pad(image, [(0, short[0]), (0, short[1])], constant_values=fill)
    rows, columns = image.shape
    return image.reshape(rows // steps[0], steps[0], columns // steps[1], steps[1])
