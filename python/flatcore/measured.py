"""What a night's frames give by themselves, before it is held to other nights and judged."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flatcore import products
from flatcore.images import BackgroundMaps, CalibratedImage, CombinedImage, Image
from flatcore.night import Night
from flatcore.results import FiberDiagnostics, FrameCheck
from flatcore.settings import Settings
from flatcore.spectra import FiberFlat, FiberSpectra

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
        What it was made of, without its pixels unless they are to be written, and how each frame compares.
    readnoise_e
        Effective read noise [electrons].
    background
        The maps, where the background was subtracted and they are to be kept.
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

    @contextlib.contextmanager
    def measuring_fibers(self) -> Iterator[Iterable[MeasuredFiber]]:
        """Give the fibres; what of them is not asked for by the end is not measured."""
        try:
            yield self.fibers
        finally:
            if isinstance(self.fibers, Generator):
                self.fibers.close()


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
