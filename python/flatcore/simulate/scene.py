"""What shines on the detector, before a frame is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from flatcore.simulate.layout import TRACE_DEGREE, Layout, lay_out, localisations
from flatcore.simulate.light import LitStrip, draw, light_up
from flatcore.simulate.options import SimulationOptions
from flatcore.simulate.streams import Stream, generator
from flatcore.simulate.transform import Array, Image, Transform, random_warp
from flatcore.simulate.truth import localise

BACKGROUND_SHARE = 0.0004
UNLIT_BELOW_SHARE = 1e-3


@dataclass(frozen=True)
class Scene:
    """The light of a night.

    Attributes
    ----------
    options
        What was asked for.
    strips
        All strips with their blazes, whether or not the lamp reaches their channel.
    transform
        The straightening transform.
    light
        Light of each localisation on the detector [electrons per pixel], as if the lamp reached it.
    centres
        Chebyshev coefficients of each localisation's traces, as in LOC.
    background
        Smooth unlit background [electrons per pixel].
    """

    options: SimulationOptions
    strips: tuple[LitStrip, ...]
    transform: Transform
    light: dict[str, Image]
    centres: dict[str, Array]
    background: Image

    def strips_of(self, localisation: str) -> tuple[LitStrip, ...]:
        """Give the strips of one localisation in the order of its LOC rows."""
        return tuple(one for one in self.strips if one.strip.localisation == localisation)

    def lit_strips(self) -> tuple[LitStrip, ...]:
        """Give the strips whose channel sees the lamp."""
        return tuple(one for one in self.strips if one.strip.channel in self.options.lit_channels)

    def lit_light(self) -> Image:
        """Give the light of the strips whose channel sees the lamp [electrons per pixel]."""
        total = np.zeros(self.transform.shape, dtype=np.float32)
        for name, fibers in localisations(self.options.profile).items():
            if fibers[0].channel in self.options.lit_channels:
                total += self.light[name]
        return total

    def falling_light(self) -> Image:
        """Give all that falls on the detector: lit strips, what they scatter, and the background [electrons per pixel].

        The scattered light is what the profile's background section describes: the light smoothed by its kernel and
        divided by its amplitude.
        """
        total = self.lit_light()
        model = self.options.profile.background
        if model.scattered_amplitude > 0:
            sigma = (model.kernel_y, model.kernel_x)
            smooth = ndimage.gaussian_filter(total, sigma, mode="constant", truncate=model.kernel_sigma)
            total += smooth / np.float32(model.scattered_amplitude)
        total += self.background
        return total

    def unlit(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Tell the pixels that no strip reaches."""
        brightness = sum(self.light.values(), np.zeros(self.transform.shape, dtype=np.float32))
        return np.asarray(brightness < UNLIT_BELOW_SHARE * float(brightness.max()))


def make_scene(options: SimulationOptions) -> Scene:
    """Lay the orders out, bend them and light them.

    Raises
    ------
    UsageError
        The orders do not fit on the detector, or the warp cannot be inverted.
    """
    profile = options.profile
    rng = generator(options.seed, Stream.GEOMETRY)
    layout = lay_out(profile, rng)
    transform = _slanted(_transform(layout, profile.detector.kept_shape, options.warp, rng), options.simulated.tilt)
    strips = light_up(layout, transform.shape[1], options.signal, generator(options.seed, Stream.BLAZE))
    displacement = transform.displacement()
    light, centres = {}, {}
    for name in localisations(profile):
        own = [one for one in strips if one.strip.localisation == name]
        light[name] = draw(own, transform, displacement)
        centres[name] = localise(own, transform, TRACE_DEGREE)
    return Scene(options, strips, transform, light, centres, _background(transform.shape, options.signal))


def _transform(layout: Layout, shape: tuple[int, int], warp: float, rng: np.random.Generator) -> Transform:
    linear, dx, bend = random_warp(rng, warp)
    dy = np.zeros(np.maximum(layout.curvature.shape, bend.shape))
    for part in (layout.curvature, bend):
        dy[: part.shape[0], : part.shape[1]] += part
    return Transform(shape, linear, dx, dy)


def _slanted(transform: Transform, tilt_degrees: float) -> Transform:
    """Turn the slit against the columns, about the middle row."""
    if tilt_degrees == 0:
        return transform
    slope = math.tan(math.radians(tilt_degrees))
    dx, dy, a, b, c, d = transform.linear
    return replace(transform, linear=(dx - slope * transform.shape[0] / 2, dy, a, b + slope, c, d))


def _background(shape: tuple[int, int], signal: float) -> Image:
    """Make a tilted plane with a broad bump [electrons per pixel]."""
    y, x = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])[None, :]
    bump = np.exp(-(((y - 0.6) / 0.4) ** 2)) * np.exp(-(((x - 0.4) / 0.5) ** 2))
    return np.asarray(BACKGROUND_SHARE * signal * (0.2 + 0.5 * y + 0.2 * x + 0.4 * bump), dtype=np.float32)
