"""What a perfect pipeline would find in a simulated night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from scipy import ndimage

from flatcore.instrument import Fiber
from flatcore.simulate.layout import members_of
from flatcore.simulate.light import LitStrip, draw, strip_light
from flatcore.simulate.transform import Array, Image, Transform

BAND_ROWS = 256


@dataclass(frozen=True)
class StraightTruth:
    """A frame's light in the straight frame.

    Attributes
    ----------
    transform
        The night's transform.
    light
        All light on a detector without pixel response [electrons per pixel].
    excess
        What the pixel response adds to it [electrons per pixel]; NaN off the detector.
    """

    transform: Transform
    light: Image
    excess: Image


@dataclass(frozen=True)
class FiberTruth:
    """Truth of one fibre; orders along the first axis.

    Attributes
    ----------
    blaze
        The fibre's light within its extraction window: E2DS of one frame on a detector without pixel response,
        background and bad pixels [electrons], up to one constant scale. NaN where the window is not wholly on the
        detector.
    response
        Profile-weighted mean of the pixel response over the window: the flat. NaN where no row of the window is on the
        detector.
    centre
        Chebyshev coefficients of the trace, as in LOC.
    row
        Straight row [pixels].
    parameters
        (A, P, L, Q, C, s) of the blaze before the window cuts the wings of the profile.
    """

    blaze: Array
    response: Array
    centre: Array
    row: Array
    parameters: Array


def localise(lit: Sequence[LitStrip], transform: Transform, degree: int) -> Array:
    """Fit the traces of strips on the detector: Chebyshev coefficients, domain [0, nx], traces along the first axis."""
    nx = transform.shape[1]
    traces = np.array([transform.trace(one.strip.row) for one in lit])
    return np.asarray(chebyshev.chebfit(2 * np.arange(nx) / nx - 1, traces.T, degree)).T


def straight_rows(centres: Array, transform: Transform) -> Array:
    """Rows of traces at the middle column after the linear part of the straightening, as the recipe moves them.

    Parameters
    ----------
    centres
        Chebyshev coefficients, traces along the first axis.
    transform
        The night's transform.
    """
    nx, degree = transform.shape[1], centres.shape[1] - 1
    dx, dy, a, b, c, d = transform.linear
    inverse = np.linalg.inv(np.array([[a, b], [c, d]]))
    x = np.arange(nx, dtype=float)
    rows = []
    for coefficients in centres:
        moved_x, moved_y = inverse @ np.array([x, chebyshev.chebval(2 * x / nx - 1, coefficients)])
        moved = chebyshev.chebfit(2 * (moved_x - dx) / nx - 1, moved_y - dy, degree)
        rows.append(float(chebyshev.chebval(2 * (nx // 2) / nx - 1, moved)))
    return np.array(rows)


def straight_truth(lit: Sequence[LitStrip], light: Image, response: Image, transform: Transform) -> StraightTruth:
    """Straighten a frame's light and what the pixel response adds to it.

    Straightening is linear and the light is known in the straight frame: only the small excess needs interpolating.

    Parameters
    ----------
    lit
        The strips that shine.
    light
        Their light on the detector [electrons per pixel].
    response
        Pixel response.
    transform
        The night's transform.
    """
    excess = ndimage.spline_filter(light * (response - 1), order=2, output=np.float64, mode="mirror")
    dx_map, dy_map = transform.maps()
    dx, dy, a, b, c, d = transform.linear
    x = np.arange(transform.shape[1])[None, :]
    straight = np.empty(transform.shape, dtype=np.float32)
    for start in range(0, transform.shape[0], BAND_ROWS):
        band = slice(start, start + BAND_ROWS)
        y = np.arange(transform.shape[0])[band, None]
        source = np.array([dy + c * x + d * y + dy_map[band], dx + a * x + b * y + dx_map[band]])
        straight[band] = ndimage.map_coordinates(excess, source, order=2, mode="constant", cval=np.nan, prefilter=False)
    return StraightTruth(transform, draw(lit, transform, None), straight)


def fiber_truth(fiber: Fiber, lit: Sequence[LitStrip], centres: Array, straight: StraightTruth) -> FiberTruth:
    """Work out the truth of one fibre.

    Parameters
    ----------
    fiber
        The fibre.
    lit
        The strips of its localisation.
    centres
        Their Chebyshev coefficients.
    straight
        The frame's light.
    """
    members = members_of(fiber)
    orders = sorted({one.strip.order for one in lit})
    chosen = [[i for i, one in enumerate(lit) if one.strip.order == o and one.strip.member in members] for o in orders]
    centre = np.array([centres[i].mean(axis=0) for i in chosen])
    row = straight_rows(centre, straight.transform)
    parameters = np.array([lit[i[0]].blaze for i in chosen])
    parameters[:, 0] = [sum(lit[k].blaze[0] for k in i) for i in chosen]
    found = [
        _order_truth([lit[i] for i in indices], round(r - fiber.below), round(r + fiber.above), straight)
        for indices, r in zip(chosen, row.tolist(), strict=True)
    ]
    blaze, response = (np.array(part) for part in zip(*found, strict=True))
    return FiberTruth(blaze, response, centre, row, parameters)


def _order_truth(own: Sequence[LitStrip], first: int, last: int, straight: StraightTruth) -> tuple[Array, Array]:
    """Blaze and response of the order made of the strips ``own``, extracted over the rows ``first`` to ``last``."""
    ny, nx = straight.transform.shape
    x = np.arange(nx, dtype=float)
    window = slice(max(first, 0), min(last + 1, ny))
    rows = np.arange(window.start, window.stop)[:, None]
    profile = np.sum([strip_light(one, x[None, :], rows - one.strip.row) for one in own], axis=0)
    light, excess = straight.light[window], straight.excess[window]
    seen = np.isfinite(excess)
    total = np.sum(profile * light, axis=0, where=seen)
    extra = np.sum(profile * excess, axis=0, where=seen)
    response = np.where(total > 0, 1 + extra / np.where(total > 0, total, 1), np.nan)
    whole = seen.sum(axis=0) == last + 1 - first
    return np.where(whole, profile.sum(axis=0), np.nan), response
