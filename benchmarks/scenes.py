"""Random échelle images with known traces: what order tracing is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What an order must have to be asked for: signal to noise per column at its brightest, and columns with light.
LEAST_SNR, LEAST_COLUMNS, LIT_SNR = 10.0, 128, 3.0
# Rows by which an order may run over an edge and still be centred on the detector: its centre must be this far in, in
# widths at half maximum.
EDGE_WIDTHS = 1.0
LEAST_SPACING, LEAST_GAP = 12.0, 5.2
SUBPIXELS = np.array([-1 / 3, 0.0, 1 / 3])


@dataclass(frozen=True)
class Geometry:
    """What was drawn for an image; lengths in pixels.

    Attributes
    ----------
    spacing, gap
        Between orders, and the least between neighbouring traces.
    fwhm
        Of a trace across the dispersion.
    snr
        Of the brightest trace, per column.
    """

    seed: int
    shape: tuple[int, int]
    orders: int
    fibers: int
    spacing: float
    gap: float
    fwhm: float
    profile: str
    tilt: float
    sag: float
    snr: float
    background: float
    vignetting: float
    bad_columns: int


@dataclass(frozen=True)
class Scene:
    """An image and its truth.

    Attributes
    ----------
    image
        Rows by columns [electrons]; NaN for no value.
    centres
        Row of every trace at every column, from low rows up.
    snr
        Signal to noise of every trace at every column, 0 where its centre is off the detector.
    order, fiber
        Of every trace.
    """

    geometry: Geometry
    image: NDArray[np.float32]
    centres: NDArray[np.float64]
    snr: NDArray[np.float64]
    order: NDArray[np.int_]
    fiber: NDArray[np.int_]

    @property
    def lit(self) -> NDArray[np.bool_]:
        """Columns at which a trace has light to be seen by."""
        return self.snr >= LIT_SNR

    @property
    def peak_snr(self) -> NDArray[np.float64]:
        """Signal to noise of every trace at its brightest (the 95th percentile of its columns)."""
        return np.percentile(self.snr, 95, axis=1)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Traces that must be found."""
        return (self.snr.max(axis=1) >= LEAST_SNR) & (self.lit.sum(axis=1) >= LEAST_COLUMNS)


def draw_geometry(seed: int, largest: int = 2048) -> Geometry:
    """Draw the numbers of an image: orders 5 to 90, spacing 12 to 120, FWHM 2.5 to 30 where the spacing allows it."""
    rng = np.random.default_rng([seed, 1])
    rows, columns = (int(rng.integers(largest // 2, largest + 1)) for _ in range(2))
    while True:
        orders = round(float(np.exp(rng.uniform(np.log(5), np.log(90)))))
        most = min(120.0, 1.05 * rows / orders)
        if most > LEAST_SPACING:
            break
    spacing = float(np.exp(rng.uniform(np.log(LEAST_SPACING), np.log(most))))
    while True:
        fibers = int(rng.integers(1, 4))
        # A fibre's share of the spacing: the orders are further apart than the fibres in them.
        gap = spacing if fibers == 1 else spacing / (fibers + float(rng.uniform(0.25, 1.5)))
        if gap >= LEAST_GAP:
            break
    widest = min(30.0, gap / 2.05)
    fwhm = float(np.exp(rng.uniform(np.log(2.5), np.log(widest))))
    return Geometry(
        seed=seed,
        shape=(rows, columns),
        orders=orders,
        fibers=fibers,
        spacing=spacing,
        gap=gap,
        fwhm=fwhm,
        profile=str(rng.choice(["gaussian", "flat", "slicer"])),
        tilt=float(rng.uniform(-0.1, 0.1)),
        sag=float(rng.uniform(-0.03, 0.03)) * columns,
        snr=float(np.exp(rng.uniform(np.log(10), np.log(500)))),
        background=float(rng.choice([0.0, rng.uniform(0, 0.5)])),
        vignetting=float(rng.choice([0.0, rng.uniform(0.3, 1.0)])),
        bad_columns=int(rng.integers(0, 9)),
    )


def draw_scene(geometry: Geometry) -> Scene:
    """Draw an image."""
    rng = np.random.default_rng([geometry.seed, 2])
    rows, columns = geometry.shape
    u = np.linspace(-1, 1, columns)
    centres, order, fiber = _traces(geometry, u, rng)
    light, flux, width = _light(geometry, centres, order, fiber, u, rng)
    v = np.linspace(-1, 1, rows)[:, None]
    vignetting = 1 - geometry.vignetting * np.clip((v**2 + u**2 - 0.8) / 1.2, 0, 1)
    readnoise = float(rng.uniform(2, 10))
    # The extraction of a column with the profile as weights has the noise of a few pixels: 1 / sum of squares of them.
    noise_pixels = 1.5 * geometry.fwhm
    scale = _scale_for_snr(geometry.snr, readnoise, noise_pixels)
    light *= scale * vignetting
    peak = float(np.max(light))
    plane = 0.4 + rng.uniform(-0.2, 0.2) * v + rng.uniform(-0.2, 0.2) * u
    hump = np.exp(-2 * (v - rng.uniform(-1, 1)) ** 2) * np.exp(-2 * (u - rng.uniform(-1, 1)) ** 2)
    background = peak * geometry.background * (plane + 0.3 * hump)
    rows_of = np.clip(np.round(centres).astype(int), 0, rows - 1)
    at = vignetting[rows_of, np.arange(columns)[None, :]]
    signal = flux * scale * at
    below = background[rows_of, np.arange(columns)[None, :]]
    snr = signal / np.sqrt(signal + noise_pixels * (readnoise**2 + below))
    inside = (centres > EDGE_WIDTHS * width) & (centres < rows - 1 - EDGE_WIDTHS * width)
    image = rng.poisson(light + background) + rng.normal(0, readnoise, (rows, columns))
    image = _damage(image.astype(np.float32), geometry, peak, rng)
    broken = np.mean(np.isnan(image) | (image == 0), axis=0) > 0.5
    return Scene(geometry, image, centres, np.where(inside & ~broken, snr, 0.0), order, fiber)


def _traces(
    geometry: Geometry, u: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int_], NDArray[np.int_]]:
    """Rows of the traces; spacing, tilt and curvature change slowly from order to order."""
    rows = geometry.shape[0]
    change = rng.uniform(-0.3, 0.3)
    steps = geometry.spacing * (1 + change * np.linspace(-1, 1, geometry.orders))
    middle = np.cumsum(steps) - steps[0]
    room = rows - middle[-1]
    # Somewhere on the detector; where the orders fill it, the outermost run over the edges.
    middle += rng.uniform(0.1, 0.9) * room
    order = np.repeat(np.arange(geometry.orders), geometry.fibers)
    fiber = np.tile(np.arange(geometry.fibers), geometry.orders)
    shrink = (steps / geometry.spacing)[order]
    start = middle[order] + (fiber - (geometry.fibers - 1) / 2) * geometry.gap * shrink
    v = (start / rows * 2 - 1)[:, None]
    bend = geometry.sag * (1 + rng.uniform(-0.3, 0.3) * v)
    tilt = geometry.tilt * geometry.shape[1] / 2 * (1 + rng.uniform(-0.3, 0.3) * v)
    cubic = rng.uniform(-0.15, 0.15) * geometry.sag
    quartic = rng.uniform(-0.1, 0.1) * geometry.sag
    centres = start[:, None] + tilt * u + bend * (u**2 - 0.3) + cubic * (u**3 - 0.6 * u) + quartic * u**4
    return centres, order, fiber


def _light(  # noqa: PLR0917 - where the traces are, and what is drawn of them
    geometry: Geometry,
    centres: NDArray[np.float64],
    order: NDArray[np.int_],
    fiber: NDArray[np.int_],
    u: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Light of all traces for a brightest flux of 1 per column, the flux of each, and its width."""
    rows, columns = geometry.shape
    blaze_width, drift = rng.uniform(0.7, 1.6), rng.uniform(-0.3, 0.3)
    lamp = rng.uniform(0.2, 1.0)
    share = rng.uniform(0.6, 1.0, geometry.fibers)
    share /= share.max()
    across = np.linspace(-1, 1, geometry.orders)
    bright = 1 - (1 - lamp) * ((across - rng.uniform(-1, 1)) / 2) ** 2
    bright *= rng.uniform(0.9, 1.0, geometry.orders)
    if rng.random() < 0.15 and geometry.orders > 6:
        # An order without light in the middle shifts nothing.
        bright[int(rng.integers(2, geometry.orders - 2))] = 0.0
    flux = (bright[order] * share[fiber])[:, None] * np.sinc(
        (u[None, :] - drift * across[order][:, None]) / blaze_width
    ) ** 2
    width = geometry.fwhm * (1 + rng.uniform(-0.15, 0.15) * u[None, :]) * np.ones((len(order), 1))
    dips = rng.uniform(0.0, 0.25)
    light = np.zeros((rows, columns))
    column = np.arange(columns)
    reach = int(np.ceil(2.2 * width.max() + 3))
    for centre, amount, wide in zip(centres, flux, width, strict=True):
        first = np.round(centre).astype(int) - reach
        y = first + np.arange(2 * reach + 1)[:, None]
        values = np.mean([_profile(geometry.profile, (y + s - centre) / wide, dips) for s in SUBPIXELS], axis=0)
        values *= amount / np.maximum(values.sum(axis=0), 1e-12)
        seen = (y >= 0) & (y < rows)
        light[y[seen], np.broadcast_to(column, y.shape)[seen]] += values[seen]
    return light, flux, width


def _profile(kind: str, t: NDArray[np.float64], dips: float) -> NDArray[np.float64]:
    """Profile at distances in widths at half maximum."""
    if kind == "gaussian":
        return np.exp(-4 * np.log(2) * t**2)
    flat = np.exp(-np.log(2) * (2 * t) ** 6)
    if kind == "flat":
        return flat
    # Four slices side by side, with gaps between them that are not dark.
    return flat * (1 - dips * np.sin(3 * np.pi * (t + 0.5)) ** 4 * (np.abs(t) < 0.5))


def _scale_for_snr(snr: float, readnoise: float, pixels: float) -> float:
    """Electrons per column for a signal to noise above photon and read noise."""
    return float(0.5 * (snr**2 + np.sqrt(snr**4 + 4 * snr**2 * pixels * readnoise**2)))


def _damage(
    image: NDArray[np.float32], geometry: Geometry, peak: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add bad columns (dead, hot, without value), now and then a gap, hot pixels and cosmic rays."""
    rows, columns = geometry.shape
    level = float(np.nanpercentile(image, 99.9)) + 10 * peak
    for _ in range(geometry.bad_columns):
        first, width = int(rng.integers(0, columns - 6)), int(rng.integers(1, 6))
        image[:, first : first + width] = rng.choice([0.0, level, np.nan])
    if rng.random() < 0.2:
        first, width = int(rng.integers(0, columns - 40)), int(rng.integers(8, 40))
        image[:, first : first + width] = np.nan
    hot = rng.random(image.shape) < 5e-4
    image[hot] += level * rng.random(int(hot.sum())).astype(np.float32)
    for _ in range(int(rng.integers(0, 200))):
        y, x = int(rng.integers(0, rows)), int(rng.integers(0, columns))
        length, slope = int(rng.integers(1, 12)), rng.uniform(-1, 1)
        for step in range(length):
            row, column = round(y + slope * step), x + step
            if 0 <= row < rows and column < columns:
                image[row, column] += level * 0.5
    return image
