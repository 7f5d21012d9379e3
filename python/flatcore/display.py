"""What explains a run to people, its figures and its page; failing to make them is a warning, never a lost product."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from flatcore.caldb import RunRecord
from flatcore.clock import Clock
from flatcore.conclude import EarlierThan
from flatcore.errors import FlatcoreError
from flatcore.figures import Drawn, check_matplotlib, draw_figures
from flatcore.handover import Drawing
from flatcore.night import Night
from flatcore.previous import Previous
from flatcore.results import ImageResult, NightResult
from flatcore.settings import Settings

log = logging.getLogger("flatcore")

NOTHING = Drawn((), ())

# output.figures from which on figures are saved; 1 opens windows.
WRITTEN = 2


def check_display(settings: Settings) -> None:
    """Look for what figures and pages need before the work: where it is missing this is told now, not after minutes.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if _wants_figures(settings):
        check_matplotlib()
    if settings.output.report and not all(find_spec(package) for package in ("bokeh", "jinja2")):
        import flatcore.report  # noqa: F401, PLC0415 - says what is missing; importing it takes a second


def _wants_figures(settings: Settings) -> bool:
    """Tell whether figures are asked for; an interactive one among parallel runs would wait for nobody."""
    level = settings.output.figures
    return level >= WRITTEN or (level == 1 and not settings.run.parallel)


def show(night: Night, result: NightResult, earlier_than: EarlierThan) -> Drawn:
    """Draw the figures that the settings ask to be saved.

    Parameters
    ----------
    earlier_than
        Gives what the flats and blazes were compared with.
    """
    settings = night.settings
    if settings.output.figures < WRITTEN:
        return NOTHING
    try:
        with night.clock.stage("figures"):
            previous = {image.stem: _previous(image, earlier_than) for image in result.images}
            drawing = Drawing(
                result, night.profile, settings, previous, night.request.plot_folder, settings.output.figures
            )
            # One of several runs at once takes one core more, not all of them.
            return draw_figures(drawing, 1 if settings.run.parallel else night.request.threads)
    except Exception as error:
        return Drawn((), (_warned(error),))


def write_page(run: RunRecord, data_root: Path, clock: Clock) -> tuple[Path, ...]:
    """Write the page that explains a run, from its record, as ``flatcore report`` does at any later time."""
    from flatcore.report import write_pages  # noqa: PLC0415 - Jinja2 and Bokeh only where a page is asked for

    try:
        with clock.stage("report"):
            return write_pages(run, data_root)
    except Exception as error:
        log.warning("the page could not be written: %s", error, exc_info=not isinstance(error, FlatcoreError))
        return ()


def open_windows(night: Night, result: NightResult) -> tuple[str, ...]:
    """Open the windows that the settings ask for, wait until they are closed, and tell what went wrong.

    The night must not be held meanwhile: nobody knows when that is.
    """
    settings = night.settings
    if settings.output.figures != 1 or not _wants_figures(settings):
        return ()
    try:
        with night.clock.stage("figures"):
            # In this process: there is nobody to wait for once a window is closed.
            from flatcore import plots  # noqa: PLC0415 - matplotlib only where a window is asked for

            for image in result.images:
                plots.show_figures(result, image, result.traces, night.profile, settings=settings)
    except Exception as error:
        return (_warned(error),)
    return ()


def _warned(error: Exception) -> str:
    problem = f"figures could not all be drawn: {error}"
    log.warning("%s", problem, exc_info=not isinstance(error, FlatcoreError))
    return problem


def _previous(image: ImageResult, earlier_than: EarlierThan) -> dict[str, Previous]:
    """Read again what the fibres were compared with, which the run told of already."""
    nights = earlier_than(float(image.header["MJDMID"]))
    found = {}
    for name, fiber in image.fibers.items():
        previous = nights.latest(name)[0] if fiber.change is not None else None
        if previous is not None and fiber.change is not None and previous.name == fiber.change.name:
            found[name] = previous
    return found
