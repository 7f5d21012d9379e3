"""Figures of a run for its page: those that were saved as PNG, embedded."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

# Bytes of figures that a page embeds, which become four thirds of that; the others are named.
MOST_BYTES = 6_500_000

# Kinds of figures, those first that say most in the least space.
CAPTIONS = {
    "FLAT_QUALITY": "rms and S/N of each order, with limits",
    "FLAT_BLAZE_PARAMETERS": "Parameters of the blaze across the orders",
    "FLAT_BLAZE_GLOBAL": "Blazes against the model of all orders",
    "FLAT_PREVIOUS": "The flat against the previous night's",
    "FLAT_HISTOGRAM": "Histogram of the flat, with limits",
    "FLAT_IMAGE": "The flat as an image, with its mask",
    "FLAT_FRAMES": "Frames against the combined image",
    "FLAT_BACKGROUND": "Background before and after",
    "SUM_FLAT_BLAZE_ORDER": "Spectrum, blaze and flat of an order",
    "SUM_FLAT_ORDER_FIT_EDGES": "Orders and their edges on the image",
    "FLAT_BLAZE_ORDER1": "Spectrum, blaze and flat, all orders",
    "FLAT_BLAZE_ORDER2": "Spectrum, blaze and flat of an order, larger",
    "FLAT_ORDER_FIT_EDGES2": "Orders and their edges on the image, larger",
    "FLAT_ORDER_FIT_EDGES1": "Orders and their edges on the image, all orders",
}


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes
    ----------
    name
        Of its file.
    fiber
        Its fibre; empty for one of all.
    caption
        What it shows.
    source
        The picture itself as a data URL; empty for one that is only named.
    rank
        Its place among the kinds of figures.
    """

    name: str
    fiber: str
    caption: str
    source: str
    rank: int


def pictures_of(folder: Path, stem: str, fibers: Sequence[str], started: str) -> tuple[Picture, ...]:
    """Find the figures of an image that its run drew.

    Parameters
    ----------
    folder
        Of the figures.
    stem
        Name of the image's products.
    fibers
        Names of its fibres.
    started
        Begin of the run, ISO 8601 in UTC: older figures are another run's.
    """
    if not folder.is_dir():
        return ()
    begin = datetime.fromisoformat(started).replace(tzinfo=UTC).timestamp()
    paths = [path for path in folder.glob("*.png") if path.name.startswith(f"{stem}_")]
    # File systems keep times to two seconds, some of them.
    own = [_picture(path, stem, fibers) for path in paths if path.stat().st_mtime > begin - 2]
    pictures, spent = [], 0
    for picture in sorted(own, key=lambda picture: (picture.rank, picture.name)):
        path = folder / picture.name
        size = path.stat().st_size
        embedded = spent + size <= MOST_BYTES
        spent += size if embedded else 0
        pictures.append(replace(picture, source=_source(path)) if embedded else picture)
    return tuple(pictures)


def _picture(path: Path, stem: str, fibers: Sequence[str]) -> Picture:
    """Read a figure's name; it is not embedded yet."""
    plot = path.stem.removeprefix(f"{stem}_")
    order = re.search(r"_order(\d+)$", plot)
    plot = plot[: order.start()] if order else plot
    fiber = max((name for name in fibers if plot.endswith(f"_{name}")), key=len, default="")
    plot = plot.removesuffix(f"_{fiber}") if fiber else plot
    caption = CAPTIONS.get(plot, plot.replace("_", " ").capitalize())
    caption += f", fibre {fiber}" if fiber else ""
    caption += f", order {int(order.group(1))}" if order else ""
    # A kind that this flatcore does not know comes last.
    rank = list(CAPTIONS).index(plot) if plot in CAPTIONS else len(CAPTIONS)
    return Picture(path.name, fiber, caption, "", rank)


def _source(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
