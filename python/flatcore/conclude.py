"""What was measured, held to earlier nights, judged and written."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flatcore import products
from flatcore.measured import MeasuredFiber, MeasuredImage, Measurement, keeps_images, keeps_intermediates
from flatcore.notices import fiber_notices, selection_notices
from flatcore.previous import Earlier, changes
from flatcore.qc import check_fiber
from flatcore.results import FiberResult, ImageResult, NightResult
from flatcore.stability import drift

log = logging.getLogger("flatcore")

# Gives the flats and blazes of the nights before a time [MJD].
EarlierThan = Callable[[float], Earlier]


@dataclass
class _Warnings:
    """Told as they come, and kept."""

    texts: list[str] = field(default_factory=list)

    def add(self, notices: Sequence[str]) -> None:
        for text in notices:
            log.warning(text)
        self.texts.extend(notices)


def conclude(measurement: Measurement, earlier_than: EarlierThan) -> NightResult:
    """Judge every fibre and write the products; a fibre is written while the next is measured.

    Parameters
    ----------
    measurement
        What the frames gave.
    earlier_than
        Gives what the flats and blazes are compared with.

    Raises
    ------
    OutputError
        Products cannot be written; nothing half-written is left.
    """
    night = measurement.night
    warnings = _Warnings()
    warnings.add(selection_notices(night.selected, night.dark, night.profile, night.settings))
    # Not by a variable of a loop, which would hold an image while the next is measured.
    concluded = functools.partial(_image, measurement=measurement, earlier_than=earlier_than, warnings=warnings)
    images = tuple(map(concluded, measurement.images))
    return NightResult(
        obs_dir=night.request.obs_dir,
        instrument=night.profile.name,
        images=images,
        left_out=night.selected.left_out,
        calibrations=measurement.context.calibrations.chosen,
        traces=dict(measurement.traces),
        warnings=tuple(warnings.texts),
        seconds=night.clock.seconds,
    )


def _image(
    image: MeasuredImage, measurement: Measurement, earlier_than: EarlierThan, warnings: _Warnings
) -> ImageResult:
    night, combined, settings = measurement.night, image.combined, measurement.night.settings
    earlier = earlier_than(combined.mjd_mid)
    results: dict[str, FiberResult] = {}
    with (
        products.ProductWriter(combined, measurement.context, night.clock, image.frames) as writer,
        image.measuring_fibers() as fibers,
    ):
        writer.add_profiles(image.straight_profiles)
        writer.add_background(image.background)
        for fiber in fibers:
            with night.clock.stage("flat"):
                result, notice = _judged(fiber, image, earlier, measurement)
            results[fiber.spectra.fiber] = result
            warnings.add([notice] if notice else [])
            warnings.add(fiber_notices(result, settings))
            writer.add_fiber(result)
        written = writer.finish()
    if keeps_intermediates(settings) and image.calibrated is not None and image.straightened is not None:
        with night.clock.stage("products"):
            products.write_intermediates(
                night.request.debug_folder, combined, image.calibrated, image.straightened, results
            )
    keeps = keeps_images(night)
    return ImageResult(
        stem=combined.stem,
        inputs=combined.inputs,
        header=combined.header,
        readnoise_e=image.readnoise_e,
        frames=image.frames,
        fibers=results,
        products=written,
        calibrated=image.calibrated if keeps else None,
        straightened=image.straightened if keeps else None,
    )


def _judged(
    fiber: MeasuredFiber, image: MeasuredImage, earlier: Earlier, measurement: Measurement
) -> tuple[FiberResult, str]:
    """Hold a fibre to the earlier night and check it; the notice says why there is nothing to hold it to."""
    name, flat = fiber.spectra.fiber, fiber.flat
    previous, notice = earlier.latest(name)
    change = changes(flat, previous) if previous else None
    if previous and change is None:
        notice = f"fibre {name}: {previous.name} has another shape, and is not compared with"
    limits = measurement.night.profile.qc
    qc = check_fiber(flat, limits, fiber.diagnostics, change=change, frames=image.frames, drift=drift(image.frames))
    return FiberResult(fiber.spectra, flat, fiber.diagnostics, change, qc), notice
