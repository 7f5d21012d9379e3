"""A run as automation meets it: the recipe with its log, its record, its figures, and an orderly end."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flatcore.caldb import RunLog
from flatcore.caldb.runs import Ending
from flatcore.clock import Clock, Progress
from flatcore.errors import FlatcoreError
from flatcore.fitsio import sha256_of
from flatcore.night import Night, prepared
from flatcore.recipe import make
from flatcore.request import NightRequest
from flatcore.results import NightResult
from flatcore.runlog import log_file
from flatcore.summary import summary_of

log = logging.getLogger("flatcore")

# Messages for the log file: whoever called is told by the exception.
FILE_ONLY = {"file_only": True}

# Packages whose versions a run's record holds: what the numbers may depend on.
PACKAGES = ("flatcore", "numpy", "scipy", "astropy")


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
    """

    night: NightResult | None
    pid: str
    summary: dict[str, Any]
    figures: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every fibre passed quality control."""
        return bool(self.summary["passed"])


def run_session(
    request: NightRequest, progress: Progress | None = None, *, skip_existing: bool = False
) -> SessionResult:
    """Run a night with its log file, its record in the database, and its figures.

    With ``output.save`` off nothing is written anywhere: no log, no record, no figures.

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
    clock = Clock(progress)
    with prepared(request, clock) as night:
        if _wants_figures(night):
            # Before the work: a missing matplotlib is told now, not after minutes.
            import flatcore.plots  # noqa: F401, PLC0415
        if not night.settings.output.save:
            return _finished(night, make(night), {})
        fingerprint = fingerprint_of(night)
        runs = RunLog.open(request.data_root, request.database_url)
        if skip_existing:
            earlier = _same_run(runs, request.obs_dir, fingerprint)
            if earlier is not None:
                log.info("%s: nothing to do, %s made it", request.obs_dir, earlier.pid)
                return SessionResult(None, earlier.pid, earlier.record | {"skipped": True})
        with log_file(request.data_root / "log", night.pid, night.settings.run), _recorded(runs, night) as finish:
            _tell_start(night)
            with _hashes(night) as hashes:
                result = make(night)
                inputs = {name: hashed.result() for name, hashed in hashes.items()}
            figures = _figures(night, result)
            outcome = _finished(night, result, {"fingerprint": fingerprint, "input_sha256": inputs}, figures)
            finish("done" if result.passed else "failed-qc", 0 if result.passed else 4, outcome.summary)
            log.info("%s: done, %d products", request.obs_dir, len(result.products))
            return outcome


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


def _same_run(runs: RunLog, obs_dir: str, fingerprint: str) -> Any:
    """Give the latest finished run of the same fingerprint whose products are all there."""
    for run in runs.records(obs_dir):
        if run.status in ("done", "failed-qc") and run.record.get("fingerprint") == fingerprint:
            products = run.record.get("products", [])
            whole = all(_is_there(product) for product in products)
            return run if products and whole else None
    return None


def _is_there(product: Mapping[str, Any]) -> bool:
    path = Path(product["path"])
    return path.is_file() and path.stat().st_size == product["bytes"]


@contextmanager
def _recorded(runs: RunLog, night: Night) -> Iterator[Callable[[Ending, int, Mapping[str, Any]], None]]:
    """Record a run as running, and how it ended, however it ended."""
    run = night.settings.run
    runs.start(
        pid=night.pid,
        obs_dir=night.request.obs_dir,
        instrument=night.profile.name,
        program=run.program,
        shortname=run.shortname,
        recipe_kind=run.recipe_kind,
    )

    ended = False

    def finish(status: Ending, exit_status: int, record: Mapping[str, Any]) -> None:
        nonlocal ended
        if not ended:
            ended = True
            runs.finish(night.pid, status, exit_status, record)

    try:
        yield finish
    except KeyboardInterrupt as interrupt:
        log.error("interrupted", extra=FILE_ONLY)
        finish("interrupted", exit_status_of(interrupt), {"error": "interrupted"})
        raise
    except FlatcoreError as error:
        log.error("%s", error, extra=FILE_ONLY)
        finish("error", error.exit_status, {"error": str(error)})
        raise
    except Exception as error:
        log.exception("internal error", extra=FILE_ONLY)
        finish("error", 1, {"error": repr(error)})
        raise


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


def _wants_figures(night: Night) -> bool:
    """Tell whether figures are asked for; an interactive one among parallel runs would wait for nobody."""
    level = night.settings.output.figures
    return level > 1 or (level == 1 and not night.settings.run.parallel)


def _figures(night: Night, result: NightResult) -> tuple[Path, ...]:
    """Draw the figures asked for; a failure to draw is a warning, never a lost product."""
    if not _wants_figures(night):
        return ()
    from flatcore import plots  # noqa: PLC0415 - matplotlib only where figures are asked for

    level = night.settings.output.figures
    folder = night.request.plot_folder
    paths: list[Path] = []
    try:
        with night.clock.stage("figures"):
            for image in result.images:
                arguments = (result, image, result.traces, night.profile)
                if level == 1:
                    plots.show_figures(*arguments, settings=night.settings.flat)
                else:
                    paths += plots.write_figures(*arguments, folder, level, settings=night.settings.flat)
    except Exception as error:
        log.warning("figures could not all be drawn: %s", error, exc_info=not isinstance(error, FlatcoreError))
    return tuple(paths)


def _finished(
    night: Night, result: NightResult, more: Mapping[str, Any], figures: tuple[Path, ...] = ()
) -> SessionResult:
    versions = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    summary = summary_of(result, night.settings, night.profile)
    summary |= {"pid": night.pid, "versions": versions, "figures": [str(path) for path in figures], **more}
    return SessionResult(result, night.pid, summary, figures)
