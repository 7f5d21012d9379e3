"""What must not change where traces are found: units, level, and the way up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scenes import draw_scene
from flatcore.locate import LocateSettings, locate
from tests.unit.test_locate import PLAIN

few = settings(max_examples=6, deadline=None)
# Blocks of columns fall elsewhere in an image that is turned round: other noise, within errors.
NEAR, BRIGHT = 0.12, 20.0
SETTINGS = LocateSettings(fibers=2)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(replace(PLAIN, shape=(320, 512), fibers=2, gap=14.0, fwhm=4.5, orders=7, bad_columns=3))


@pytest.fixture(scope="module")
def rows(scene):
    return locate(scene.image, SETTINGS).rows()


def held(scene, found, rows):
    """The same traces where there is light enough to measure them."""
    assert found.shape == rows.shape
    away = np.where(scene.snr > BRIGHT, found - rows, 0.0)
    assert np.abs(away).max() < NEAR


@few
@given(gain=st.floats(1e-3, 1e3), level=st.floats(-500, 500))
def test_unit_and_level(scene, rows, gain, level):
    # Dead columns are told by their zeros: they stay what they are, relative to the rest.
    image = ((scene.image + np.float32(level)) * np.float32(gain)).astype(np.float32)
    held(scene, locate(image, SETTINGS).rows(), rows)


def test_upside_down(scene, rows):
    found = locate(np.ascontiguousarray(scene.image[::-1]), SETTINGS).rows()
    held(scene, scene.image.shape[0] - 1 - found[::-1], rows)


def test_left_to_right(scene, rows):
    found = locate(np.ascontiguousarray(scene.image[:, ::-1]), SETTINGS).rows()
    held(scene, found[:, ::-1], rows)


@few
@given(shift=st.integers(1, 12))
def test_moved(scene, rows, shift):
    found = locate(np.roll(scene.image, shift, axis=0), SETTINGS).rows()
    held(scene, found - shift, rows)
