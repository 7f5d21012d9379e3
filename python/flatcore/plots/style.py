"""How figures look: colours, sizes, titles, the stretch of images, and the thinning of what is finer than the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch
from numpy.typing import NDArray

# Okabe and Ito's colours, told apart by all eyes.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"

NO_VALUE = PURPLE
STRETCH_PERCENTILES = (1.0, 99.5)
DPI = 110


@dataclass(frozen=True)
class Look:
    """Size of a figure [inches] and of its type [points]."""

    width: float
    height: float
    text: float


ORDER = Look(13.0, 8.0, 10.0)
SUMMARY = Look(13.0, 8.0, 15.0)
OVERVIEW = Look(18.0, 14.0, 10.0)


def new_figure(look: Look) -> Figure:
    """Give an empty figure that belongs to no window."""
    return Figure(figsize=(look.width, look.height), dpi=DPI)


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


def put_legend(axes: Axes, handles: Sequence[Artist], text: float, columns: int) -> None:
    """Write the legend above the axes, on the right."""
    axes.legend(
        handles=list(handles), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=0.9 * text,
        frameon=False, borderaxespad=0.2, handlelength=1.5, columnspacing=1.2,
    )  # fmt: skip


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
    total, count = np.zeros(shape), np.zeros(shape)
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
