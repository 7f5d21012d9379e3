"""A run as automation meets it: the recipe with its log, its record, its figures, its page, and an orderly end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatcore.caldb import RunLog
from flatcore.caldb.runs import ending_of
from flatcore.clock import Clock, Progress
from flatcore.display import check_display, open_windows, show, write_page
from flatcore.fingerprint import Fingerprint, fingerprint_of
from flatcore.fitsio import sha256_of
from flatcore.night import Night, prepared
from flatcore.products import new_pid
from flatcore.recipe import earlier_in_database, holding, make
from flatcore.recording import Recorded
from flatcore.request import NightRequest
from flatcore.results import NightResult
from flatcore.resume import same_run, straight_profiles
from flatcore.runlog import log_file
from flatcore.settings import run_settings
from flatcore.summary import record_of

log = logging.getLogger("flatcore")


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
        are all there; also where it made them while this one waited for the night.

    Raises
    ------
    FlatcoreError
        As of :func:`flatcore.run_night`; the record tells too.
    """
    settings = run_settings(request.preset, [request.settings], request.assignments)
    if not settings.output.save:
        with prepared(request, Clock(progress)) as night:
            check_display(night.settings)
            result = make(night)
            return SessionResult(result, night.pid, record_of(night, result))
    pid = new_pid()
    runs = RunLog.open(request.data_root, request.database_url)
    with (
        log_file(request.data_root, pid, settings.run),
        Recorded(runs, request.obs_dir, pid, settings.run) as record,
        prepared(request, Clock(progress), pid) as night,
    ):
        check_display(night.settings)
        record.instrument = night.profile.name
        fingerprint = fingerprint_of(night)
        if skip_existing and (earlier := _made_before(night, runs, fingerprint)):
            return earlier
        if not skip_existing:
            # Now, so that whoever looks sees it wait for the night.
            _begin(night, record)
        with holding(night):
            if skip_existing:
                # Whoever held the night until now may have made just this.
                if earlier := _made_before(night, runs, fingerprint):
                    return earlier
                _begin(night, record)
            with hashed(night) as hashes:
                result = make(night)
                inputs = {name: sha256.result() for name, sha256 in hashes.items()}
            figures = show(night, result, earlier_in_database(night))
            summary = record_of(night, result, figures, fingerprint, inputs)
            # While the night is held: whoever waits for it is to find what was made.
            record.finish(*ending_of(result.passed), summary)
            wanted = night.settings.output.report
            pages = write_page(runs.get(pid), request.data_root, night.clock) if wanted else ()
        log.info("%s: done, %d products", request.obs_dir, len(result.products))
        problems = [*summary["figure_problems"], *open_windows(night, result)]
        summary = summary | {"figure_problems": problems, "pages": [str(page) for page in pages]}
        return SessionResult(result, pid, summary, figures.paths, pages)


def _begin(night: Night, record: Recorded) -> None:
    """Record and tell that the run goes on."""
    record.start()
    tell_start(night)


def _made_before(night: Night, runs: RunLog, fingerprint: Fingerprint) -> SessionResult | None:
    """Give what an earlier run made, if it did just what this one would do."""
    request = night.request
    kept = straight_profiles(request.output_folder, night.chosen, night.lit)
    earlier = same_run(runs.records(request.obs_dir), fingerprint.digest, kept, night.settings.output)
    if earlier is None:
        return None
    log.info("%s: nothing to do, %s made it", request.obs_dir, earlier.pid)
    return SessionResult(None, earlier.pid, {**earlier.record, "skipped": True})


@contextmanager
def hashed(night: Night) -> Iterator[dict[str, Future[str]]]:
    """Hash the frames while the kernels work."""
    with ThreadPoolExecutor(1) as pool:
        yield {frame.path.name: pool.submit(sha256_of, frame.path) for frame in night.selected.frames}


def tell_start(night: Night) -> None:
    """Tell the log what is about to be run."""
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
