"""What a worker does: measure a night, and later judge and write it. It needs no access to the database."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from flatcore.caldb import CalibrationRecord, CalibrationSnapshot, RunRecord
from flatcore.caldb.runs import ending_of
from flatcore.clock import Clock
from flatcore.conclude import conclude
from flatcore.display import check_display, show, write_page
from flatcore.errors import FlatcoreError
from flatcore.measure import measuring
from flatcore.measured import Measurement
from flatcore.night import prepared
from flatcore.nights.earlier import EarlierInBatch, HandedFlat, Verdict, flats_of, verdicts_of
from flatcore.nights.failure import Failure
from flatcore.nights.plan import Task
from flatcore.nights.staging import Stage
from flatcore.previous import EarlierNights
from flatcore.recipe import holding, registers
from flatcore.recording import FILE_ONLY
from flatcore.register import Candidate, candidates
from flatcore.request import NightRequest
from flatcore.runlog import log_file, log_path
from flatcore.session import hashed, tell_start
from flatcore.summary import record_of

log = logging.getLogger("flatcore")

# A process runs one night at a time: threads of kernels and messages of the log are the whole process's.
ONE_NIGHT = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A task in the hands of a worker.

    Attributes
    ----------
    task
        What is to be done.
    run
        Its run, as it was recorded when it began.
    threads
        Of its kernels.
    stage
        Where a storage's nights are run; None where workers see the data root itself.
    """

    task: Task
    run: RunRecord
    threads: int
    stage: Stage | None = None

    @property
    def pid(self) -> str:
        """Identifier of the run."""
        return self.run.pid

    @property
    def request(self) -> NightRequest:
        """The task's request with the worker's threads."""
        return replace(self.task.request, threads=self.threads, database_url=None)


@dataclass(frozen=True)
class Measured:
    """What a night's frames gave, waiting to be judged.

    Attributes
    ----------
    job
        The job.
    measurement
        Spectra, blazes and flats.
    input_sha256
        Hashes of the frames by name.
    told
        The log so far, where it is on a disk that the next worker may not see.
    """

    job: Job
    measurement: Measurement
    input_sha256: dict[str, str] = field(default_factory=dict)
    told: str = ""

    def __sizeof__(self) -> int:
        """Bytes of the arrays, for whoever keeps an eye on memory."""
        return sum(array.nbytes for array in _arrays(self.measurement.images))


@dataclass(frozen=True)
class Outcome:
    """What came of a night.

    Attributes
    ----------
    pid
        Identifier of the run.
    passed
        Whether every fibre passed quality control.
    record
        All that the run tells.
    candidates
        Flats and blazes that are to be registered.
    """

    pid: str
    passed: bool
    record: dict[str, Any]
    candidates: tuple[Candidate, ...]


def measure_night(job: Job) -> Measured | Failure:
    """Do what needs no other night: by far the most of the work."""
    try:
        return _measured(job)
    except Exception as error:
        return Failure.of(error)


def _measured(job: Job) -> Measured:
    if job.stage is None:
        with ONE_NIGHT:
            return _measured_at(job, job.request, job.task.snapshot)
    with ONE_NIGHT, job.stage.frames(job.pid, job.request) as request:
        measured = _measured_at(job, request, job.stage.calibrations(job.task.snapshot))
        return replace(measured, told=log_path(request.data_root, job.pid).read_text(encoding="utf-8"))


def _measured_at(job: Job, request: NightRequest, snapshot: CalibrationSnapshot) -> Measured:
    # By their paths: a name alone might be found in the folder that this process happens to be in.
    request = replace(request, files=tuple(str(request.input_folder / name) for name in request.files))
    with (
        log_file(request.data_root, job.pid, job.task.settings.run),
        _failures_logged(),
        prepared(request, Clock(), job.pid, snapshot) as night,
    ):
        check_display(night.settings)
        tell_start(night)
        with hashed(night) as hashes, measuring(night) as measurement:
            finished = measurement.finished()
            return Measured(job, finished, {name: sha256.result() for name, sha256 in hashes.items()})


@contextlib.contextmanager
def _failures_logged() -> Iterator[None]:
    """Have the run's log say why it came to nothing."""
    try:
        yield
    except FlatcoreError as error:
        log.error("%s", error, extra=FILE_ONLY)
        raise
    except Exception as error:
        log.error("%s", Failure.of(error).text, exc_info=error, extra=FILE_ONLY)
        raise


def verdicts_of_night(measured: Measured | Failure) -> tuple[Verdict, ...] | Failure:
    """Tell which fibres pass as far as the night itself tells; small enough to be sent around."""
    return measured if isinstance(measured, Failure) else verdicts_of(measured.measurement)


def flats_of_night(measured: Measured | Failure) -> tuple[HandedFlat, ...]:
    """Give the flats for later nights to be held to."""
    return () if isinstance(measured, Failure) else flats_of(measured.measurement)


def conclude_night(
    measured: Measured | Failure,
    earlier: tuple[CalibrationRecord, ...],
    *handed: tuple[HandedFlat, ...],
) -> Outcome | Failure:
    """Judge a night and write its products.

    Parameters
    ----------
    measured
        What :func:`measure_night` gave.
    earlier
        Flats and blazes of earlier nights that are in the database.
    handed
        Those that are not yet.
    """
    if isinstance(measured, Failure):
        return measured
    try:
        return _concluded(measured, earlier, tuple(flat for flats in handed for flat in flats))
    except Exception as error:
        return Failure.of(error)


def _concluded(measured: Measured, earlier: tuple[CalibrationRecord, ...], flats: tuple[HandedFlat, ...]) -> Outcome:
    job = measured.job
    request = job.request
    with ONE_NIGHT, contextlib.ExitStack() as stack:
        snapshot = replace(job.task.snapshot, held=earlier)
        if job.stage is not None:
            snapshot = job.stage.calibrations(snapshot)
            request = stack.enter_context(job.stage.products(job.pid, request, measured.told))
        stack.enter_context(log_file(request.data_root, job.pid, job.task.settings.run))
        stack.enter_context(_failures_logged())
        night = replace(measured.measurement.night, request=request)
        context = replace(measured.measurement.context, folder=request.output_folder)
        measurement = replace(measured.measurement, night=night, context=context)
        max_age_days = night.settings.calibration.max_age_days

        def earlier_than(mjd: float) -> EarlierInBatch:
            return EarlierInBatch(EarlierNights.of(snapshot, mjd, max_age_days), flats, max_age_days)

        with holding(night):
            result = conclude(measurement, earlier_than)
        figures = show(night, result, earlier_than)
        record = record_of(night, result, figures, job.task.fingerprint, measured.input_sha256)
        if night.settings.output.report:
            pages = write_page(_ended(job.run, result.passed, record), request.data_root, night.clock)
            record["pages"] = [str(page) for page in pages]
        made = candidates(result, night.settings.output.reference) if registers(night) else ()
        log.info("%s: done, %d products", request.obs_dir, len(result.products))
        if job.stage is not None:
            record = job.stage.renamed(job.pid, record)
            made = tuple(replace(one, path=job.stage.renamed(job.pid, one.path)) for one in made)
        return Outcome(job.pid, result.passed, record, made)


def _ended(run: RunRecord, passed: bool, record: dict[str, Any]) -> RunRecord:
    """Give the record of a run that has ended, before the database has it."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    status, exit_status = ending_of(passed)
    return replace(run, status=status, exit_status=exit_status, finished=now, record=record)


def _arrays(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _arrays(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _arrays(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _arrays(getattr(value, name))
