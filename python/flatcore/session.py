"""A run as automation meets it: the recipe with its log, its record, its figures, its page, and an orderly end."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from flatcore.caldb import RunLog, RunRecord
from flatcore.caldb.runs import Ending
from flatcore.clock import Clock, Progress
from flatcore.errors import FlatcoreError
from flatcore.figures import Drawn, check_matplotlib, draw_figures
from flatcore.fitsio import read_header, sha256_of
from flatcore.handover import Drawing
from flatcore.interrupts import held_back
from flatcore.night import Night, prepared
from flatcore.previous import EarlierNights, Previous
from flatcore.products import new_pid, straight_profile_path
from flatcore.recipe import make
from flatcore.request import NightRequest
from flatcore.results import ImageResult, NightResult
from flatcore.runlog import log_file
from flatcore.settings import RunSettings, run_settings
from flatcore.summary import summary_of

log = logging.getLogger("flatcore")

# Messages for the log file: whoever called is told by the exception.
FILE_ONLY = {"file_only": True}

# Packages whose versions a run's record holds: what the numbers may depend on.
PACKAGES = ("flatcore", "numpy", "scipy", "astropy")

NOTHING = Drawn((), ())


class Terminated(KeyboardInterrupt):
    """The run was told to end by a signal.

    Attributes
    ----------
    number
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number


@dataclass(frozen=True)
class SessionResult:
    """What came of a run.

    Attributes
    ----------
    night
        The result; None where an earlier run had done just this.
    pid
        Identifier of the run, or of the earlier one.
    summary
        The record in a form that JSON holds.
    figures
        Figures that were saved.
    pages
        Pages that explain the run.
    """

    night: NightResult | None
    pid: str
    summary: dict[str, Any]
    figures: tuple[Path, ...] = ()
    pages: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every fibre passed quality control."""
        return bool(self.summary["passed"])


def run_session(
    request: NightRequest, progress: Progress | None = None, *, skip_existing: bool = False
) -> SessionResult:
    """Run a night with its log file, its record in the database, its figures, and the page that explains it.

    With ``output.save`` off nothing is written anywhere: no log, no record, no figures, no page.

    Parameters
    ----------
    request
        What is asked for.
    progress
        Called with a stage's name and 0 at its start, and with its seconds at its end.
    skip_existing
        Do nothing where an earlier run had the same frames, calibrations, settings and version, and its products
        are all there.

    Raises
    ------
    FlatcoreError
        As of :func:`flatcore.run_night`; the record tells too.
    """
    settings = run_settings(request.preset, [request.settings], request.assignments)
    if not settings.output.save:
        with prepared(request, Clock(progress)) as night:
            _check_figures(night)
            return _finished(night, make(night), {})
    pid = new_pid()
    runs = RunLog.open(request.data_root, request.database_url)
    with (
        log_file(request.data_root, pid, settings.run),
        _Recorded(runs, request.obs_dir, pid, settings.run) as record,
        prepared(request, Clock(progress), pid) as night,
    ):
        _check_figures(night)
        _check_report(night)
        fingerprint = fingerprint_of(night)
        earlier = _same_run(runs, night, fingerprint) if skip_existing else None
        if earlier is not None:
            log.info("%s: nothing to do, %s made it", request.obs_dir, earlier.pid)
            return SessionResult(None, earlier.pid, {**earlier.record, "skipped": True})
        record.start(night.profile.name)
        _tell_start(night)
        with _hashes(night) as hashes:
            result = make(night)
            inputs = {name: hashed.result() for name, hashed in hashes.items()}
        figures = _figures(night, result)
        outcome = _finished(night, result, {"fingerprint": fingerprint, "input_sha256": inputs}, figures)
        record.finish("done" if result.passed else "failed-qc", 0 if result.passed else 4, outcome.summary)
        pages = _pages(night, runs)
        log.info("%s: done, %d products", request.obs_dir, len(result.products))
        return replace(outcome, pages=pages, summary=outcome.summary | {"pages": [str(page) for page in pages]})


def fingerprint_of(night: Night) -> str:
    """Hash of all that a night's products depend on: frames (name, size, time), calibrations, settings, version."""
    frames = []
    for frame in night.selected.frames:
        status = frame.path.stat()
        frames.append((str(frame.path.resolve()), status.st_size, status.st_mtime_ns))
    # How the run calls itself changes no product's contents.
    settings = night.settings.model_dump(mode="json", exclude={"run"})
    parts = {
        "version": version("flatcore"),
        "frames": frames,
        "calibrations": [(file.keyname, file.fiber, file.sha256) for file in night.chosen],
        "profile": night.profile.model_dump(mode="json"),
        "settings": settings,
        "fibers": night.lit,
        "folder": str(night.request.output_folder),
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _same_run(runs: RunLog, night: Night, fingerprint: str) -> RunRecord | None:
    """Give the latest finished run of the same fingerprint if its products are all there, and still its own."""
    kept = products_of_profiles(night)
    for run in runs.records(night.request.obs_dir):
        if run.status in ("done", "failed-qc") and run.record.get("fingerprint") == fingerprint:
            made = run.record.get("products", [])
            whole = all(_is_of(run.pid, product) for product in made) and all(path.is_file() for path in kept)
            return run if made and whole else None
    return None


def products_of_profiles(night: Night) -> list[Path]:
    """Where the straightened order profiles lie, which a run may have read instead of making them."""
    shapel = next(file.path for file in night.chosen if file.keyname == "SHAPEL")
    return [straight_profile_path(night.request.output_folder, shapel, fiber) for fiber in night.lit]


def _is_of(pid: str, product: Mapping[str, Any]) -> bool:
    """Tell whether a product is there, and was not made anew by another run, with other settings perhaps."""
    path = Path(product["path"])
    if not path.is_file() or path.stat().st_size != product["bytes"]:
        return False
    return bool(product["kind"] == "ORDERP_STRAIGHT" or read_header(path).get("DRSPID") == pid)


class _Recorded(AbstractContextManager["_Recorded"]):
    """The record of a run: that it runs, and how it ended, however it ended.

    A run that fails before it starts is recorded too, but makes no database for that.
    """

    def __init__(self, runs: RunLog, obs_dir: str, pid: str, run: RunSettings) -> None:
        self._runs, self._obs_dir, self._pid, self._run = runs, obs_dir, pid, run
        self._started = self._ended = False

    def start(self, instrument: str) -> None:
        """Record the run as running."""
        run = self._run
        # An interrupt between the record and knowing of it would have it recorded twice.
        with held_back():
            self._runs.start(
                pid=self._pid,
                obs_dir=self._obs_dir,
                instrument=instrument,
                program=run.program,
                shortname=run.shortname,
                recipe_kind=run.recipe_kind,
            )
            self._started = True

    def finish(self, status: Ending, exit_status: int, record: Mapping[str, Any]) -> None:
        """Record how the run ended; once."""
        if not self._ended:
            self._ended = True
            self._runs.finish(self._pid, status, exit_status, record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            log.error("interrupted", extra=FILE_ONLY)
            self._fail("interrupted", exit_status_of(error), "interrupted")
        elif isinstance(error, FlatcoreError):
            log.error("%s", error, extra=FILE_ONLY)
            self._fail("error", error.exit_status, str(error))
        elif isinstance(error, Exception):
            log.error("internal error", exc_info=error, extra=FILE_ONLY)
            self._fail("error", 1, repr(error))

    def _fail(self, status: Ending, exit_status: int, text: str) -> None:
        if not self._started and self._runs.exists():
            self.start("")
        if self._started:
            self.finish(status, exit_status, {"error": text})


def exit_status_of(interrupt: KeyboardInterrupt) -> int:
    """Exit status of a run ended by a signal: 128 and its number, as the shell has it."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else 2)


@contextmanager
def _hashes(night: Night) -> Iterator[dict[str, Future[str]]]:
    """Hash the frames while the kernels work."""
    with ThreadPoolExecutor(1) as pool:
        yield {frame.path.name: pool.submit(sha256_of, frame.path) for frame in night.selected.frames}


def _tell_start(night: Night) -> None:
    count = len(night.selected.frames)
    log.info(
        "%s: %d %s frames of %s, fibres %s, %s",
        night.request.obs_dir,
        count,
        night.selected.dprtype,
        night.profile.name,
        " ".join(night.lit),
        night.pid,
    )


def _check_figures(night: Night) -> None:
    """Look for matplotlib before the work: where it is missing this is told now, not after minutes."""
    if _wants_figures(night):
        check_matplotlib()


def _wants_figures(night: Night) -> bool:
    """Tell whether figures are asked for; an interactive one among parallel runs would wait for nobody."""
    level = night.settings.output.figures
    return level > 1 or (level == 1 and not night.settings.run.parallel)


def _figures(night: Night, result: NightResult) -> Drawn:
    """Draw the figures asked for; a failure to draw is a warning, never a lost product."""
    if not _wants_figures(night):
        return NOTHING
    try:
        with night.clock.stage("figures"):
            if night.settings.output.figures == 1:
                _show_figures(night, result)
                return NOTHING
            previous = {image.stem: _previous(night, image) for image in result.images}
            level, folder = night.settings.output.figures, night.request.plot_folder
            drawing = Drawing(result, night.profile, night.settings, previous, folder, level)
            # One of several runs at once takes one core more, not all of them.
            return draw_figures(drawing, 1 if night.settings.run.parallel else night.request.threads)
    except Exception as error:
        problem = f"figures could not all be drawn: {error}"
        log.warning("%s", problem, exc_info=not isinstance(error, FlatcoreError))
        return Drawn((), (problem,))


def _check_report(night: Night) -> None:
    """Look for what pages need before the work: where it is missing this is told now, not after minutes."""
    if night.settings.output.report and not all(find_spec(package) for package in ("bokeh", "jinja2")):
        import flatcore.report  # noqa: F401, PLC0415 - says what is missing; importing it takes a second


def _pages(night: Night, runs: RunLog) -> tuple[Path, ...]:
    """Write the page that explains the run, if it is asked for; a failure is a warning, never a lost product.

    It is made from the record, as ``flatcore report`` does at any later time.
    """
    if not night.settings.output.report:
        return ()
    from flatcore.report import write_pages  # noqa: PLC0415 - Jinja2 and Bokeh only where a page is asked for

    try:
        with night.clock.stage("report"):
            return write_pages(runs.get(night.pid), night.request.data_root)
    except Exception as error:
        log.warning("the page could not be written: %s", error, exc_info=not isinstance(error, FlatcoreError))
        return ()


def _show_figures(night: Night, result: NightResult) -> None:
    """Open a window, in this process: there is nobody to wait for once it is closed."""
    from flatcore import plots  # noqa: PLC0415 - matplotlib only where a window is asked for

    for image in result.images:
        plots.show_figures(result, image, result.traces, night.profile, settings=night.settings)


def _previous(night: Night, image: ImageResult) -> dict[str, Previous]:
    """Read again what the fibres were compared with, which the run told of already."""
    nights = EarlierNights.of(night.database, float(image.header["MJDMID"]), night.settings.calibration.max_age_days)
    found = {}
    for name, fiber in image.fibers.items():
        previous = nights.latest(name)[0] if fiber.change is not None else None
        if previous is not None and fiber.change is not None and previous.name == fiber.change.name:
            found[name] = previous
    return found


def _finished(night: Night, result: NightResult, more: Mapping[str, Any], figures: Drawn = NOTHING) -> SessionResult:
    versions = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    summary = summary_of(result, night.settings, night.profile)
    request = night.request
    asked = {
        "instrument": str(request.instrument or ""),
        "preset": request.preset,
        "fiber": request.fiber,
        "set": " ".join(request.assignments),
        "files": " ".join(request.files),
    }
    summary |= {
        "pid": night.pid,
        "asked": asked,
        "versions": versions,
        "figures": [str(path) for path in figures.paths],
        "figure_problems": list(figures.problems),
        **more,
    }
    return SessionResult(result, night.pid, summary, figures.paths)
