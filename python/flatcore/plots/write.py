"""Figures to files: which ones at which level, and under what names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.errors import UsageError
from flatcore.instrument import Profile
from flatcore.plots.blaze import blaze_order_figure, blaze_overview_figure
from flatcore.plots.edges import edges_order_figure, edges_overview_figure
from flatcore.plots.style import DPI
from flatcore.plots.view import FiberView, fiber_views
from flatcore.results import ImageResult, NightResult
from flatcore.settings import FlatSettings
from flatcore.writing import replacing

SAVE, SAVE_PDF, SAVE_ALL = 2, 3, 4
# Twice as fast as the usual 6, and little larger.
PNG = {"compress_level": 3}


@dataclass(frozen=True)
class _Page:
    """A figure, made when it is written, and the name of its file without suffix."""

    name: str
    figure: Callable[[], Figure]


@dataclass(frozen=True)
class _Document:
    """Figures that share a PDF, which has the name of the first."""

    pages: tuple[_Page, ...]


def write_figures(  # noqa: PLR0917 - as show_figures, and where and how much to write
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    folder: Path,
    level: int,
    *,
    settings: FlatSettings | None = None,
) -> tuple[Path, ...]:
    """Write the figures of an image.

    Parameters
    ----------
    result, image, traces, profile, settings
        As of :func:`flatcore.plots.fiber_views`.
    folder
        Where the files go; made if missing.
    level
        2 PNG: overviews of all orders, the plot order, and the summary; 3 the same as PDF too; 4 also a PNG of every
        order, and every order in the overviews' PDF.

    Returns
    -------
    tuple of Path
        The files, in the order they were written. Each is whole or not there.

    Raises
    ------
    UsageError
        The level is not 2, 3 or 4.
    OutputError
        The folder or the disk does not take a file.
    ValueError
        As of :func:`flatcore.plots.fiber_views`.
    """
    if level not in (SAVE, SAVE_PDF, SAVE_ALL):
        raise UsageError(f"--plot {level}: figures are saved at levels 2, 3 and 4")
    views = fiber_views(result, image, traces, profile, settings)
    written: list[Path] = []
    # The user's own matplotlib style does not change the files.
    with matplotlib.style.context("default"):
        for view in views:
            for document in _documents(view, level):
                written += _write(document, folder, level >= SAVE_PDF)
    return tuple(written)


def _documents(view: FiberView, level: int) -> Iterator[_Document]:
    """List a fibre's figures."""

    def page(plot: str, order: int | None, figure: Callable[[], Figure]) -> _Page:
        shown = "" if order is None else f"_order{order:02d}"
        return _Page(f"{view.stem}_{plot}_{view.fiber}{shown}", figure)

    kinds = (
        ("FLAT_ORDER_FIT_EDGES", edges_overview_figure, edges_order_figure),
        ("FLAT_BLAZE_ORDER", blaze_overview_figure, blaze_order_figure),
    )
    shown = view.plot_order
    for name, overview, single in kinds:
        every = view.orders if level >= SAVE_ALL else ()
        singles = [page(f"{name}1", order, partial(single, view, order)) for order in every]
        yield _Document((page(f"{name}1", None, partial(overview, view)), *singles))
        yield _Document((page(f"{name}2", shown, partial(single, view, shown)),))
        yield _Document((page(f"SUM_{name}", shown, partial(single, view, shown, summary=True)),))


def _write(document: _Document, folder: Path, with_pdf: bool) -> list[Path]:
    """Write every page as PNG, and all of them as one PDF."""
    written = []
    pdf_path = folder / f"{document.pages[0].name}.pdf"
    with contextlib.ExitStack() as stack:
        pdf = None
        if with_pdf:
            temporary = stack.enter_context(replacing(pdf_path))
            pdf = stack.enter_context(PdfPages(temporary, metadata={"CreationDate": None}))
        for page in document.pages:
            figure = page.figure()
            path = folder / f"{page.name}.png"
            with replacing(path) as file:
                figure.savefig(file, format="png", dpi=DPI, pil_kwargs=PNG)
            written.append(path)
            if pdf is not None:
                pdf.savefig(figure, dpi=DPI)
    return [*written, pdf_path] if with_pdf else written
