"""What a straight image gives for each fibre: spectra, blaze and flat."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore import _core, localisation
from flatcore.blaze import fit_orders
from flatcore.calibrations import Calibrations
from flatcore.diagnostics import diagnose
from flatcore.extract import OnDetector, extract
from flatcore.flat import make_flat
from flatcore.images import CalibratedImage, Image
from flatcore.measured import MeasuredFiber
from flatcore.night import Night
from flatcore.spectra import FiberSpectra
from flatcore.straighten import columns_of

# Columns that see less than this share of the order's light are not fitted: their flux falls with it.
LEAST_COVERAGE = 0.99


@dataclass(frozen=True)
class StraightImage:
    """An image ready for extraction.

    Attributes
    ----------
    pixels
        Straightened [electrons].
    profiles
        Straightened order profiles by localisation fibre.
    calibrated
        The image on the detector.
    saturated
        Rows and columns of saturated pixels in the straight image; pixels by 2.
    frames
        Number of frames it was made of.
    photon_variance
        Variance of the image relative to one frame's.
    """

    pixels: Image
    profiles: Mapping[str, Image]
    calibrated: CalibratedImage
    saturated: NDArray[np.int_]
    frames: int
    photon_variance: float


def measured_fibers(
    image: StraightImage, night: Night, files: Calibrations, traces: Mapping[str, NDArray[np.float64]]
) -> Generator[MeasuredFiber]:
    """Measure one fibre after the other; with more than one thread each is extracted while others are fitted.

    Closed before its end, it extracts no more.

    Parameters
    ----------
    traces
        By fibre, Chebyshev coefficients of its orders' traces.
    """
    work = _Work(image, night, files)
    # Here and not aside: linear algebra's threads are held to one while a fit runs, which is not for two to do at once.
    with night.clock.stage("extract"):
        windows = {name: work.windows_of(name, traces[name]) for name in night.lit}
    with _ahead(work.threads) as do:
        coming = {name: do(work.extracted, name, windows[name]) for name in night.lit}
        for name, extracted in coming.items():
            # Of what was extracted ahead, the stage takes what is still waited for.
            with night.clock.stage("extract"):
                spectra = extracted()
            yield work.flat_of(spectra, windows[name])


@contextlib.contextmanager
def _ahead(threads: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """Give what starts a function aside and returns what waits for it; of a single thread it waits to be asked."""
    if threads == 1:
        yield functools.partial
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="flatcore-extract")
    try:
        yield lambda work, *arguments: pool.submit(work, *arguments).result
    finally:
        pool.shutdown(cancel_futures=True)


Windows = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Work:
    """A fibre's work."""

    image: StraightImage
    night: Night
    files: Calibrations

    @property
    def threads(self) -> int:
        return self.night.request.threads or _core.threads()

    def windows_of(self, name: str, traces: NDArray[np.float64]) -> Windows:
        """Give the rows of each of a fibre's orders in the straight image."""
        columns = self.image.pixels.shape[1]
        moved = localisation.move_traces(traces, self.files.transform.linear, columns)
        return localisation.order_windows(localisation.straight_rows(moved, columns), self.night.profile.fibers[name])

    def extracted(self, name: str, windows: Windows) -> FiberSpectra:
        """Extract a fibre's orders."""
        image, night = self.image, self.night
        fiber = night.profile.fibers[name]
        return extract(
            name,
            image.pixels,
            image.profiles[fiber.localisation],
            windows,
            fiber,
            night.settings.extract,
            transform=self.files.transform,
            on_detector=OnDetector(image.calibrated.image, self.files.profiles[fiber.localisation]),
            readnoise_e=image.calibrated.readnoise_e,
            gain=night.profile.detector.gain,
            photon_variance=image.photon_variance,
        )

    def flat_of(self, spectra: FiberSpectra, windows: Windows) -> MeasuredFiber:
        """Find a fibre's blaze and make its flat."""
        night, columns = self.night, self.image.pixels.shape[1]
        with night.clock.stage("blaze"):
            fits = fit_orders(
                spectra.e2ds,
                night.profile.blaze,
                night.settings.blaze,
                self.threads,
                errors=spectra.e2ds_error,
                lost=spectra.coverage < LEAST_COVERAGE,
            )
        with night.clock.stage("flat"):
            saturated = columns_of(self.image.saturated, windows, columns)
            flat = make_flat(spectra, fits, night.settings.flat, saturated)
            return MeasuredFiber(spectra, flat, diagnose(spectra, flat, self.image.frames))
