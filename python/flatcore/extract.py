"""Fifth stage: extract the orders of a fibre from the straightened image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.images import Image, Mask, Transform
from flatcore.instrument import Fiber
from flatcore.settings import ExtractSettings
from flatcore.spectra import FiberSpectra, Spectra

# Half the number of middle columns on which flux and signal to noise are measured.
HALF_MIDDLE = 50


def extract(  # noqa: PLR0917 - six things go in, each of its own kind
    name: str,
    image: Image,
    profile: Image,
    windows: Sequence[tuple[int, int]],
    fiber: Fiber,
    settings: ExtractSettings,
    *,
    transform: Transform | None = None,
    readnoise_e: float,
    gain: float,
    photon_variance: float = 1.0,
) -> FiberSpectra:
    """Extract a fibre's orders with rejection of outlying pixels.

    Per column, with s the pixels and f the profile divided by its sum: the flux is the sum of s f over the sum of f^2,
    over the pixels whose distance from the scaled profile is below ``settings.rejection`` median distances.

    Parameters
    ----------
    image
        Straightened image [electrons], float32; NaN for no value.
    profile
        Straightened order profile, float32, of the image's shape.
    windows
        First row and number of rows of each order; rows off the detector have no value.
    fiber
        Half-widths of the extraction.
    transform
        Of the straightening, which tells what lies off the detector; None for an image that was not straightened.
    readnoise_e
        Effective read noise of the image [electrons].
    gain
        Electrons per ADU.
    photon_variance
        Variance of the image relative to one frame's.

    Returns
    -------
    FiberSpectra
        In electrons.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    width = fiber.below + fiber.above
    e2ds, variance, e2dsll, e2dscc, rejected = _core.extract_orders(
        image,
        profile,
        list(windows),
        settings.rejection if width > settings.narrow_window else None,
        settings.method == "horne",
        readnoise_e,
        photon_variance,
    )
    moved = transform or unmoved(image.shape)
    bad, off_detector, coverage = _core.window_planes(
        image, profile, list(windows), moved.linear, moved.dxmap, moved.dymap
    )
    flux = middle_flux(e2ds)
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = flux / np.sqrt(flux + readnoise_e**2 * width)
        level = flux / gain / width
    return FiberSpectra(
        fiber=name,
        e2ds=e2ds,
        e2ds_error=np.sqrt(variance),
        e2dsll=e2dsll,
        e2dscc=e2dscc,
        windows=tuple(windows),
        rejected=tuple(rejected),
        snr=snr,
        level_adu=level,
        saturated=level > settings.saturation_adu,
        readnoise_e=readnoise_e,
        bad=bad,
        outlying=_outlying(image, e2dscc, windows),
        off_detector=off_detector,
        coverage=coverage,
    )


def _outlying(image: Image, kept: Mask, windows: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Columns whose window holds a pixel with a value that was not kept."""
    found = np.zeros((len(windows), image.shape[1]), bool)
    start = 0
    for i, (first, count) in enumerate(windows):
        seen = range(max(first, 0), min(first + count, image.shape[0]))
        if seen:
            here = slice(seen.start, seen.stop)
            left_out = kept[start + seen.start - first : start + seen.stop - first] == 0
            found[i] = (left_out & np.isfinite(image[here])).any(axis=0)
        start += count
    return found


def unmoved(shape: tuple[int, ...]) -> Transform:
    """Give the transform that leaves an image of a shape as it is."""
    nothing = np.zeros(shape, np.float32)
    return Transform((0.0, 0.0, 1.0, 0.0, 0.0, 1.0), nothing, nothing)


def middle_flux(e2ds: Spectra) -> NDArray[np.float64]:
    """Mean flux of each order over the middle 100 columns, NaN counted as 0 [electrons]."""
    middle = e2ds.shape[1] // 2
    window = e2ds[:, max(middle - HALF_MIDDLE, 0) : middle + HALF_MIDDLE]
    total: NDArray[np.float64] = np.nansum(window, axis=1) / (2 * HALF_MIDDLE)
    return total
