"""Figures of a run: of the image, of its orders before and after straightening, and of blaze and flat.

matplotlib is needed by this package and nowhere else; it is imported by whoever imports this package.
"""

from __future__ import annotations

from flatcore.errors import UsageError

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise UsageError(f"--plot: figures need matplotlib ({error}): pip install 'flatcore[plots]'") from error
except ValueError as error:
    # A wrong MPLBACKEND, for example.
    raise UsageError(f"--plot: matplotlib does not start: {error}") from error

from flatcore.plots.background import background_figure
from flatcore.plots.blaze import blaze_order_figure, blaze_overview_figure
from flatcore.plots.compared import compared_figure
from flatcore.plots.edges import edges_order_figure, edges_overview_figure
from flatcore.plots.flats import flat_histogram_figure, flat_image_figure
from flatcore.plots.frames import frames_figure
from flatcore.plots.interactive import show_figures
from flatcore.plots.parameters import parameters_figure
from flatcore.plots.previous import previous_figure
from flatcore.plots.quality import quality_figure
from flatcore.plots.view import FiberView, ImageView, fiber_views, image_view
from flatcore.plots.write import write_figures

__all__ = [
    "FiberView",
    "ImageView",
    "background_figure",
    "blaze_order_figure",
    "blaze_overview_figure",
    "compared_figure",
    "edges_order_figure",
    "edges_overview_figure",
    "fiber_views",
    "flat_histogram_figure",
    "flat_image_figure",
    "frames_figure",
    "image_view",
    "parameters_figure",
    "previous_figure",
    "quality_figure",
    "show_figures",
    "write_figures",
]
