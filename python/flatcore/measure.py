"""What a night's frames give by themselves: everything up to the flats, without a look at other nights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flatcore import _core, calibrations, localisation, products
from flatcore.blaze import prepare as prepare_fits
from flatcore.calibrate import calibrate
from flatcore.combine import combine
from flatcore.errors import CalibrationError
from flatcore.fitsio import FitsImage, read_pixels
from flatcore.frames import exposure_of
from flatcore.images import CalibratedImage, CombinedImage, Image
from flatcore.instrument import Profile
from flatcore.measure_fibers import StraightImage, measured_fibers
from flatcore.measured import MeasuredImage, Measurement, keeps_images, keeps_intermediates
from flatcore.night import Night
from flatcore.results import FrameCheck
from flatcore.stability import check_frames
from flatcore.straighten import straight_positions, straighten

# A combined image and its frames held to it, or what is still to give them.
Combined = tuple[CombinedImage, tuple[FrameCheck, ...]]


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
        first = [ahead.submit(_combined, groups[0], night)]
        ahead.submit(prepare_fits)
        with night.clock.stage("calibrations"):
            loaded = calibrations.load(night.chosen, night.profile, night.settings, night.scratch)
            traces = {name: _traces(name, night.profile, loaded) for name in night.lit}
        context = products.RunContext(night.request.output_folder, night.pid, night.profile, night.settings, loaded)
        shared = _Shared(night, context, traces)
        yield Measurement(night, context, traces, _images(shared, groups, first))


@dataclass(frozen=True)
class _Shared:
    """What the images of a run share."""

    night: Night
    context: products.RunContext
    traces: Mapping[str, NDArray[np.float64]]

    @property
    def files(self) -> calibrations.Calibrations:
        """Contents of the calibration files."""
        return self.context.calibrations


def _groups(night: Night) -> list[tuple[FitsImage, ...]]:
    """All frames together, or each alone."""
    frames = night.selected.frames
    return [frames] if night.settings.combine.frames else [(frame,) for frame in frames]


def _combined(group: tuple[FitsImage, ...], night: Night) -> Combined:
    """Combine frames, and hold each to what they give."""
    combined = combine(group, exposure_of(group[0], night.profile), night.settings.combine)
    return combined, check_frames(group, combined, night.profile.qc.max_frame_change)


def _traces(name: str, profile: Profile, loaded: calibrations.Calibrations) -> NDArray[np.float64]:
    fiber = profile.fibers[name]
    try:
        return localisation.traces_of_fiber(loaded.traces[fiber.localisation], fiber.traces)
    except ValueError as error:
        raise CalibrationError(f"{loaded.file('LOC', fiber.localisation).path}: fibre {name}: {error}") from error


def _images(
    shared: _Shared, groups: list[tuple[FitsImage, ...]], first: list[Future[Combined]]
) -> Iterator[MeasuredImage]:
    """Measure one image after the other; ``first`` holds the first group's combined image, which is being made.

    The image leaves that list when it is used, and none is held while the next is measured: new memory is dearer than
    what is done with it.
    """
    night, straight_profiles, unkept = shared.night, None, dict[str, Image]()
    for group in groups:
        with night.clock.stage("combine"):
            combined, frames = first.pop().result() if first else _combined(group, night)
        calibrated = _calibrated(combined, shared)
        if not keeps_intermediates(night.settings):
            combined = replace(combined, image=np.empty((0, 0), np.float32))
        with night.clock.stage("straighten"):
            if straight_profiles is None:
                straight_profiles, unkept = _straight_profiles(shared.context, night.lit)
            straight = straighten(calibrated.image, shared.files.transform)
        image = StraightImage(
            pixels=straight,
            profiles=straight_profiles,
            calibrated=calibrated,
            saturated=straight_positions(calibrated.saturated, shared.files.transform),
            frames=len(combined.inputs),
            photon_variance=combined.photon_variance,
        )
        yield MeasuredImage(
            combined=combined,
            frames=frames,
            readnoise_e=calibrated.readnoise_e,
            background=calibrated.background,
            calibrated=calibrated,
            straightened=straight,
            straight_profiles=unkept,
            fibers=measured_fibers(image, night, shared.files, shared.traces),
        )
        unkept = {}
        del calibrated, straight, image


def _calibrated(combined: CombinedImage, shared: _Shared) -> CalibratedImage:
    """Calibrate; the dark is read here, and kept no longer."""
    night, files = shared.night, shared.files
    with night.clock.stage("calibrate"):
        return calibrate(
            combined.image,
            combined.exposure,
            night.profile.detector,
            night.profile.background,
            night.settings.calibrate,
            unlit=files.unlit,
            dark=None if files.dark is None else read_pixels(files.dark),
            bad=files.bad,
            keep_background=keeps_images(night) or night.settings.output.background,
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
