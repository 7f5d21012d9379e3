"""Figures to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.style
import numpy as np
from numpy.typing import NDArray

from flatcore.errors import UsageError
from flatcore.instrument import Profile
from flatcore.plots.catalogue import LEVELS, FigureFile, figure_files
from flatcore.plots.view import image_view
from flatcore.previous import Previous
from flatcore.results import ImageResult, NightResult
from flatcore.settings import Settings
from flatcore.writing import replacing

# Twice as fast as the usual 6, and little larger.
PNG = {"compress_level": 3}


def write_figures(  # noqa: PLR0917 - as show_figures, and where and how much to write
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    folder: Path,
    level: int,
    *,
    settings: Settings | None = None,
    previous: Mapping[str, Previous] | None = None,
) -> tuple[Path, ...]:
    """Write the figures of an image, one after the other.

    Parameters
    ----------
    result, image, traces, profile, settings, previous
        As of :func:`flatcore.plots.fiber_views`.
    folder
        Where the files go; made if missing.
    level
        2 PNG: the whole fibre, the plot order, and the summary; 3 the same as PDF too; 4 also a PNG of every order, and
        every order in the overviews' PDF.

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
    if level not in LEVELS:
        raise UsageError(f"--plot {level}: figures are saved at levels 2, 3 and 4")
    view = image_view(result, image, traces, profile, settings, previous)
    files = figure_files(view, folder, level)
    # The user's own matplotlib style does not change the files.
    with matplotlib.style.context("default"):
        for file in files:
            write_file(file)
    return tuple(file.path for file in files)


def write_file(file: FigureFile) -> None:
    """Draw and write one file: PNG, or PDF with a page for each figure.

    Raises
    ------
    OutputError
        The folder or the disk does not take it.
    """
    with replacing(file.path) as stream:
        if file.path.suffix == ".png":
            (figure,) = file.figures
            figure().savefig(stream, format="png", dpi="figure", pil_kwargs=PNG)
            return
        from matplotlib.backends.backend_pdf import PdfPages  # noqa: PLC0415 - takes a while, and is seldom asked for

        with PdfPages(stream, metadata={"CreationDate": None}) as pdf:
            for figure in file.figures:
                pdf.savefig(figure(), dpi="figure")
