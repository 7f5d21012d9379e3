"""A night's flats: the order of the stages, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flatcore import _core, calibrations, localisation, products
from flatcore.blaze import fit_orders
from flatcore.blaze import prepare as prepare_fits
from flatcore.caldb.keys import unix_of_mjd
from flatcore.calibrate import calibrate
from flatcore.clock import Clock, Progress
from flatcore.combine import combine
from flatcore.diagnostics import diagnose
from flatcore.errors import CalibrationError, QualityError
from flatcore.extract import OnDetector, extract
from flatcore.fitsio import FitsImage
from flatcore.flat import make_flat
from flatcore.frames import exposure_of
from flatcore.images import CalibratedImage, CombinedImage, FrameSet, Image
from flatcore.instrument import Profile
from flatcore.locks import night_lock
from flatcore.night import Night, prepared
from flatcore.notices import failures, fiber_notices, selection_notices
from flatcore.previous import EarlierNights, changes
from flatcore.qc import check_fiber
from flatcore.request import NightRequest
from flatcore.results import FiberResult, FrameCheck, ImageResult, NightResult
from flatcore.settings import Changes, Settings
from flatcore.stability import check_frames, drift
from flatcore.straighten import columns_of, straight_positions, straighten

log = logging.getLogger("flatcore")

# Calibrations of one night have the same time, but for the rounding of MJD.
SAME_TIME_S = 1.0

# Columns that see less than this share of the order's light are not fitted: their flux falls with it.
LEAST_COVERAGE = 0.99

# Level of output.debug from which intermediate arrays are kept.
KEEP_INTERMEDIATES = 2


@dataclass(frozen=True)
class _Run:
    """What the stages of one run share."""

    night: Night
    calibrations: calibrations.Calibrations
    straight_profiles: Mapping[str, Image]
    traces: Mapping[str, NDArray[np.float64]]
    context: products.RunContext
    warnings: list[str]

    def warn(self, notices: Sequence[str]) -> None:
        for text in notices:
            log.warning(text)
        self.warnings.extend(notices)


@dataclass(frozen=True)
class _StraightImage:
    """An image ready for extraction.

    Attributes
    ----------
    pixels
        Straightened [electrons].
    calibrated
        The same on the detector.
    saturated
        Rows and columns of saturated pixels; pixels by 2.
    combined, frames
        What it was made of, and how each frame compares.
    earlier
        Flats and blazes of earlier nights.
    """

    pixels: Image
    calibrated: CalibratedImage
    saturated: NDArray[np.int_]
    combined: CombinedImage
    frames: tuple[FrameCheck, ...]
    earlier: EarlierNights


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
        result = make(night)
        if night.settings.output.reference and not result.passed:
            raise QualityError(f"{obs_dir}: a reference that fails quality control: {failures(result)}")
        return result


def make(night: Night) -> NightResult:
    """Do the work, from the calibrations' pixels to products and database.

    Raises
    ------
    InputError, CalibrationError, OutputError
        As of :func:`run_night`.
    """
    # 0 stands for all cores.
    _core.set_threads(night.request.threads or 0)
    groups = _groups(night.selected, night.settings)
    with ThreadPoolExecutor(2) as ahead:
        # Neither needs the calibrations: both go on while Python reads their headers.
        combined = ahead.submit(_combined, groups[0], night)
        ahead.submit(prepare_fits)
        return _make(night, groups, combined)


def _combined(group: tuple[FitsImage, ...], night: Night) -> CombinedImage:
    return combine(group, exposure_of(group[0], night.profile), night.settings.combine)


def _make(night: Night, groups: list[tuple[FitsImage, ...]], first: Future[CombinedImage]) -> NightResult:
    """Do the work; ``first`` is the first group's combined image, which is being made."""
    with night.clock.stage("calibrations"):
        loaded = calibrations.load(night.chosen, night.profile, night.settings, night.scratch)
        traces = {name: _traces(name, night.profile, loaded) for name in night.lit}
    folder = night.request.output_folder
    saves = night.settings.output.save
    with (
        night_lock(folder, night.request.lock_timeout_s, night.request.other_folders)
        if saves
        else contextlib.nullcontext()
    ):
        context = products.RunContext(folder, night.pid, night.profile, night.settings, loaded)
        with night.clock.stage("straighten"):
            straight_profiles, unkept = _straight_profiles(context, night.lit)
        run = _Run(night, loaded, straight_profiles, traces, context, [])
        run.warn(selection_notices(night.selected, night.dark, night.profile, night.settings))
        images = []
        for i, group in enumerate(groups):
            with night.clock.stage("combine"):
                combined = _combined(group, night) if i else first.result()
                frames = check_frames(group, combined, night.profile.qc.max_frame_change)
            images.append(_make_image(combined, frames, run, unkept))
            unkept = {}
        if saves and night.settings.output.database:
            with night.clock.stage("database"):
                _register(images, run)
    return NightResult(
        obs_dir=night.request.obs_dir,
        instrument=night.profile.name,
        images=tuple(images),
        left_out=night.selected.left_out,
        calibrations=loaded.chosen,
        traces=traces,
        warnings=tuple(run.warnings),
        seconds=night.clock.seconds,
    )


def _groups(selected: FrameSet, settings: Settings) -> list[tuple[FitsImage, ...]]:
    """All frames together, or each alone."""
    return [selected.frames] if settings.combine.frames else [(frame,) for frame in selected.frames]


def _make_image(
    combined: CombinedImage, frames: tuple[FrameCheck, ...], run: _Run, unkept: Mapping[str, Image]
) -> ImageResult:
    """From the combined frames to products; ``unkept`` are the straightened profiles to keep as products."""
    night, loaded = run.night, run.calibrations
    clock, profile, settings = night.clock, night.profile, night.settings
    with products.ProductWriter(combined, run.context, clock, frames) as writer:
        writer.add_profiles(unkept)
        with clock.stage("calibrate"):
            calibrated = calibrate(
                combined.image,
                combined.exposure,
                profile.detector,
                profile.background,
                settings.calibrate,
                unlit=loaded.unlit,
                dark=loaded.dark,
                bad=loaded.bad,
            )
        writer.add_background(calibrated.background)
        with clock.stage("straighten"):
            straight = straighten(calibrated.image, loaded.transform)
        image = _StraightImage(
            straight,
            calibrated,
            straight_positions(calibrated.saturated, loaded.transform),
            combined,
            frames,
            EarlierNights.of(night.database, combined.mjd_mid, settings.calibration.max_age_days),
        )
        results: dict[str, FiberResult] = {}
        for name in night.lit:
            results[name] = _make_fiber(name, image, run)
            writer.add_fiber(results[name])
        written = writer.finish()
    if settings.output.save and settings.output.debug >= KEEP_INTERMEDIATES:
        with clock.stage("products"):
            products.write_intermediates(night.request.debug_folder, combined, calibrated, straight, results)
    keeps = night.request.keep_images or settings.output.figures > 0
    return ImageResult(
        stem=combined.stem,
        inputs=combined.inputs,
        header=combined.header,
        readnoise_e=calibrated.readnoise_e,
        frames=frames,
        fibers=results,
        products=written,
        calibrated=calibrated if keeps else None,
        straightened=straight if keeps else None,
    )


def _traces(name: str, profile: Profile, loaded: calibrations.Calibrations) -> NDArray[np.float64]:
    fiber = profile.fibers[name]
    try:
        return localisation.traces_of_fiber(loaded.traces[fiber.localisation], fiber.traces)
    except ValueError as error:
        raise CalibrationError(f"{loaded.file('LOC', fiber.localisation).path}: fibre {name}: {error}") from error


def _straight_profiles(
    context: products.RunContext, fibers: Sequence[str]
) -> tuple[dict[str, Image], dict[str, Image]]:
    """Straightened order profiles by localisation fibre, and by fibre those not yet kept as products."""
    loaded = context.calibrations
    made: dict[str, Image] = {}
    unkept: dict[str, Image] = {}
    for name in fibers:
        source = context.profile.fibers[name].localisation
        kept = products.is_kept(context, name)
        if source not in made and kept:
            made[source] = products.read_straight_profile(context, name)
        elif source not in made:
            made[source] = straighten(loaded.profiles[source], loaded.transform)
        if not kept:
            unkept[name] = made[source]
    return made, unkept


def _make_fiber(name: str, image: _StraightImage, run: _Run) -> FiberResult:
    """Extract a fibre, find its blaze, make its flat and check it."""
    night, combined, columns = run.night, image.combined, image.pixels.shape[1]
    profile, settings = night.profile, night.settings
    fiber = profile.fibers[name]
    with night.clock.stage("extract"):
        moved = localisation.move_traces(run.traces[name], run.calibrations.transform.linear, columns)
        windows = localisation.order_windows(localisation.straight_rows(moved, columns), fiber)
        spectra = extract(
            name,
            image.pixels,
            run.straight_profiles[fiber.localisation],
            windows,
            fiber,
            settings.extract,
            transform=run.calibrations.transform,
            on_detector=OnDetector(image.calibrated.image, run.calibrations.profiles[fiber.localisation]),
            readnoise_e=image.calibrated.readnoise_e,
            gain=profile.detector.gain,
            photon_variance=combined.photon_variance,
        )
    with night.clock.stage("blaze"):
        fits = fit_orders(
            spectra.e2ds,
            profile.blaze,
            settings.blaze,
            night.request.threads or _core.threads(),
            errors=spectra.e2ds_error,
            lost=spectra.coverage < LEAST_COVERAGE,
        )
    with night.clock.stage("flat"):
        flat = make_flat(spectra, fits, settings.flat, columns_of(image.saturated, windows, columns))
        diagnostics = diagnose(spectra, flat, len(combined.inputs))
        previous, notice = image.earlier.latest(name)
        change = changes(flat, previous) if previous else None
        if previous and change is None:
            notice = f"fibre {name}: {previous.name} has another shape, and is not compared with"
        qc = check_fiber(flat, profile.qc, diagnostics, change=change, frames=image.frames, drift=drift(image.frames))
    result = FiberResult(spectra, flat, diagnostics, change, qc)
    run.warn([notice] if notice else [])
    run.warn(fiber_notices(result, settings))
    return result


def _register(images: Sequence[ImageResult], run: _Run) -> None:
    """Add flats and blazes of the fibres that passed quality control to the calibration database.

    Reference calibrations come together or not at all. A flat or blaze of another night that has the same name stays.
    """
    reference = run.night.settings.output.reference
    whole = all(fiber.qc.passed for image in images for fiber in image.fibers.values())
    if reference and not whole:
        return
    passed = [
        product.path
        for image in images
        for product in image.products
        if product.kind in ("FF_FLAT", "FF_BLAZE") and image.fibers[product.fiber].qc.passed
    ]
    times = {image.stem: unix_of_mjd(image.header["MJDMID"]) for image in images}
    others = {
        record.filename
        for key in ("FLAT", "BLAZE")
        for record in run.night.database.records(key)
        if not any(abs(record.unixtime - time) < SAME_TIME_S for time in times.values())
    }
    taken = [path for path in passed if path.name in others]
    if taken:
        names = ", ".join(path.name for path in taken)
        run.warn([f"not registered, since another night's calibrations have these names: {names}"])
    new = [path for path in passed if path not in taken]
    if new:
        run.night.database.add_files(new, pid=run.context.pid, reference=reference, replace=True)
