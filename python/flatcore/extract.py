"""Fifth stage: extract the orders of a fibre, from the straightened image or along the curved traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.images import Image, Mask, Transform
from flatcore.instrument import Fiber
from flatcore.settings import ExtractSettings
from flatcore.spectra import FiberSpectra, Spectra

# Half the number of middle columns on which flux and signal to noise are measured.
HALF_MIDDLE = 50


@dataclass(frozen=True)
class OnDetector:
    """What is extracted without straightening: image [electrons] and order profile as they lie on the detector."""

    image: Image
    profile: Image


def extract(  # noqa: PLR0917 - six things go in, each of its own kind
    name: str,
    image: Image,
    profile: Image,
    windows: Sequence[tuple[int, int]],
    fiber: Fiber,
    settings: ExtractSettings,
    *,
    transform: Transform | None = None,
    on_detector: OnDetector | None = None,
    readnoise_e: float,
    gain: float,
    photon_variance: float = 1.0,
) -> FiberSpectra:
    """Extract a fibre's orders with rejection of outlying pixels.

    Per column, with s the pixels and f the profile divided by its sum, the flux is

    - optimal: the sum of s f over the sum of f^2, over the pixels whose distance from the scaled profile is below
      ``settings.rejection`` median distances;
    - horne: the sum of s f / v over the sum of f^2 / v, v the variance that flux times profile lets expect, iterated
      (Horne 1986, PASP 98, 609);
    - direct: the same with the pixels of the image that was not straightened, each shared out to the two straight
      columns it lies between.

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
        Of the straightening, which tells what lies off the detector and how noise was smoothed; None for an image that
        was not straightened.
    on_detector
        The same before straightening; needed by the method direct.
    readnoise_e
        Effective read noise of the image before straightening [electrons].
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
        The shapes differ, or what the method direct extracts is not given.
    """
    width = fiber.below + fiber.above
    threshold = settings.rejection if width > settings.narrow_window else None
    noise, windows = (readnoise_e, photon_variance), list(windows)
    moved = transform or unmoved(image.shape)
    mapping = (moved.linear, moved.dxmap, moved.dymap)
    bad, off_detector, coverage = _core.window_planes(image, profile, windows, *mapping)
    if settings.method == "direct":
        if on_detector is None:
            raise ValueError("method direct: the image and profile before straightening are missing")
        spectra, bad = _core.extract_direct(on_detector.image, on_detector.profile, windows, threshold, noise, *mapping)
        # A pixel of the detector has shares in many: a column with bad ones does not tell which others were rejected.
        outlying = _outlying(None, spectra[3], windows) & ~bad
    else:
        horne = settings.method == "horne"
        spectra = _core.extract_orders(image, profile, windows, threshold, horne, noise, *mapping)
        outlying = _outlying(image, spectra[3], windows)
    e2ds, variance, e2dsll, e2dscc, rejected = spectra
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
        outlying=outlying,
        off_detector=off_detector,
        coverage=coverage,
    )


def _outlying(image: Image | None, kept: Mask, windows: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Columns whose window holds a pixel that was not kept although it has a value; where no image is given, any."""
    found = np.zeros((len(windows), kept.shape[1]), bool)
    start = 0
    for i, (first, count) in enumerate(windows):
        left_out = kept[start : start + count] == 0
        if image is not None:
            seen = slice(max(-first, 0), max(min(count, image.shape[0] - first), 0))
            left_out = left_out[seen] & np.isfinite(image[first + seen.start : max(first + seen.stop, 0)])
        found[i] = left_out.any(axis=0)
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
