"""Noise, errors and bias of one fibre's orders, extracted in one way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from benchmarks.truth.nights import Array, Pair, Stage, blaze_of, flat_of, spectra_of

# What varies more slowly than this is the blaze's affair [pixels].
SLOW_PIXELS = 101
# Columns whose mean is taken to see noise that neighbours share.
BIN_PIXELS = 8
# An order of fewer columns says nothing.
LEAST_COLUMNS = 200


@dataclass(frozen=True)
class FiberFigures:
    """Figures of one fibre of one night.

    Attributes
    ----------
    noise, binned_noise
        By order: scatter of the flat about the noiseless one in units of the photon limit, by columns and by means over
        8 of them, in which noise that neighbours share does not hide.
    pulls
        By column: deviation of E2DS from the noiseless one over its error.
    flat_bias
        By order: scatter of the noiseless flat about the pixel response that was put in, each pixel weighed as this way
        of extracting weighs it.
    response_bias
        The same about the response of the truth file, whose weights are the profile.
    blaze_bias
        By order: rms deviation of the noiseless blaze from the blaze of the light alone under the same pixel response,
        level included, up to one scale for the fibre.
    put_in_bias
        By order: rms deviation of the noiseless blaze from the one that was put in, up to one scale for the order. What
        the pixels' response does to a smooth blaze is in it.
    """

    combining: str
    extracting: str
    fiber: str
    noise: Array
    binned_noise: Array
    pulls: Array
    flat_bias: Array
    response_bias: Array
    blaze_bias: Array
    put_in_bias: Array


def figures_of(pair: Pair, combining: str, extracting: str) -> Iterator[FiberFigures]:
    """Measure every fibre of a pair of nights."""
    noisy, quiet, geometry = pair.noisy[combining], pair.quiet[combining], pair.geometry
    frames = int(pair.truth["n_flats"])
    for fiber in geometry.windows:

        def spectra(stage: Stage, fiber: str = fiber, **settings: float):
            return spectra_of(stage, geometry, fiber, noisy, method=extracting, **settings)

        found, twin = spectra(noisy), spectra(quiet)
        # Light alone: nothing of it is an outlier.
        lit, even = (spectra(stage, rejection=1e9) for stage in (pair.lit, pair.even))
        response = pair.truth[f"response_{fiber}"]
        flat, quiet_flat = flat_of(found, geometry), flat_of(twin, geometry)
        limit = np.sqrt(frames * electrons_in(quiet, geometry.windows[fiber]))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            excess = (flat.flat / quiet_flat.flat - 1) * limit
            pulls = (found.e2ds - twin.e2ds) / found.e2ds_error
            blaze = quiet_flat.blaze / blaze_of(lit, geometry)
            blaze /= np.nanmedian(blaze)
            put_in = quiet_flat.blaze / pair.truth[f"blaze_{fiber}"]
            put_in /= np.nanmedian(put_in, axis=1)[:, None]
        yield FiberFigures(
            combining=combining,
            extracting=extracting,
            fiber=fiber,
            noise=_by_order(excess, _fast_scatter),
            binned_noise=_by_order(excess, _binned_scatter),
            pulls=pulls[np.isfinite(pulls)],
            flat_bias=_by_order(
                quiet_flat.flat / (response if extracting == "optimal" else lit.e2ds / even.e2ds), _fast_scatter
            ),
            response_bias=_by_order(quiet_flat.flat / response, _fast_scatter),
            blaze_bias=_by_order(blaze, _rms_deviation),
            put_in_bias=_by_order(put_in, _rms_deviation),
        )


def electrons_in(stage: Stage, windows: tuple[tuple[int, int], ...]) -> Array:
    """All electrons of a frame in the windows, orders by columns."""
    rows = stage.straight.shape[0]
    sums = [np.nansum(stage.straight[max(first, 0) : min(first + count, rows)], axis=0) for first, count in windows]
    return np.maximum(np.array(sums, float), 0.0)


def robust_sigma(values: Array) -> float:
    """Half the range of the middle 68.27 %."""
    low, high = np.percentile(values, [15.865, 84.135])
    return float(high - low) / 2


def _by_order(plane: Array, figure) -> Array:
    rows = [row[np.isfinite(row)] for row in plane]
    return np.array([figure(row) for row in rows if row.size >= LEAST_COLUMNS])


def _rms_deviation(row: Array) -> float:
    return float(np.sqrt(np.mean((row - 1) ** 2)))


def _fast(row: Array) -> Array:
    return row - ndimage.uniform_filter1d(row, SLOW_PIXELS, mode="nearest")


def _fast_scatter(row: Array) -> float:
    return robust_sigma(_fast(row))


def _binned_scatter(row: Array) -> float:
    fast = _fast(row)
    whole = fast[: fast.size // BIN_PIXELS * BIN_PIXELS].reshape(-1, BIN_PIXELS)
    return robust_sigma(whole.mean(axis=1)) * float(np.sqrt(BIN_PIXELS))
