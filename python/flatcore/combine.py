"""Second stage: many frames to one image."""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.errors import InputError
from flatcore.fitsio import FITS_SUFFIXES, FitsImage, Header
from flatcore.header import ascii_text, required, writable_header
from flatcore.images import CombinedImage, Exposure, Image
from flatcore.settings import CombineSettings

log = logging.getLogger("flatcore")


def combine_frames(
    frames: Sequence[NDArray[np.floating]],
    method: str = "median",
    clip_sigma: float = 5.0,
    electrons_per_unit: float = math.inf,
    readnoise: float = 0.0,
) -> Image:
    """Combine frames in memory, pixel by pixel; non-finite values are left out.

    Parameters
    ----------
    frames
        Images of one shape, rows by columns.
    method
        ``median``, ``mean``, or ``clipped``: the mean of the values within ``clip_sigma`` standard deviations of the
        median. The deviation is 1.4826 times the median absolute deviation, and no less than photon and read noise.
    electrons_per_unit, readnoise
        For the clipped mean: electrons per unit of the frames, and read noise in that unit.

    Returns
    -------
    ndarray of float32
        Rows by columns; NaN where no frame has a finite value.

    Raises
    ------
    ValueError
        No frames, different shapes, or an unknown method.
    """
    images = [np.ascontiguousarray(frame, dtype=np.float32) for frame in frames]
    return _core.combine_frames(images, method, clip_sigma, electrons_per_unit, readnoise)


def combine(frames: Sequence[FitsImage], exposure: Exposure, settings: CombineSettings) -> CombinedImage:
    """Combine a night's frames, read from their files by bands of rows so that memory does not grow with their number.

    Raises
    ------
    InputError
        A frame cannot be read.
    """
    sources = [frame.location.source() for frame in frames]
    electrons = exposure.electrons_per_unit
    try:
        image = _core.combine_files(
            sources, settings.method, settings.clip_sigma, electrons, exposure.readnoise_e / electrons
        )
    except OSError as error:
        raise InputError(str(error)) from error
    names = tuple(frame.path.name for frame in frames)
    header = combined_header(frames)
    return CombinedImage(
        image=image,
        header=header,
        stem=product_stem(names),
        inputs=names,
        mjd_mid=header["MJDMID"],
        exposure=exposure,
        photon_variance=relative_variance(settings.method, len(frames)),
    )


def combined_header(frames: Sequence[FitsImage]) -> Header:
    """Give the first frame's header with MJDMID and EXPTIME the mean, MJDEND the maximum, and the list of inputs."""
    header, dropped = writable_header(frames[0].header)
    if dropped:
        log.warning("%s: header keywords %s cannot be written and are left out", frames[0].path, ", ".join(dropped))

    def values(keyword: str) -> list[float]:
        return [required(frame.header, keyword, frame.path) for frame in frames]

    header["MJDMID"] = math.fsum(values("MJDMID")) / len(frames)
    header["EXPTIME"] = math.fsum(values("EXPTIME")) / len(frames)
    if all("MJDEND" in frame.header for frame in frames):
        header["MJDEND"] = max(values("MJDEND"))
    for keyword in set(header["INF1*"]):
        header.remove(keyword, remove_all=True)
    for i, frame in enumerate(sorted(frames, key=lambda f: f.path.name), start=1):
        header[f"INF1{i:03d}"] = (ascii_text(frame.path.name), f"input {i}")
    return header


def product_stem(names: Sequence[str]) -> str:
    """Name products by their inputs: a single frame's own stem, or 10 hex digits of the sorted base names.

    The digits are blake2b (digest size 5) of the names joined by one space, in upper case, followed by ``_pp``.
    """
    if len(names) == 1:
        name = names[0]
        return next((name.removesuffix(s) for s in FITS_SUFFIXES if name.endswith(s)), name)
    return hashlib.blake2b(" ".join(sorted(names)).encode(), digest_size=5).hexdigest().upper() + "_pp"


def relative_variance(method: str, count: int) -> float:
    """Variance of the combination of ``count`` equal normal values, relative to one value's variance.

    The median's is exact for small counts (by integration over its order statistics); the clipped mean is taken as the
    mean, of which it loses next to nothing without outliers.
    """
    return median_variance(count) if method == "median" else 1.0 / count


@functools.cache
def median_variance(count: int) -> float:
    """Variance of the median of ``count`` standard normal values.

    Odd counts integrate the density of the middle order statistic, even ones the joint density of the middle two; from
    100 on the asymptotic pi / (2 count + 4 - pi), or 6 - pi for even counts, is right to 1e-4.
    """
    if count == 1:
        return 1.0
    if count >= 100:
        return math.pi / (2 * count + (4 if count % 2 else 6) - math.pi)
    from scipy.special import log_ndtr  # noqa: PLC0415 - only for combined images

    # Ten deviations of the median each way: the middle two of many values lie so close that a wider grid blurs them.
    reach = min(8.0, 12.0 / math.sqrt(count))
    x = np.linspace(-reach, reach, 1601)
    half = (count - 1) // 2
    below, above = half * log_ndtr(x), half * log_ndtr(-x)
    if count % 2:
        density = np.exp(below + above - 0.5 * x**2)
        return float(np.sum(x**2 * density) / np.sum(density))
    lower, upper = np.exp(below - 0.5 * x**2), np.exp(above - 0.5 * x**2)
    # Sums over all pairs whose lower value is below the upper one; equal ones count half.
    moments = [np.cumsum(lower * x**k) - 0.5 * lower * x**k for k in range(3)]
    squares = (moments[2] + 2.0 * x * moments[1] + x**2 * moments[0]) / 4.0
    return float(np.sum(upper * squares) / np.sum(upper * moments[0]))
