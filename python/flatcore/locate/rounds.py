"""A round of following: strips straightened along their traces, compared block by block, and fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import ndimage

from flatcore.locate.extent import LIT_SIGMAS, column_snr, measure_extent
from flatcore.locate.fitting import Fits, fit_shifts, fit_traces
from flatcore.locate.following import Points, Profiles, coarse_shifts, mean_profiles, measure, straighten_strips
from flatcore.locate.settings import LocateSettings
from flatcore.locate.strips import NoiseLine

Array = NDArray[np.float64]

# Correlation of a block with its strip's profile from which on it tells a shift.
LEAST_ALIKE = 0.3
# A block is hit where it is so many times as bright as this many blocks around it.
HIT_RATIO, HIT_BLOCKS = 3.0, 11


@dataclass(frozen=True, eq=False)
class Followed:
    """Strips after a round of following, from low rows up.

    Attributes
    ----------
    coefficients, widths
        Chebyshev coefficients and width at half maximum of each trace.
    fits, profiles, means, points
        What they come from.
    snr
        Signal to noise per column, traces by blocks.
    """

    coefficients: Array
    widths: Array
    fits: Fits
    profiles: Profiles
    means: Array
    points: Points
    snr: Array

    @property
    def lit(self) -> NDArray[np.bool_]:
        """Blocks in which a strip is seen, traces by blocks."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.points.height > LIT_SIGMAS * self.points.height_error)

    def only(self, kept: NDArray[np.bool_]) -> Followed:
        """Leave strips out."""
        fits, profiles, points = self.fits, self.profiles, self.points
        planes = (points.shift, points.error, points.height, points.height_error, points.level)
        return Followed(
            self.coefficients[kept],
            self.widths[kept],
            Fits(fits.coefficients[kept], fits.used[kept], fits.rms[kept], fits.error[kept]),
            replace(profiles, values=profiles.values[kept], reach=profiles.reach[kept], alone=profiles.alone[kept]),
            self.means[kept],
            Points(*(plane[kept] for plane in planes)),
            self.snr[kept],
        )


def scaled_columns(columns: Array, shape: tuple[int, int]) -> Array:
    """Columns from -1 to 1, as LOC files have them."""
    return 2 * columns / shape[1] - 1


def _block(columns: int) -> int:
    """Columns of a block along which points are measured: some 200 points a trace."""
    return int(np.clip(round(columns / 256), 6, 32))


def follow(
    pixels: NDArray[np.float32],
    noise: NoiseLine,
    coefficients: Array,
    widths: Array,
    settings: LocateSettings,
    *,
    coarse: bool,
) -> Followed:
    """Follow strips from traces that are nearly right: first in whole pixels if asked, then exactly."""
    shape = pixels.shape
    columns = scaled_columns(np.arange(shape[1], dtype=np.float64), shape)
    order = np.argsort(chebyshev.chebval(0.0, coefficients.T))
    coefficients, widths = coefficients[order], widths[order]
    for is_coarse in (True, False) if coarse else (False,):
        rows = np.asarray(np.atleast_2d(chebyshev.chebval(columns, coefficients.T)), dtype=np.float64)
        profiles = straighten_strips(pixels, rows, widths, _block(shape[1]))
        scaled = scaled_columns(profiles.columns, shape)
        means = mean_profiles(profiles)
        if is_coarse:
            coefficients = coefficients + _coarse(profiles, means, scaled, settings)
            continue
        at = chebyshev.chebval(scaled, coefficients.T)
        points = measure(profiles, means, noise)
        extents = [measure_extent(profiles.offsets, mean, settings) for mean in means]
        centre = np.array([one.centre for one in extents])
        widths = np.array(
            [one.fwhm if np.isfinite(one.fwhm) else old for one, old in zip(extents, widths, strict=True)]
        )
        usable = (
            (points.height > LIT_SIGMAS * points.height_error)
            & (np.abs(points.shift) < np.maximum(0.6 * widths, 1.5)[:, None])
            & np.isfinite(centre)[:, None]
            & ~_hit(points.height)
        )
        moved = np.where(usable, at + points.shift + np.nan_to_num(centre)[:, None], np.nan)
        fits = fit_traces(scaled, moved, points.error, coefficients, settings.clip)
        coefficients = fits.coefficients
    snr = column_snr(profiles, means, points, noise)
    return Followed(coefficients, widths, fits, profiles, means, points, snr)


def _hit(height: Array) -> NDArray[np.bool_]:
    """Tell blocks that are far brighter than those around them: hot pixels and cosmic rays."""
    known = np.where(np.isfinite(height), np.maximum(height, 0.0), 0.0)
    around = ndimage.median_filter(known, size=(1, HIT_BLOCKS), mode="nearest")
    usual = np.median(known, axis=1, keepdims=True)
    return np.asarray(known > HIT_RATIO * np.maximum(around, 0.2 * usual))


def _coarse(profiles: Profiles, means: Array, scaled: Array, settings: LocateSettings) -> Array:
    """Corrections of traces, from whole-pixel shifts."""
    most = np.clip(np.minimum(-profiles.reach[:, 0], profiles.reach[:, 1]) * 0.8, 1, 12).astype(int)
    shifts, alike = coarse_shifts(profiles, means, most)
    # What is hardly alike is hardly known.
    errors = np.where(alike > LEAST_ALIKE, 0.5 / np.maximum(alike, LEAST_ALIKE) ** 3, np.nan)
    return fit_shifts(scaled, shifts, errors, settings.degree, settings.clip)
