"""What the figures of one fibre show, gathered and checked once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.images import BackgroundMaps, Image
from flatcore.instrument import Fiber, Profile, Qc
from flatcore.previous import Previous
from flatcore.results import FiberChange, FiberDiagnostics, FiberQc, FrameCheck, ImageResult, NightResult
from flatcore.settings import FlatSettings, Settings
from flatcore.spectra import FiberFlat, FiberSpectra

log = logging.getLogger("flatcore")


@dataclass(frozen=True)
class FiberView:
    """One fibre of one image, with all that its figures need.

    Attributes
    ----------
    instrument, obs_dir, stem
        Names in titles and of files.
    before, after
        The image before and after straightening, rows by columns [electrons].
    traces
        Chebyshev coefficients of each order's trace in the image before straightening, domain [0, columns].
    geometry
        Half-widths of the extraction.
    spectra, flat, diagnostics, change, qc
        Results of the fibre.
    previous
        The earlier night that ``change`` is about; None without one.
    limits
        Where the flat was masked.
    asked
        Limits of quality control.
    grating
        Whether orders are predicted by the grating's form.
    plot_order
        The order shown alone.
    """

    instrument: str
    obs_dir: str
    stem: str
    before: Image
    after: Image
    traces: NDArray[np.float64]
    geometry: Fiber
    spectra: FiberSpectra
    flat: FiberFlat
    diagnostics: FiberDiagnostics
    change: FiberChange | None
    qc: FiberQc
    previous: Previous | None
    limits: FlatSettings
    asked: Qc
    grating: bool
    plot_order: int

    @property
    def fiber(self) -> str:
        """Name of the fibre."""
        return self.spectra.fiber

    @property
    def orders(self) -> range:
        """Indices of the orders."""
        return range(len(self.spectra.windows))

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.after.shape[1])

    def trace(self, order: int) -> NDArray[np.float64]:
        """Rows of an order's trace before straightening, at every column [pixels]."""
        x = np.arange(self.columns, dtype=float)
        return np.asarray(chebyshev.chebval(2 * x / self.columns - 1, self.traces[order]), dtype=float)

    def straight_row(self, order: int) -> float:
        """Row of the straightened order, from its window [pixels]; within half a pixel of the trace's."""
        first, count = self.spectra.windows[order]
        below, width = self.geometry.below, self.geometry.below + self.geometry.above
        return first + (count - 1) * (below / width if width else 0.5)

    def straight_edges(self, order: int) -> tuple[float, float]:
        """Lower and upper edge of the extracted rows after straightening [pixels]."""
        first, count = self.spectra.windows[order]
        return first - 0.5, first + count - 0.5

    def title(self, order: int | None = None) -> str:
        """Say what is shown: instrument, night, fibre, order."""
        shown = f"all {len(self.orders)} orders" if order is None else f"order {order}"
        return f"{self.instrument}  {self.obs_dir}  fibre {self.fiber}  {shown}"

    def subtitle(self, order: int | None = None) -> str:
        """Say how good it is: signal to noise, rms of the flat, verdict, and the products' stem."""
        if order is None:
            verdict = "pass" if self.qc.passed else "FAIL"
            return f"quality control {verdict}   {self.stem}"
        snr, rms = float(self.spectra.snr[order]), float(self.flat.rms[order])
        return (
            f"S/N {_number(snr, '.0f')}   rms of the flat {_number(rms, '.4f')}   "
            f"quality control {self.qc.orders[order]}   {self.stem}"
        )


@dataclass(frozen=True)
class ImageView:
    """One image with its fibres, and what its figures need.

    Attributes
    ----------
    instrument, obs_dir, stem
        Names in titles and of files.
    fibers
        The fibres.
    frames
        Each frame held to the combined image; empty for a single one.
    max_frame_change
        How far a frame may be from the combined image.
    background
        The maps; None where the background was not subtracted.
    readnoise_e
        Effective read noise [electrons].
    """

    instrument: str
    obs_dir: str
    stem: str
    fibers: tuple[FiberView, ...]
    frames: tuple[FrameCheck, ...]
    max_frame_change: float
    background: BackgroundMaps | None
    readnoise_e: float

    def title(self, shown: str) -> str:
        """Say what is shown: instrument, night, subject."""
        return f"{self.instrument}  {self.obs_dir}  {shown}"


def image_view(  # noqa: PLR0917 - what is gathered
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    settings: Settings | None = None,
    previous: Mapping[str, Previous] | None = None,
) -> ImageView:
    """Gather what the figures of an image and its fibres show; arguments and errors as of :func:`fiber_views`."""
    return ImageView(
        instrument=result.instrument,
        obs_dir=result.obs_dir,
        stem=image.stem,
        fibers=fiber_views(result, image, traces, profile, settings, previous),
        frames=image.frames,
        max_frame_change=profile.qc.max_frame_change,
        background=None if image.calibrated is None else image.calibrated.background,
        readnoise_e=image.readnoise_e,
    )


def image_views(
    result: NightResult, profile: Profile, settings: Settings, previous: Mapping[str, Mapping[str, Previous]]
) -> tuple[ImageView, ...]:
    """Gather what the figures of all images show; ``previous`` is by stem and fibre."""
    return tuple(
        image_view(result, image, result.traces, profile, settings, previous.get(image.stem)) for image in result.images
    )


def fiber_views(  # noqa: PLR0917 - what is gathered
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    settings: Settings | None = None,
    previous: Mapping[str, Previous] | None = None,
) -> tuple[FiberView, ...]:
    """Gather what the figures of each fibre show.

    Parameters
    ----------
    result
        The night.
    image
        One of its images, run with ``keep_images``.
    traces
        For each fibre the Chebyshev coefficients of its orders' traces, orders by terms, domain [0, columns]: the LOC
        file's, chosen by ``traces_of_fiber`` and not moved, since LOC is of the image before straightening.
    profile
        The instrument.
    settings
        As the flat was made with; the defaults where None.
    previous
        By fibre, the earlier night's flat and blaze, where there are such.

    Raises
    ------
    ValueError
        The images were not kept, or a fibre's traces are missing or not as many as its orders.
    """
    if image.calibrated is None or image.straightened is None:
        raise ValueError(f"{image.stem}: figures need the images, which run_night keeps with keep_images=True")
    settings = settings or Settings()
    views = []
    for name, fiber in image.fibers.items():
        orders = len(fiber.spectra.windows)
        if name not in traces or len(traces[name]) != orders:
            found = len(traces[name]) if name in traces else "no"
            raise ValueError(f"{image.stem}: {found} traces of fibre {name}, expected {orders}")
        if profile.plot.order >= orders:
            log.warning("plot.order = %d: fibre %s has orders 0 to %d", profile.plot.order, name, orders - 1)
        view = FiberView(
            instrument=result.instrument,
            obs_dir=result.obs_dir,
            stem=image.stem,
            before=image.calibrated.image,
            after=image.straightened,
            traces=np.asarray(traces[name], dtype=float),
            geometry=profile.fibers[name],
            spectra=fiber.spectra,
            flat=fiber.flat,
            diagnostics=fiber.diagnostics,
            change=fiber.change,
            qc=fiber.qc,
            previous=(previous or {}).get(name),
            limits=settings.flat,
            asked=profile.qc,
            grating=settings.blaze.prediction == "grating",
            plot_order=min(profile.plot.order, orders - 1),
        )
        views.append(view)
    return tuple(views)


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "none"
