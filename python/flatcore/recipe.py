"""A night's flats: the order of the stages, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flatcore.caldb import CalibrationDatabase
from flatcore.clock import Clock, Progress
from flatcore.conclude import EarlierThan, conclude
from flatcore.errors import QualityError
from flatcore.locks import night_lock
from flatcore.measure import measuring
from flatcore.night import Night, prepared
from flatcore.notices import failures
from flatcore.previous import EarlierNights
from flatcore.register import candidates, register
from flatcore.request import NightRequest
from flatcore.results import NightResult
from flatcore.settings import Changes

log = logging.getLogger("flatcore")


def run_night(
    obs_dir: str,
    files: Sequence[str] = (),
    *,
    data_root: str | Path,
    instrument: str | Path | None = None,
    fiber: str = "ALL",
    preset: str = "default",
    settings: Changes | None = None,
    assignments: Sequence[str] = (),
    calibration_files: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    keep_images: bool = False,
) -> NightResult:
    """Make flat, blaze and extracted products from a night's lamp flats.

    Parameters
    ----------
    obs_dir
        Folder under ``<data_root>/tmp/``.
    files
        Frames: names, paths or globs; none means every preprocessed flat of the folder.
    data_root
        Holds ``tmp/``, ``calib/`` and ``red/``.
    instrument
        Packaged profile or TOML file; by default chosen by the header's INSTRUME.
    fiber
        ALL, or a fibre of the profile.
    preset
        ``default`` or ``apero``; sets defaults only.
    settings
        Nested tables of settings, for example ``{"combine": {"method": "mean"}}``; they win over the preset.
    assignments
        ``section.key=value`` texts; they win over ``settings`` and may name a value of the profile.
    calibration_files
        Files by key (DARKREF, BADPIX, BKGRDMAP, SHAPEX, SHAPEY, SHAPEL, LOC, ORDER_PROFILE); they win over the
        database.
    threads
        Threads of the kernels; all cores by default. Results do not depend on it.
    progress
        Called with a stage's name and 0 at its start, and with its seconds at its end.
    keep_images
        Keep the images before and after straightening in the result.

    Returns
    -------
    NightResult
        Spectra, blaze, flat and quality control by fibre, and the products written.

    Raises
    ------
    UsageError
        An unknown fibre, setting, preset or profile.
    InputError
        Frames that are missing, broken, or do not agree.
    CalibrationError
        A calibration is missing, too old, or of the wrong kind or shape.
    OutputError
        Products cannot be written; nothing half-written is left.
    QualityError
        A reference calibration (``output.reference``) failed quality control.
    """
    request = NightRequest(
        obs_dir=obs_dir,
        data_root=Path(data_root),
        files=tuple(files),
        instrument=instrument,
        fiber=fiber,
        preset=preset,
        settings=settings or {},
        assignments=tuple(assignments),
        calibration_files=calibration_files or {},
        threads=threads,
        keep_images=keep_images,
    )
    with prepared(request, Clock(progress)) as night:
        with holding(night):
            result = make(night)
        if night.settings.output.reference and not result.passed:
            raise QualityError(f"{obs_dir}: a reference that fails quality control: {failures(result)}")
        return result


def make(night: Night) -> NightResult:
    """Do the work, from the calibrations' pixels to products and database; the caller is :func:`holding` the night.

    Raises
    ------
    InputError, CalibrationError, OutputError
        As of :func:`run_night`.
    """
    with measuring(night) as measurement:
        result = conclude(measurement, earlier_in_database(night))
        if not registers(night):
            return result
        with night.clock.stage("database"):
            reference = night.settings.output.reference
            database = CalibrationDatabase.open(night.request.data_root, night.request.database_url)
            registered = register(candidates(result, reference), database, night.pid, reference=reference)
        for text in registered.notices:
            log.warning(text)
        return replace(result, warnings=(*result.warnings, *registered.notices))


def earlier_in_database(night: Night) -> EarlierThan:
    """Give what looks up the flats and blazes before a time in the night's database."""
    max_age_days = night.settings.calibration.max_age_days
    return lambda mjd: EarlierNights.of(night.database, mjd, max_age_days)


def holding(night: Night) -> contextlib.AbstractContextManager[None]:
    """Hold the folder of the products, if any are written, so that nobody else writes there."""
    request = night.request
    if not night.settings.output.save:
        return contextlib.nullcontext()
    return night_lock(request.output_folder, request.lock_timeout_s, request.other_folders)


def registers(night: Night) -> bool:
    """Tell whether flats and blazes that pass are to be added to the database."""
    return night.settings.output.save and night.settings.output.database
