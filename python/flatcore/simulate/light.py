"""The lamp's light: the blaze of every order, and its strip drawn in the straight frame or on the detector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from flatcore.simulate.layout import Layout, Strip
from flatcore.simulate.transform import Array, Image, Transform

Floats = NDArray[np.floating]

# Where a strip's profile falls below this share of its top it is not drawn.
FAINTEST = 1e-7


@dataclass(frozen=True)
class LitStrip:
    """A strip and the parameters (A, P, L, Q, C, s) of its blaze, in electrons per column of one frame."""

    strip: Strip
    blaze: tuple[float, ...]


def sinc2(x: Floats, parameters: Iterable[float]) -> Floats:
    """Blaze function A (sin t / t)^2 (1 + s d), t = 2 pi (d + Q d^2 + C d^3) / P, d = x - L.

    Parameters
    ----------
    x
        Columns [pixels].
    parameters
        A [electrons], P and L [pixels], Q, C and s [powers of 1/pixel].
    """
    amplitude, period, centre, quadratic, cubic, slope = parameters
    d = x - centre
    phase = (2 / period) * d * (1 + d * (quadratic + d * cubic))
    return np.asarray(amplitude * np.sinc(phase) ** 2 * (1 + slope * d))


def light_up(layout: Layout, nx: int, signal: float, rng: np.random.Generator) -> tuple[LitStrip, ...]:
    """Give every strip a blaze whose parameters vary smoothly from order to order.

    The two members of a pair are one blaze at two throughputs, so that their sum is such a blaze too.

    Parameters
    ----------
    layout
        The strips.
    nx
        Number of columns.
    signal
        Amplitude of the brightest strip [electrons per column].
    rng
        Source of the phases.
    """
    position = (np.arange(layout.orders) + 0.5) / layout.orders
    names = list(dict.fromkeys(strip.localisation for strip in layout.strips))
    parameters: dict[str, Array] = {}
    for name in names:

        def wave(size: float, turns: float = 1.0) -> Array:
            return size * np.sin(2 * np.pi * (turns * position + rng.uniform()))

        brightness = 1 - 0.5 * ((position - rng.uniform(0.5, 0.65)) / 0.6) ** 2
        throughput = 1.0 if name == names[0] else 0.9
        parameters[name] = np.stack(
            [
                throughput * brightness / brightness.max() * (1 + wave(0.03, 3.0)),
                nx * (1.7 + wave(0.22) + wave(0.06, 2.0)),
                nx * (0.5 + wave(0.025)),
                wave(0.016) / nx,
                wave(0.008) / nx**2,
                wave(0.06) / nx,
            ],
            axis=1,
        )
    brightest = max(float(table[:, 0].max()) for table in parameters.values())
    lit = []
    for strip in layout.strips:
        values = parameters[strip.localisation][strip.order].copy()
        pair_throughput = 1.0 if strip.member == 0 else 0.97 - 0.04 * position[strip.order]
        values[0] *= signal / brightest * pair_throughput
        lit.append(LitStrip(strip, tuple(values.tolist())))
    return tuple(lit)


def cross_profile(distance: Floats, width: Floats, sharpness: float) -> Floats:
    """Profile across an order: a super-Gaussian of FWHM ``width`` [pixels] whose integral is 1."""
    top = math.log(2) ** (1 / sharpness) / math.gamma(1 + 1 / sharpness)
    return np.asarray(np.exp(-math.log(2) * np.abs(2 * distance / width) ** sharpness) * (top / width))


def draw(lit: Iterable[LitStrip], transform: Transform, displacement: tuple[Image, Image] | None) -> Image:
    """Draw strips on an empty frame.

    Parameters
    ----------
    lit
        The strips.
    transform
        The night's transform.
    displacement
        Of `Transform.displacement`, to draw on the detector; None draws in the straight frame.

    Returns
    -------
    ndarray of float32
        Electrons per pixel. The transform moves values, as straightening does: there is no Jacobian.
    """
    ny, nx = transform.shape
    image = np.zeros((ny, nx), dtype=np.float32)
    columns = np.arange(nx)
    x = columns.astype(np.float32)[None, :]
    for one in lit:
        strip = one.strip
        middle = np.full(nx, strip.row) if displacement is None else transform.trace(strip.row)
        reach = _reach(strip, nx)
        first = np.floor(middle).astype(np.intp) - reach
        rows = first[None, :] + np.arange(2 * reach + 2)[:, None]
        on_detector = (rows >= 0) & (rows < ny)
        # Pixels off the detector are drawn at the nearest row and then dropped: the arrays stay rectangular.
        inside = np.clip(rows, 0, ny - 1)
        distance = (rows - strip.row).astype(np.float32)
        straight_x = x
        if displacement is not None:
            straight_x = x + displacement[0][inside, columns]
            distance += displacement[1][inside, columns]
        light = strip_light(one, straight_x, distance)
        image[inside[on_detector], np.broadcast_to(columns, rows.shape)[on_detector]] += light[on_detector]
    return image


def strip_light(one: LitStrip, x: Floats, distance: Floats) -> Floats:
    """Electrons per pixel of a strip at straight columns ``x``, ``distance`` rows from its middle."""
    width = polynomial.polyval(x, np.asarray(one.strip.width, dtype=x.dtype))
    return sinc2(x, one.blaze) * cross_profile(distance, width, one.strip.sharpness)


def _reach(strip: Strip, nx: int) -> int:
    """Rows from the middle of a strip to where it is too faint to draw."""
    widest = float(np.max(polynomial.polyval(np.linspace(0, nx - 1, 50), np.array(strip.width))))
    return int(np.ceil(widest / 2 * (-math.log2(FAINTEST)) ** (1 / strip.sharpness))) + 1
