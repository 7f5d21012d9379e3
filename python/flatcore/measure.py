"""What a night's frames give by themselves: everything up to the flats, without a look at other nights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flatcore import _core, calibrations, localisation, products
from flatcore.blaze import fit_orders
from flatcore.blaze import prepare as prepare_fits
from flatcore.calibrate import calibrate
from flatcore.combine import combine
from flatcore.diagnostics import diagnose
from flatcore.errors import CalibrationError
from flatcore.extract import OnDetector, extract
from flatcore.fitsio import FitsImage
from flatcore.flat import make_flat
from flatcore.frames import exposure_of
from flatcore.images import BackgroundMaps, CalibratedImage, CombinedImage, Image
from flatcore.instrument import Profile
from flatcore.night import Night
from flatcore.results import FiberDiagnostics, FrameCheck
from flatcore.settings import Settings
from flatcore.spectra import FiberFlat, FiberSpectra
from flatcore.stability import check_frames
from flatcore.straighten import columns_of, straight_positions, straighten

# Columns that see less than this share of the order's light are not fitted: their flux falls with it.
LEAST_COVERAGE = 0.99

# Level of output.debug from which intermediate arrays are kept.
KEEP_INTERMEDIATES = 2


@dataclass(frozen=True)
class MeasuredFiber:
    """A fibre's spectra, blaze and flat, before they are judged."""

    spectra: FiberSpectra
    flat: FiberFlat
    diagnostics: FiberDiagnostics


@dataclass(frozen=True)
class MeasuredImage:
    """What one image gives.

    Attributes
    ----------
    combined, frames
        What it was made of, and how each frame compares.
    readnoise_e
        Effective read noise [electrons].
    background
        The maps, where the background was subtracted.
    calibrated, straightened
        Before and after straightening.
    straight_profiles
        Straightened order profiles by fibre that are to be kept as products.
    fibers
        The fibres, each measured when it is asked for.
    """

    combined: CombinedImage
    frames: tuple[FrameCheck, ...]
    readnoise_e: float
    background: BackgroundMaps | None
    calibrated: CalibratedImage | None
    straightened: Image | None
    straight_profiles: Mapping[str, Image]
    fibers: Iterable[MeasuredFiber]


@dataclass(frozen=True)
class Measurement:
    """What a night's frames give.

    Attributes
    ----------
    night
        The night.
    context
        What every product says of the run.
    traces
        By fibre, Chebyshev coefficients of its orders' traces.
    images
        The images, each measured when it is asked for.
    """

    night: Night
    context: products.RunContext
    traces: Mapping[str, NDArray[np.float64]]
    images: Iterable[MeasuredImage]

    def finished(self) -> Measurement:
        """Measure all of it, and keep no more pixels than what is still to come needs: it can be handed on."""
        settings = self.night.settings
        images = tuple(_finished(image, keeps_images(self.night), settings) for image in self.images)
        loaded = self.context.calibrations
        nothing = np.empty((0, 0), np.float32)
        light = replace(
            loaded,
            dark=None,
            bad=None,
            unlit=loaded.unlit if settings.output.background else np.empty((0, 0), np.uint8),
            transform=replace(loaded.transform, dxmap=nothing, dymap=nothing),
            profiles={},
        )
        return replace(self, context=replace(self.context, calibrations=light), images=images)


def keeps_images(night: Night) -> bool:
    """Tell whether figures or the caller need the images themselves."""
    return night.request.keep_images or night.settings.output.figures > 0


def keeps_intermediates(settings: Settings) -> bool:
    """Tell whether intermediate arrays are written."""
    return settings.output.save and settings.output.debug >= KEEP_INTERMEDIATES


def _finished(image: MeasuredImage, keep: bool, settings: Settings) -> MeasuredImage:
    fibers = tuple(image.fibers)
    keep = keep or keeps_intermediates(settings)
    return replace(
        image,
        fibers=fibers,
        background=image.background if settings.output.background else None,
        calibrated=image.calibrated if keep else None,
        straightened=image.straightened if keep else None,
    )


@dataclass(frozen=True)
class _Loaded:
    """What the images of a run share."""

    night: Night
    calibrations: calibrations.Calibrations
    straight_profiles: Mapping[str, Image]
    traces: Mapping[str, NDArray[np.float64]]


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
    combined
        What it was made of.
    """

    pixels: Image
    calibrated: CalibratedImage
    saturated: NDArray[np.int_]
    combined: CombinedImage


@contextlib.contextmanager
def measuring(night: Night) -> Iterator[Measurement]:
    """Read the calibrations while the frames are combined, and give the rest to be measured when it is asked for.

    Raises
    ------
    InputError, CalibrationError
        As of :func:`flatcore.run_night`.
    """
    # 0 stands for all cores.
    _core.set_threads(night.request.threads or 0)
    groups = _groups(night)
    with ThreadPoolExecutor(2) as ahead:
        # Neither needs the calibrations: both go on while Python reads their headers.
        combined = ahead.submit(_combined, groups[0], night)
        ahead.submit(prepare_fits)
        with night.clock.stage("calibrations"):
            loaded = calibrations.load(night.chosen, night.profile, night.settings, night.scratch)
            traces = {name: _traces(name, night.profile, loaded) for name in night.lit}
        context = products.RunContext(night.request.output_folder, night.pid, night.profile, night.settings, loaded)
        yield Measurement(night, context, traces, _images(night, groups, combined, context, traces))


def _groups(night: Night) -> list[tuple[FitsImage, ...]]:
    """All frames together, or each alone."""
    frames = night.selected.frames
    return [frames] if night.settings.combine.frames else [(frame,) for frame in frames]


def _combined(group: tuple[FitsImage, ...], night: Night) -> CombinedImage:
    return combine(group, exposure_of(group[0], night.profile), night.settings.combine)


def _traces(name: str, profile: Profile, loaded: calibrations.Calibrations) -> NDArray[np.float64]:
    fiber = profile.fibers[name]
    try:
        return localisation.traces_of_fiber(loaded.traces[fiber.localisation], fiber.traces)
    except ValueError as error:
        raise CalibrationError(f"{loaded.file('LOC', fiber.localisation).path}: fibre {name}: {error}") from error


def _images(
    night: Night,
    groups: list[tuple[FitsImage, ...]],
    first: Future[CombinedImage],
    context: products.RunContext,
    traces: Mapping[str, NDArray[np.float64]],
) -> Iterator[MeasuredImage]:
    """Measure one image after the other; ``first`` is the first group's combined image, which is being made."""
    with night.clock.stage("straighten"):
        straight_profiles, unkept = _straight_profiles(context, night.lit)
    loaded = _Loaded(night, context.calibrations, straight_profiles, traces)
    for i, group in enumerate(groups):
        with night.clock.stage("combine"):
            combined = _combined(group, night) if i else first.result()
            frames = check_frames(group, combined, night.profile.qc.max_frame_change)
        yield _image(combined, frames, loaded, unkept)
        unkept = {}


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


def _image(
    combined: CombinedImage, frames: tuple[FrameCheck, ...], loaded: _Loaded, unkept: Mapping[str, Image]
) -> MeasuredImage:
    """From the combined frames to an image whose fibres can be measured."""
    night, files = loaded.night, loaded.calibrations
    with night.clock.stage("calibrate"):
        calibrated = calibrate(
            combined.image,
            combined.exposure,
            night.profile.detector,
            night.profile.background,
            night.settings.calibrate,
            unlit=files.unlit,
            dark=files.dark,
            bad=files.bad,
        )
    with night.clock.stage("straighten"):
        straight = straighten(calibrated.image, files.transform)
    image = _StraightImage(straight, calibrated, straight_positions(calibrated.saturated, files.transform), combined)
    return MeasuredImage(
        combined=combined,
        frames=frames,
        readnoise_e=calibrated.readnoise_e,
        background=calibrated.background,
        calibrated=calibrated,
        straightened=straight,
        straight_profiles=unkept,
        fibers=(_fiber(name, image, loaded) for name in night.lit),
    )


def _fiber(name: str, image: _StraightImage, loaded: _Loaded) -> MeasuredFiber:
    """Extract a fibre, find its blaze and make its flat."""
    night, combined, columns = loaded.night, image.combined, image.pixels.shape[1]
    profile, settings = night.profile, night.settings
    fiber = profile.fibers[name]
    with night.clock.stage("extract"):
        moved = localisation.move_traces(loaded.traces[name], loaded.calibrations.transform.linear, columns)
        windows = localisation.order_windows(localisation.straight_rows(moved, columns), fiber)
        spectra = extract(
            name,
            image.pixels,
            loaded.straight_profiles[fiber.localisation],
            windows,
            fiber,
            settings.extract,
            transform=loaded.calibrations.transform,
            on_detector=OnDetector(image.calibrated.image, loaded.calibrations.profiles[fiber.localisation]),
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
        return MeasuredFiber(spectra, flat, diagnose(spectra, flat, len(combined.inputs)))
