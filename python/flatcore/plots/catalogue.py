"""Which figures there are, at which level, and under what names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from flatcore.plots.background import background_figure
from flatcore.plots.blaze import blaze_order_figure, blaze_overview_figure
from flatcore.plots.compared import compared_figure
from flatcore.plots.edges import edges_order_figure, edges_overview_figure
from flatcore.plots.flats import flat_histogram_figure, flat_image_figure
from flatcore.plots.frames import frames_figure
from flatcore.plots.parameters import parameters_figure
from flatcore.plots.previous import previous_figure
from flatcore.plots.quality import quality_figure
from flatcore.plots.view import FiberView, ImageView

SAVE, SAVE_PDF, SAVE_ALL = LEVELS = (2, 3, 4)

Make = Callable[[], Figure]


@dataclass(frozen=True)
class FigureFile:
    """A file to write, and the figures in it, which are made when they are written; a PNG has one."""

    path: Path
    figures: tuple[Make, ...]


@dataclass(frozen=True)
class _Page:
    """A figure, and the name of its file without suffix."""

    name: str
    figure: Make


def figure_files(image: ImageView, folder: Path, level: int) -> list[FigureFile]:
    """List the files of an image's figures.

    Parameters
    ----------
    image
        The image and its fibres.
    folder
        Where the files go.
    level
        2 PNG; 3 PDF too; 4 also a PNG of every order, and every order in the overviews' PDF.
    """
    documents = [*_of_image(image)]
    for view in image.fibers:
        documents += _of_fiber(view, level)
    files = []
    for document in documents:
        files += [FigureFile(folder / f"{page.name}.png", (page.figure,)) for page in document]
        if level >= SAVE_PDF:
            files.append(FigureFile(folder / f"{document[0].name}.pdf", tuple(page.figure for page in document)))
    return files


def _of_image(image: ImageView) -> Iterator[tuple[_Page, ...]]:
    """List the figures that are of no fibre; those that share a PDF together."""
    if image.background is not None:
        yield (_Page(f"{image.stem}_FLAT_BACKGROUND", partial(background_figure, image)),)
    if image.frames:
        yield (_Page(f"{image.stem}_FLAT_FRAMES", partial(frames_figure, image)),)


def _of_fiber(view: FiberView, level: int) -> Iterator[tuple[_Page, ...]]:
    """List a fibre's figures; those that share a PDF together, which has the name of the first."""

    def page(plot: str, figure: Make, order: int | None = None) -> _Page:
        shown = "" if order is None else f"_order{order:02d}"
        return _Page(f"{view.stem}_{plot}_{view.fiber}{shown}", figure)

    kinds = (
        ("FLAT_ORDER_FIT_EDGES", edges_overview_figure, edges_order_figure),
        ("FLAT_BLAZE_ORDER", blaze_overview_figure, blaze_order_figure),
    )
    shown = view.plot_order
    for name, overview, single in kinds:
        every = view.orders if level >= SAVE_ALL else ()
        singles = [page(f"{name}1", partial(single, view, order), order) for order in every]
        yield (page(f"{name}1", partial(overview, view)), *singles)
        yield (page(f"{name}2", partial(single, view, shown), shown),)
        yield (page(f"SUM_{name}", partial(single, view, shown, summary=True), shown),)
    yield (page("FLAT_IMAGE", partial(flat_image_figure, view)),)
    yield (page("FLAT_HISTOGRAM", partial(flat_histogram_figure, view)),)
    yield (page("FLAT_QUALITY", partial(quality_figure, view)),)
    yield (page("FLAT_BLAZE_PARAMETERS", partial(parameters_figure, view)),)
    if all(fit.compared is not None for fit in view.flat.fits):
        yield (page("FLAT_BLAZE_GLOBAL", partial(compared_figure, view)),)
    if view.previous is not None:
        yield (page("FLAT_PREVIOUS", partial(previous_figure, view)),)
