"""Figures of a run: orders on the image before and after straightening, and blaze and flat along the orders.

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

from flatcore.plots.blaze import blaze_order_figure, blaze_overview_figure
from flatcore.plots.edges import edges_order_figure, edges_overview_figure
from flatcore.plots.interactive import show_figures
from flatcore.plots.view import FiberView, fiber_views
from flatcore.plots.write import write_figures

__all__ = [
    "FiberView",
    "blaze_order_figure",
    "blaze_overview_figure",
    "edges_order_figure",
    "edges_overview_figure",
    "fiber_views",
    "show_figures",
    "write_figures",
]
