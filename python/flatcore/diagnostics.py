"""Beside the seventh stage: how good each order is, in figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.results import FiberDiagnostics
from flatcore.spectra import FiberFlat, FiberSpectra, Rung

# Noise is measured where the blaze is above this share of its maximum.
BRIGHT = 0.5
# Fringes between these periods: two pixels to the wave at least twice, and twenty waves to the order [pixels, share].
SHORTEST_PERIOD, LONGEST_PERIOD = 4.0, 1 / 20

# Terms that were fitted to the order itself; of the model of all orders at most these, a spline's are few beside its
# columns.
FITTED_TERMS = {
    Rung.GLOBAL: 6,
    Rung.FULL: 6,
    Rung.NO_CUBIC: 5,
    Rung.NO_QUADRATIC: 4,
    Rung.PREDICTED: 2,
    Rung.SPLINE: 0,
    Rung.NONE: 0,
}


def diagnose(spectra: FiberSpectra, flat: FiberFlat, frames: int) -> FiberDiagnostics:
    """Measure chi^2, residual, noise against the photon limit, and fringes of each order.

    Parameters
    ----------
    spectra, flat
        The fibre's orders.
    frames
        Number of frames combined.
    """
    rows = [_order(spectra, flat, i, frames) for i in range(len(flat.fits))]
    columns = np.array(rows, dtype=float).reshape(len(rows), 8).T
    return FiberDiagnostics(*columns)


def _order(spectra: FiberSpectra, flat: FiberFlat, order: int, frames: int) -> tuple[float, ...]:
    fit, values, blaze = flat.fits[order], flat.flat[order], flat.blaze[order]
    usable = np.isfinite(values)
    chi2, residual = np.nan, np.nan
    used = usable & fit.fitted
    free = FITTED_TERMS[fit.rung]
    if np.count_nonzero(used) > free:
        distance = (flat.e2ds[order] - blaze)[used]
        with np.errstate(divide="ignore", invalid="ignore"):
            chi2 = float(np.sum(np.square(distance / spectra.e2ds_error[order][used])) / (used.sum() - free))
        residual = float(np.sqrt(np.mean(np.square(distance))) / np.nanmax(blaze))
    with np.errstate(invalid="ignore"):
        bright = usable & (blaze > BRIGHT * (np.nanmax(blaze) if usable.any() else np.nan))
    scatter = pixel_scatter(np.where(bright, values, np.nan))
    measured = 1.0 / scatter if scatter > 0 else np.nan
    photon = float(1.0 / np.sqrt(np.mean(1.0 / (frames * blaze[bright])))) if bright.any() else np.nan
    amplitude, period, chance = fringe(values - 1.0)
    return chi2, residual, measured, photon, measured / photon, amplitude, period, chance


def pixel_scatter(values: NDArray[np.float64]) -> float:
    """Robust scatter from pixel to pixel, from second differences, which slopes and slow waves do not change."""
    difference = values[:-2] - 2.0 * values[1:-1] + values[2:]
    finite = difference[np.isfinite(difference)]
    return float(_core.robust_sigma(finite)) / np.sqrt(6.0) if finite.size > 2 else np.nan


def fringe(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Find the strongest wave of a flat: its amplitude, its period [pixels], and the chance of noise making it.

    The periodogram is that of Scargle (1982, ApJ 263, 835) for even spacing: a Fourier transform with missing values
    left out, and a false-alarm probability 1 - (1 - exp(-z))^M for the strongest of M independent frequencies.

    Parameters
    ----------
    values
        Flat less 1; NaN for no value.
    """
    usable = np.isfinite(values)
    count, size = int(usable.sum()), values.size
    longest = LONGEST_PERIOD * size
    if count < size / 4 or longest <= SHORTEST_PERIOD:
        return np.nan, np.nan, np.nan
    wave = np.where(usable, values, 0.0)
    wave[usable] -= wave[usable].mean()
    padded = 2 * size
    amplitudes = 2.0 * np.abs(np.fft.rfft(wave, padded)) / count
    frequencies = np.arange(amplitudes.size) / padded
    asked = (frequencies >= 1 / longest) & (frequencies <= 1 / SHORTEST_PERIOD)
    if not asked.any():
        return np.nan, np.nan, np.nan
    best = int(np.argmax(np.where(asked, amplitudes, -1.0)))
    variance = float(np.mean(np.square(wave[usable])))
    if not variance > 0:
        return 0.0, np.nan, 1.0
    power = count * amplitudes[best] ** 2 / (4.0 * variance)
    chance = -np.expm1(asked.sum() / 2 * np.log1p(-np.exp(-power)))
    return float(amplitudes[best]), float(1.0 / frequencies[best]), float(chance)
