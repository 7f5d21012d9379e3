"""A night's flats: the order of the stages, and nothing else."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flatcore import _core, calibrations, localisation, products
from flatcore.blaze import fit_orders
from flatcore.caldb import CalibrationDatabase
from flatcore.calibrate import calibrate
from flatcore.combine import combine
from flatcore.errors import CalibrationError
from flatcore.extract import extract
from flatcore.fitsio import FitsImage, read_header
from flatcore.flat import make_flat
from flatcore.frames import exposure_of, fibers_to_extract, find_frames, select_frames
from flatcore.instrument import Profile, load_profile, profile_for_header
from flatcore.qc import check_fiber
from flatcore.results import (
    CombinedImage,
    FiberResult,
    FrameSet,
    Image,
    ImageResult,
    NightResult,
    Product,
)
from flatcore.settings import Changes, Settings, resolve
from flatcore.straighten import straighten

log = logging.getLogger("flatcore")

Progress = Callable[[str, float], None]


@dataclass
class _Clock:
    """Time per stage, told to whoever watches."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self.progress:
            self.progress(name, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        if self.progress:
            self.progress(name, self.seconds[name])


@dataclass(frozen=True)
class _Run:
    """What the stages of one run share."""

    profile: Profile
    settings: Settings
    fibers: tuple[str, ...]
    calibrations: calibrations.Calibrations
    straight_profiles: Mapping[str, Image]
    context: products.RunContext
    database: CalibrationDatabase
    clock: _Clock
    warnings: list[str]
    threads: int
    keep_images: bool

    def warn(self, text: str) -> None:
        log.warning(text)
        self.warnings.append(text)


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
    """
    clock = _Clock(progress)
    root = Path(data_root)
    with tempfile.TemporaryDirectory(prefix="flatcore-") as scratch:
        with clock.stage("frames"):
            paths = find_frames(root / "tmp" / obs_dir, files)
            profile = _profile(instrument, paths[0])
            profile, chosen = resolve(profile, preset, [settings or {}], assignments)
            if threads is not None:
                _core.set_threads(threads)
            selected = select_frames(paths, profile, chosen.input.require_qc, Path(scratch))
            lit, dark = fibers_to_extract(profile, selected.dprtype, fiber)
        with clock.stage("calibrations"):
            database = CalibrationDatabase.open(root)
            named = {
                key: calibrations.find_named(name, root, root / "tmp" / obs_dir)
                for key, name in (calibration_files or {}).items()
            }
            needed = calibrations.needs(profile, chosen, lit)
            mjd = float(np.mean([frame.header["MJDMID"] for frame in selected.frames]))
            files_chosen = calibrations.choose(needed, database, mjd, chosen.calibration, named)
            loaded = calibrations.load(files_chosen, profile, chosen, Path(scratch))
        context = products.RunContext(root / "red" / obs_dir, products.new_pid(), profile, chosen, loaded)
        with clock.stage("straighten"):
            straight_profiles, unkept = _straight_profiles(context, lit)
        run = _Run(
            profile=profile,
            settings=chosen,
            fibers=lit,
            calibrations=loaded,
            straight_profiles=straight_profiles,
            context=context,
            database=database,
            clock=clock,
            warnings=[],
            threads=threads or _core.threads(),
            keep_images=keep_images,
        )
        _tell_selection(run, selected, dark)
        images = []
        for group in _groups(selected, chosen):
            images.append(_make_image(group, run, unkept))
            unkept = {}
    return NightResult(
        obs_dir=obs_dir,
        instrument=profile.name,
        images=tuple(images),
        left_out=selected.left_out,
        calibrations=loaded.chosen,
        warnings=tuple(run.warnings),
        seconds=clock.seconds,
    )


def _profile(instrument: str | Path | None, first: Path) -> Profile:
    header = read_header(first)
    if instrument is None:
        return profile_for_header(header, first)
    profile = load_profile(instrument)
    if not profile.matches(header):
        log.warning("%s: INSTRUME = %r is not what %s expects", first, header.get("INSTRUME"), profile.name)
    return profile


def _groups(selected: FrameSet, settings: Settings) -> list[tuple[FitsImage, ...]]:
    """All frames together, or each alone."""
    return [selected.frames] if settings.combine.frames else [(frame,) for frame in selected.frames]


def _tell_selection(run: _Run, selected: FrameSet, dark: Sequence[str]) -> None:
    for frame in selected.left_out:
        run.warn(f"{frame.path.name} is left out: {frame.reason}")
    least = run.profile.input.min_frames
    if run.settings.combine.frames and len(selected.frames) < least:
        run.warn(f"{len(selected.frames)} frames, fewer than the {least} of {run.profile.name}")
    if dark:
        run.warn(f"fibre {', '.join(dark)} gets no light in {selected.dprtype} frames and is left out")


def _make_image(group: tuple[FitsImage, ...], run: _Run, unkept: Mapping[str, Image]) -> ImageResult:
    """From frames to products and database; ``unkept`` are the straightened profiles to keep as products."""
    clock, profile, settings, loaded = run.clock, run.profile, run.settings, run.calibrations
    with clock.stage("combine"):
        combined = combine(group, exposure_of(group[0], profile), settings.combine)
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
    with clock.stage("straighten"):
        straight = straighten(calibrated.image, loaded.transform)
    results = {name: _make_fiber(name, straight, calibrated.readnoise_e, combined, run) for name in run.fibers}
    written: tuple[Product, ...] = ()
    if settings.output.save:
        with clock.stage("products"):
            maps = calibrated.background if settings.output.background else None
            written = products.write_products(combined, results, unkept, maps, run.context)
        if settings.output.database:
            with clock.stage("database"):
                _register(written, results, run)
    return ImageResult(
        stem=combined.stem,
        inputs=combined.inputs,
        header=combined.header,
        readnoise_e=calibrated.readnoise_e,
        fibers=results,
        products=written,
        calibrated=calibrated if run.keep_images else None,
        straightened=straight if run.keep_images else None,
    )


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


def _make_fiber(name: str, straight: Image, readnoise_e: float, combined: CombinedImage, run: _Run) -> FiberResult:
    """Extract a fibre, fit its blaze, make its flat and check it."""
    fiber, columns = run.profile.fibers[name], straight.shape[1]
    with run.clock.stage("extract"):
        try:
            traces = localisation.traces_of_fiber(run.calibrations.traces[fiber.localisation], fiber.traces)
        except ValueError as error:
            raise CalibrationError(
                f"{run.calibrations.file('LOC', fiber.localisation).path}: fibre {name}: {error}"
            ) from error
        moved = localisation.move_traces(traces, run.calibrations.transform.linear, columns)
        windows = localisation.order_windows(localisation.straight_rows(moved, columns), fiber)
        spectra = extract(
            name,
            straight,
            run.straight_profiles[fiber.localisation],
            windows,
            fiber,
            run.settings.extract,
            readnoise_e=readnoise_e,
            gain=run.profile.detector.gain,
            photon_variance=combined.photon_variance,
        )
    with run.clock.stage("blaze"):
        fits = fit_orders(spectra.e2ds, run.profile.blaze, run.settings.blaze, run.threads)
    with run.clock.stage("flat"):
        flat = make_flat(spectra, fits, run.settings.flat, straight.shape[0])
        qc = check_fiber(flat, run.profile.qc)
    result = FiberResult(spectra, flat, qc)
    _tell_fiber(result, run)
    return result


def _tell_fiber(result: FiberResult, run: _Run) -> None:
    name = result.spectra.fiber
    for order, fit in enumerate(result.flat.fits):
        if fit.problem:
            run.warn(f"fibre {name}, order {order}: no blaze: {fit.problem}")
    if result.spectra.saturated.any():
        orders = ", ".join(str(order) for order in np.flatnonzero(result.spectra.saturated))
        run.warn(f"fibre {name}: orders {orders} are above {run.settings.extract.saturation_adu:g} ADU")
    for check in result.qc.checks:
        if not check.passed:
            run.warn(f"fibre {name} fails quality control: {check.name} = {check.value:.5f}, asked for {check.limit}")


def _register(written: Sequence[Product], results: Mapping[str, FiberResult], run: _Run) -> None:
    """Add flats and blazes of the fibres that passed quality control to the calibration database."""
    passed = [
        product.path
        for product in written
        if product.kind in ("FF_FLAT", "FF_BLAZE") and results[product.fiber].qc.passed
    ]
    if passed:
        run.database.add_files(passed, pid=run.context.pid, replace=True)
