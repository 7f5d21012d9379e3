"""A window that steps through the orders."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.backend_bases import Event, KeyEvent
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flatcore.errors import UsageError
from flatcore.instrument import Profile
from flatcore.plots.blaze import draw_blaze
from flatcore.plots.edges import draw_edges
from flatcore.plots.style import Look
from flatcore.plots.view import FiberView, fiber_views
from flatcore.results import ImageResult, NightResult
from flatcore.settings import Settings

WINDOW = Look(16.0, 8.0, 9.0)
HALF = Look(WINDOW.width / 2, WINDOW.height - 0.3, WINDOW.text)
KEYS = "keys: n next order, p previous, f next fibre, q close"


def show_figures(
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    *,
    settings: Settings | None = None,
) -> None:
    """Show the figures of an image in a window, order by order, until it is closed.

    Keys: n or right, the next order; p or left, the one before; f, the next fibre; q, close.

    Parameters
    ----------
    result, image, traces, profile, settings
        As of :func:`flatcore.plots.fiber_views`.

    Raises
    ------
    UsageError
        There is no display, or matplotlib's backend opens no windows.
    ValueError
        As of :func:`flatcore.plots.fiber_views`.
    """
    import matplotlib.pyplot as plt  # noqa: PLC0415 - chooses a backend, which only a window needs

    views = fiber_views(result, image, traces, profile, settings)
    try:
        figure = plt.figure(figsize=(WINDOW.width, WINDOW.height))
    except (ImportError, RuntimeError) as error:
        raise _no_window(str(error)) from error
    try:
        manager = figure.canvas.manager
        if figure.canvas.required_interactive_framework is None or manager is None:
            raise _no_window(f"the backend {plt.get_backend()!r} has none")
        handler = manager.key_press_handler_id
        if handler is not None:
            figure.canvas.mpl_disconnect(handler)
        stepper = Stepper(figure, views)
        figure.canvas.mpl_connect("key_press_event", stepper.on_key)
        stepper.draw()
        plt.show(block=True)
    finally:
        plt.close(figure)


def _no_window(why: str) -> UsageError:
    return UsageError(
        f"--plot 1: matplotlib can open no window: {why}; "
        "on a machine with a display set MPLBACKEND (for example MPLBACKEND=QtAgg), or save figures with --plot 2"
    )


class Stepper:
    """The order on show, and the keys that change it.

    Attributes
    ----------
    fiber, order
        Indices of what is on show.
    closed
        Whether q was pressed.
    """

    def __init__(self, figure: Figure, views: tuple[FiberView, ...]) -> None:
        self.figure = figure
        self.views = views
        self.fiber = 0
        self.order = 0
        self.closed = False

    def on_key(self, event: Event) -> None:
        """Do what a key asks for."""
        key = event.key if isinstance(event, KeyEvent) else None
        orders = len(self.views[self.fiber].orders)
        if key in ("n", "right"):
            self.order = (self.order + 1) % orders
        elif key in ("p", "left"):
            self.order = (self.order - 1) % orders
        elif key == "f":
            self.fiber = (self.fiber + 1) % len(self.views)
            self.order = min(self.order, len(self.views[self.fiber].orders) - 1)
        elif key in ("q", "escape"):
            self.closed = True
            if self.figure.canvas.manager is not None:
                self.figure.canvas.manager.destroy()
            return
        else:
            return
        self.draw()

    def draw(self) -> None:
        """Draw the order on show."""
        view = self.views[self.fiber]
        self.figure.clear()
        halves = self.figure.subfigures(1, 2, squeeze=False)
        draw_edges(halves[0, 0], view, self.order, HALF)
        draw_blaze(halves[0, 1], view, self.order, HALF)
        self.figure.text(0.005, 0.005, KEYS, fontsize=WINDOW.text)
        self.figure.canvas.draw_idle()
