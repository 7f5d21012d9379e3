"""What the figures of one fibre show, gathered and checked once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from flatcore.images import Image
from flatcore.instrument import Fiber, Profile
from flatcore.results import FiberQc, ImageResult, NightResult
from flatcore.settings import FlatSettings
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
    spectra, flat, qc
        Results of the fibre.
    limits
        Where the flat was masked.
    max_rms
        Largest rms of the flat that passes quality control.
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
    qc: FiberQc
    limits: FlatSettings
    max_rms: float
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


def fiber_views(
    result: NightResult,
    image: ImageResult,
    traces: Mapping[str, NDArray[np.float64]],
    profile: Profile,
    settings: FlatSettings | None = None,
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
        Limits by which the flat was masked; the defaults where None.

    Raises
    ------
    ValueError
        The images were not kept, or a fibre's traces are missing or not as many as its orders.
    """
    if image.calibrated is None or image.straightened is None:
        raise ValueError(f"{image.stem}: figures need the images, which run_night keeps with keep_images=True")
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
            qc=fiber.qc,
            limits=settings or FlatSettings(),
            max_rms=profile.qc.max_rms,
            plot_order=min(profile.plot.order, orders - 1),
        )
        views.append(view)
    return tuple(views)


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "none"
