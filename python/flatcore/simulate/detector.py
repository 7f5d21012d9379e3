"""The detector: pixel response, dark current, bad pixels, and the way from electrons to a raw frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flatcore.instrument import Detector, Simulated
from flatcore.simulate.streams import Stream, generator
from flatcore.simulate.transform import Image

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Pixel = TypeVar("Pixel", bound=np.generic)

SATURATION_ADU = 60_000.0
FRAME_TIME_S = 5.573

STRUCTURE_RESPONSE_RMS = 0.003
# Above this many electrons a Poisson number is drawn as a normal one.
NORMAL_ABOVE_ELECTRONS = 1000.0
BAND_ROWS = 256


@dataclass(frozen=True)
class BadPixels:
    """Faulty pixels of the kept frame.

    Attributes
    ----------
    bad
        What the BADPIX calibration says.
    response
        Share of the light they still see; 1 elsewhere.
    dark
        Their excess dark current [ADU/s].
    beyond_high, beyond_low
        Pixels above the upper and below the lower bound of calibration; half of them are not in ``bad``.
    """

    bad: Mask
    response: Image
    dark: Image
    beyond_high: Mask
    beyond_low: Mask


@dataclass(frozen=True)
class Pixels:
    """What is particular to every pixel.

    Attributes
    ----------
    response
        Relative response of the kept pixels, faults left out.
    faults
        Bad pixels of the kept frame.
    dark
        Dark current of the raw frame, hot pixels included [ADU/s].
    """

    response: Image
    faults: BadPixels
    dark: Image


def make_pixels(detector: Detector, simulated: Simulated, bad_fraction: float, seed: int) -> Pixels:
    """Draw the pixels of a detector, each property from a stream of its own; gaps between its parts are bad."""
    kept = detector.kept_shape
    response = pixel_response(kept, simulated.response, generator(seed, Stream.PIXEL_RESPONSE))
    faults = bad_pixels(kept, bad_fraction, generator(seed, Stream.BAD_PIXELS))
    dark = dark_current(detector.shape, simulated.dark, generator(seed, Stream.DARK))
    faults.bad[...] |= kept_part(gaps(detector), detector)
    kept_part(dark, detector)[...] += faults.dark
    return Pixels(response, faults, dark)


def gaps(detector: Detector) -> Mask:
    """Tell the pixels of the raw frame that belong to no amplifier."""
    mosaic = np.full(detector.mosaic_shape, bool(detector.amplifiers))
    for amplifier in detector.amplifiers:
        (top, bottom), (left, right) = amplifier.placed
        mosaic[top:bottom, left:right] = False
    return mosaic if detector.dispersion == "rows" else mosaic.T


def pixel_response(shape: tuple[int, int], white_rms: float, rng: np.random.Generator) -> Image:
    """Relative response of every pixel: white, and a little structure of some tens of pixels."""
    response = rng.standard_normal(shape, dtype=np.float32)
    response *= white_rms
    response += 1
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    waves = 4
    size = STRUCTURE_RESPONSE_RMS * np.sqrt(2 / waves)
    for _ in range(waves):
        period_y, period_x = rng.uniform(15, 60, 2)
        phase_y, phase_x = 2 * np.pi * (y / period_y + rng.uniform()), 2 * np.pi * (x / period_x)
        response += (size * np.sin(phase_y)).astype(np.float32) * np.cos(phase_x).astype(np.float32)
        response += (size * np.cos(phase_y)).astype(np.float32) * np.sin(phase_x).astype(np.float32)
    return response


def dark_current(shape: tuple[int, int], mean: float, rng: np.random.Generator) -> Image:
    """Dark current of the raw frame [ADU/s]."""
    dark = rng.standard_gamma(2.0, shape, dtype=np.float32)
    dark *= mean / 2
    return dark


def bad_pixels(shape: tuple[int, int], fraction: float, rng: np.random.Generator) -> BadPixels:
    """Scatter dead and hot pixels: most alone, some in clusters, a few on the edges.

    Parameters
    ----------
    shape
        Rows and columns of the kept frame.
    fraction
        Share of the pixels that are bad.
    rng
        Source of the random numbers.
    """
    wanted = round(fraction * shape[0] * shape[1])
    bad = np.zeros(shape, dtype=bool)
    alone, seeds, edges = round(0.65 * wanted), round(0.3 * wanted / 7), round(0.03 * wanted)
    bad[_spots(shape, seeds, rng)] = True
    bad = ndimage.binary_dilation(bad) if seeds else bad
    # Clusters are ragged: some of the pixels around a dilated seed are good after all, and some further ones are not.
    fringe = ndimage.binary_dilation(bad) & (rng.random(shape, dtype=np.float32) < 0.15) if seeds else bad
    bad = (bad & (rng.random(shape, dtype=np.float32) < 0.8)) | fringe
    bad[_spots(shape, alone, rng)] = True
    y, x = _spots(shape, edges, rng)
    side = rng.integers(0, 4, edges)
    bad[
        np.select([side == 0, side == 1], [0, shape[0] - 1], y),
        np.select([side == 2, side == 3], [0, shape[1] - 1], x),
    ] = True
    response, dark = np.ones(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    count = int(bad.sum())
    is_hot = rng.random(count) < 0.5
    response[bad] = np.where(is_hot, 1.0, rng.uniform(0, 0.3, count))
    dark[bad] = np.where(is_hot, 10 ** rng.uniform(0.3, 2.3, count), 0.0)
    wild = max(2, round(0.02 * count)) if count else 0
    high, low = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for mask in (high, low):
        mask[_spots(shape, wild // 2, rng)] = True
        known = np.argwhere(bad)[rng.integers(0, count, wild // 2)] if count else np.empty((0, 2), dtype=int)
        mask[known[:, 0], known[:, 1]] = True
    return BadPixels(bad, response, dark, high, low & ~high)


def cosmic_rays(
    shape: tuple[int, int], hits_per_megapixel: float, rng: np.random.Generator
) -> tuple[Indices, Indices, Image]:
    """Give the pixels that cosmic rays hit in one frame, and the electrons they leave.

    Returns
    -------
    rows, columns, electrons : ndarray
        One entry per pixel touched; a pixel may come twice.
    """
    hits = int(rng.poisson(hits_per_megapixel * shape[0] * shape[1] / 1e6))
    y, x = rng.uniform(0, shape[0], hits), rng.uniform(0, shape[1], hits)
    length = np.minimum(1 + rng.geometric(0.4, hits), 12)
    angle = rng.uniform(0, 2 * np.pi, hits)
    energy = rng.lognormal(np.log(1500), 0.9, hits)
    steps = np.arange(12)
    rows = np.floor(y[:, None] + steps * np.sin(angle)[:, None]).astype(np.intp)
    columns = np.floor(x[:, None] + steps * np.cos(angle)[:, None]).astype(np.intp)
    touched = (steps < length[:, None]) & (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    electrons = np.broadcast_to(energy[:, None], rows.shape)
    return rows[touched], columns[touched], electrons[touched].astype(np.float32)


def expose(mean: Image, readnoise_e: float, rng: np.random.Generator) -> Image:
    """Draw one noisy frame.

    Parameters
    ----------
    mean
        Expected electrons per pixel, none negative.
    readnoise_e
        Read noise [electrons].
    rng
        The frame's own generator.

    Returns
    -------
    ndarray of float32
        Electrons with photon and read noise.
    """
    frame = np.empty_like(mean)
    for start in range(0, mean.shape[0], BAND_ROWS):
        band = mean[start : start + BAND_ROWS]
        noisy = rng.standard_normal(band.shape, dtype=np.float32)
        faint = band <= NORMAL_ABOVE_ELECTRONS
        noisy *= np.sqrt(np.where(faint, 0, band) + np.float32(readnoise_e**2))
        noisy[~faint] += band[~faint]
        noisy[faint] += rng.poisson(band[faint])
        frame[start : start + BAND_ROWS] = noisy
    return frame


def expected_electrons(light: Image | None, pixels: Pixels, detector: Detector, exptime_s: float) -> Image:
    """Give the expected electrons of a raw frame from the light on its kept part [both electrons per pixel].

    None is no light: a dark frame.
    """
    raw = pixels.dark * np.float32(detector.gain * exptime_s)
    if light is not None:
        kept_part(raw, detector)[...] += light * pixels.response * pixels.faults.response
    return raw


def kept_part(raw: NDArray[Pixel], detector: Detector) -> NDArray[Pixel]:
    """Give the kept rows and columns of a raw frame, in the orientation of the calibrations: a view."""
    flip_y, flip_x = detector.flip in ("y", "both"), detector.flip in ("x", "both")
    turned = raw[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return turned[slice(*detector.rows), slice(*detector.columns)]


def _spots(shape: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    return rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)
