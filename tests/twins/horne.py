"""Inverse-variance extraction of one order's rows (Horne 1986), in NumPy."""

import numpy as np

from tests.twins.extract import LEAST_VALID, MEDIAN_SCATTER
from tests.twins.quiet import quiet_nan

ITERATIONS = 3
BRIGHT_SHARE = 0.25
RESPONSE_SCATTER = 0.02
HALF_OF_NORMAL = 0.6744897501960817


LEAST_VARIANCE = 1e-4


@quiet_nan
def extract_order(
    pixels, profile, share=None, *, rows=None, threshold=10.0, readnoise=5.0, photon_variance=1.0, smoothing=1.0
):
    """Flux, variance, shares of the flux and kept pixels; `share` weighs each pixel, pixels by columns."""
    share = np.ones(pixels.shape) if share is None else share
    total = np.nansum(share * profile, axis=0)
    if rows is not None:
        total = total * (rows / np.sum(np.where(np.isnan(profile), 0, share), axis=0))
    profile = np.where(total > 0, profile / np.where(total > 0, total, 1), 1.0)
    profile = np.where(share > 0, profile, np.nan)
    bright = profile >= BRIGHT_SHARE * np.nanmax(profile, axis=0)
    flux = np.nanmedian(np.where(bright, pixels / profile, np.nan), axis=0)
    flux = np.where(np.isfinite(flux), flux, np.nanmedian(pixels / profile, axis=0))
    for _ in range(ITERATIONS):
        model = np.maximum(flux * profile, 0.0)
        expected = model * photon_variance + readnoise**2
        least = LEAST_VARIANCE * np.nanmax(expected, axis=0)
        variance = np.where(least > 0, np.maximum(expected, least), 1.0)
        spread = variance + (RESPONSE_SCATTER * model) ** 2
        distance = np.abs(pixels - flux * profile) / np.sqrt(spread)
        if threshold is None:
            kept = np.isfinite(distance)
        else:
            scale = np.nanmedian(distance, axis=0)
            limit = threshold * np.fmax(scale, HALF_OF_NORMAL)
            kept = distance < limit
        weight = np.where(kept, share * profile / variance, 0.0)
        norm = np.nansum(weight * profile, axis=0)
        stacked = np.where(kept, weight * pixels / norm, np.nan)
        flux = np.where(kept.any(axis=0), np.nansum(stacked, axis=0), np.nan)
    noise = np.nansum(weight**2 * expected * smoothing, axis=0) / norm**2
    if threshold is not None:
        valid = np.maximum((~np.isnan(distance)).sum(axis=0), LEAST_VALID)
        limit_variance = np.where(scale > HALF_OF_NORMAL, (MEDIAN_SCATTER * limit) ** 2 / valid, 0.0)
        position = (limit - distance) / np.sqrt(3 * (expected / spread + limit_variance))
        undecided = np.where(np.abs(position) < 1, (1 - position**2) / 4, 0.0)
        weight = share * profile / variance
        without = np.where(kept, norm - weight * profile, norm + weight * profile)
        change = np.where(without > 0, weight * (pixels - flux * profile) / without, 0.0)
        noise = noise + np.nansum(undecided * change**2, axis=0)
    return flux, np.where(kept.any(axis=0), noise, np.nan), stacked, kept
