"""Bad pixels: each kind is found, and good pixels are left alone."""

import numpy as np
import pytest

from flatcore.bootstrap.badpixels import (
    Bad,
    Level,
    counts,
    expected_light,
    followed_light,
    response_bits,
    steady_bits,
)
from flatcore.bootstrap.settings import BadPixelSettings

SHAPE = (120, 200)
READNOISE = 8.0
SETTINGS = BadPixelSettings()


def lamp(scale=1.0, slope=0.0):
    """Light of narrow orders [electrons]."""
    y, x = np.indices(SHAPE)
    return scale * (40 + 5000 * np.exp(-0.5 * (((y - slope * x) % 20 - 10) / 2.0) ** 2))


def level(light, seed, frames=9):
    """Flats combined by their mean."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(light, np.sqrt((light + READNOISE**2) / frames))
    return Level(drawn.astype(np.float32), 1 / frames, READNOISE)


def found(one, others=()):
    light = expected_light(one.image, SETTINGS.half)
    return response_bits(
        one, light, SETTINGS, [(other, expected_light(other.image, SETTINGS.half)) for other in others]
    )


def test_dead_and_bright_pixels_are_found_and_no_others():
    light = lamp()
    light[30, 50] *= 0.2
    light[10, 120] *= 0.45
    light[70, 90] *= 1.8
    bits = found(level(light, 1))
    assert {(int(y), int(x)) for y, x in np.argwhere(bits & Bad.DEAD)} == {(30, 50), (10, 120)}
    assert {(int(y), int(x)) for y, x in np.argwhere(bits & Bad.BRIGHT)} == {(70, 90)}


def test_nothing_is_said_of_pixels_without_light():
    light = np.full(SHAPE, 3.0)
    light[40, 40] = 0.0
    assert not found(level(light, 2)).any()


def test_a_nonlinear_pixel_is_found_by_frames_of_two_levels():
    bright, faint = lamp(8.0), lamp(1.0)
    # It loses a fifth of what lies above 10000 electrons, and looks like its neighbours in neither.
    for y, x in ((30, 50), (71, 140)):
        bright[y, x] = 10_000 + 0.8 * (bright[y, x] - 10_000)
    assert not found(level(bright, 3)).any()
    bits = found(level(bright, 3), [level(faint, 4)])
    assert {(int(y), int(x)) for y, x in np.argwhere(bits & Bad.NONLINEAR)} == {(30, 50), (71, 140)}
    assert counts(bits)[Bad.NONLINEAR] == np.count_nonzero(bits) == 2


def test_a_lamp_of_another_colour_is_no_fault_of_the_pixels():
    x = np.arange(SHAPE[1])
    assert not found(level(lamp(4.0), 5), [level(lamp() * (0.5 + x / SHAPE[1]), 6)]).any()


def test_hot_pixels_rise_above_the_spread_and_matter():
    rng = np.random.default_rng(7)
    dark = rng.gamma(2.0, 0.004, SHAPE).astype(np.float32)
    dark[5, 6], dark[7, 8], dark[9, 10] = 2.0, 0.1, np.nan
    flats = level(lamp(), 8)
    bits = steady_bits(flats, expected_light(flats.image, 5), SETTINGS, dark=dark, exposure_e=60.0)
    # 0.1 ADU/s gives 6 electrons, less than the read noise.
    assert np.argwhere(bits & Bad.HOT).tolist() == [[5, 6]]
    assert np.argwhere(bits & Bad.NO_VALUE).tolist() == [[9, 10]]


def test_unstable_pixels_scatter_more_than_noise():
    light = lamp()
    flats = level(light, 9)
    scatter = (0.6745 * np.sqrt(light + READNOISE**2)).astype(np.float32)
    scatter[30, 40] *= 8
    scatter[50, 60] *= 4
    scatter[11, 12] = 0.3 * light[11, 12]
    bits = steady_bits(flats, expected_light(flats.image, 5), SETTINGS, scatter=scatter)
    assert {(int(y), int(x)) for y, x in np.argwhere(bits)} == {(30, 40), (11, 12)}
    assert set(np.unique(bits)) == {0, Bad.UNSTABLE}


def test_steep_narrow_orders_are_not_taken_for_bad_pixels():
    slope = 0.25
    light = lamp(slope=slope)
    light[61, 99] *= 0.1
    flats = level(light, 10)
    along_rows = expected_light(flats.image, SETTINGS.half)
    assert np.count_nonzero(response_bits(flats, along_rows, SETTINGS)) > 50
    dymap = np.zeros(SHAPE, np.float32) + np.float32(slope) * (np.arange(SHAPE[1], dtype=np.float32) - SHAPE[1] // 2)
    bits = response_bits(flats, followed_light(flats.image, flats, SETTINGS, along_rows, dymap), SETTINGS)
    assert bits[61, 99] == Bad.DEAD
    assert np.count_nonzero(bits[2:-2, 5:-5]) == 1


@pytest.mark.parametrize("kind", list(Bad))
def test_every_kind_has_words(kind):
    assert kind.words
    assert kind.title == kind.title.lower()
