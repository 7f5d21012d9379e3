"""Figures of a run for its page: those that were saved as PNG, embedded."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# Bytes of figures that a page embeds; the others are named.
MOST_BYTES = 5_000_000
# Order in which figures are shown; those that sum up come first.
FIRST = ("SUM_",)

CAPTIONS = {
    "SUM_FLAT_ORDER_FIT_EDGES": "Orders and their edges on the image",
    "SUM_FLAT_BLAZE_ORDER": "Spectrum, blaze and flat of an order",
    "FLAT_ORDER_FIT_EDGES1": "Orders and their edges on the image, all orders",
    "FLAT_ORDER_FIT_EDGES2": "Orders and their edges on the image",
    "FLAT_BLAZE_ORDER1": "Spectrum, blaze and flat, all orders",
    "FLAT_BLAZE_ORDER2": "Spectrum, blaze and flat of an order",
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
    """

    name: str
    fiber: str
    caption: str
    source: str


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
    own = sorted((path for path in paths if path.stat().st_mtime > begin - 2), key=lambda path: _rank(path, stem))
    pictures, spent = [], 0
    for path in own:
        size = path.stat().st_size
        embedded = spent + size <= MOST_BYTES
        spent += size if embedded else 0
        pictures.append(_picture(path, stem, fibers, embedded))
    return tuple(pictures)


def _rank(path: Path, stem: str) -> tuple[bool, bool, str]:
    """Sum-ups first, single orders last."""
    name = path.name.removeprefix(f"{stem}_")
    return not name.startswith(FIRST), "_order" in name, name


def _picture(path: Path, stem: str, fibers: Sequence[str], embedded: bool) -> Picture:
    plot = path.stem.removeprefix(f"{stem}_")
    order = re.search(r"_order(\d+)$", plot)
    plot = plot[: order.start()] if order else plot
    fiber = max((name for name in fibers if plot.endswith(f"_{name}")), key=len, default="")
    plot = plot.removesuffix(f"_{fiber}") if fiber else plot
    caption = CAPTIONS.get(plot, plot.replace("_", " ").capitalize())
    caption += f", fibre {fiber}" if fiber else ""
    caption += f", order {int(order.group(1))}" if order else ""
    source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if embedded else ""
    return Picture(path.name, fiber, caption, source)
