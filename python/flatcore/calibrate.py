"""Third stage: from the combined raw image [ADU/s] to electrons, free of dark, background and bad pixels."""

from __future__ import annotations

import numpy as np

from flatcore import _core
from flatcore.images import BackgroundMaps, CalibratedImage, Exposure, Image, Mask
from flatcore.instrument import Background, Detector
from flatcore.settings import CalibrateSettings


def bounds_in_adu_per_s(exposure: Exposure) -> tuple[float, float]:
    """Give the least and the greatest value kept: -10 read noises and the saturation level, per frame time [ADU/s]."""
    low = -10.0 * exposure.readnoise_e * exposure.gain / exposure.frame_time_s
    return low, exposure.saturation_adu / exposure.frame_time_s


def calibrate(
    image: Image,
    exposure: Exposure,
    detector: Detector,
    background: Background,
    settings: CalibrateSettings,
    *,
    unlit: Mask,
    dark: Image | None = None,
    bad: Mask | None = None,
    keep_background: bool = True,
) -> CalibratedImage:
    """Do every calibration step that the settings ask for, in the order of the recipe.

    Bounds, dark, flip, units, crop, bad pixels, background, hot pixels, bounds again; then the effective read noise is
    measured on the unlit pixels.

    Parameters
    ----------
    image
        Raw rows by columns [ADU/s], float32; NaN for no value.
    exposure
        Numbers of the exposure.
    detector, background
        The instrument's profile.
    unlit
        Not 0 where a pixel gets no light, in the frame of the result, uint8.
    dark
        Raw rows by columns [ADU/s], float32; needed where ``settings.dark``.
    bad
        Not 0 where a pixel is bad, in the frame of the result, uint8; needed where ``settings.badpix``.
    keep_background
        Keep the images before and after the background is subtracted. Without them the steps work in the place of one
        image; the result is the same.

    Returns
    -------
    CalibratedImage
        In electrons.

    Raises
    ------
    ValueError
        An array has the wrong shape, or a calibration that the settings ask for is missing.
    """
    if settings.dark and dark is None:
        raise ValueError("settings.dark is true, but no dark was given")
    if settings.badpix and bad is None:
        raise ValueError("settings.badpix is true, but no bad-pixel map was given")
    bad = bad if settings.badpix else None
    low, high = bounds_in_adu_per_s(exposure)
    factor = exposure.electrons_per_unit
    flip = settings.flip or detector.flip
    rows, columns = (detector.rows, detector.columns) if settings.resize else ((0, image.shape[0]), (0, image.shape[1]))
    electrons = _core.to_electrons(
        image,
        (low, high) if settings.bounds else None,
        dark if settings.dark else None,
        flip in ("y", "both"),
        flip in ("x", "both"),
        factor,
        rows,
        columns,
        bad,
    )
    maps = None
    if settings.background and keep_background:
        maps = subtract_background(electrons, unlit, background, settings.background_passes)
        electrons = maps.corrected
    elif settings.background:
        passes = settings.background_passes
        _core.subtract_background_in_place(electrons, unlit, scatter_of(background), background.box, passes)
    bounds = (low * factor, high * factor) if settings.bounds else None
    if settings.hotpixels:
        known = bad if bad is not None else np.zeros(electrons.shape, np.uint8)
        if maps is None:
            _core.repair_hot_pixels_in_place(electrons, known, settings.hot_threshold, bounds)
        else:
            electrons = _core.repair_hot_pixels(electrons, known, settings.hot_threshold, bounds)
    elif bounds is not None:
        electrons = _core.apply_bounds(electrons, *bounds)
    saturated = _core.pixels_above(image, high, flip in ("y", "both"), flip in ("x", "both"), rows, columns)
    return CalibratedImage(electrons, _core.effective_readnoise(electrons, unlit), maps, saturated)


def scatter_of(background: Background) -> tuple[float, float, float, float] | None:
    """Amplitude and kernel (y, x, range in widths) of the scattered light; None where the profile has none."""
    if background.scattered_amplitude <= 0:
        return None
    return background.scattered_amplitude, background.kernel_y, background.kernel_x, background.kernel_sigma


def subtract_background(image: Image, unlit: Mask, background: Background, passes: int = 5) -> BackgroundMaps:
    """Measure the background on the unlit pixels and subtract its global map.

    The scattered light only cleans the pixels on which the global map is measured, as in the recipe in use.

    Parameters
    ----------
    image
        Rows by columns [electrons], float32; NaN for no value.
    unlit
        Not 0 where a pixel gets no light, uint8.
    background
        Box, scattered amplitude and kernel of the instrument.
    passes
        Times the global map is measured on what is left.

    Raises
    ------
    ValueError
        The box is not below the image's size, or the shapes differ.
    """
    scatter = scatter_of(background)
    corrected, cells = _core.subtract_background(image, unlit, scatter, background.box, passes)
    return BackgroundMaps(image, corrected, cells, scatter)
