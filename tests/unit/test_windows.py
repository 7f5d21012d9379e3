"""What a column's window lacks: pixels without value, pixels off the detector, and the light that is lost with them."""

import numpy as np
import pytest

from flatcore import _core, run_night
from flatcore.extract import extract
from flatcore.images import Transform
from flatcore.instrument import Fiber
from flatcore.settings import ExtractSettings
from tests.twins import windows as twin

SHAPE = (40, 300)
IDENTITY = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
FIBER = Fiber(channel=0, localisation="A", below=4, above=4)


def scene():
    """An order along row 20 and one along row 3, of triangular profile."""
    y = np.arange(SHAPE[0])[:, None]
    profile = sum(np.maximum(5.0 - abs(y - row), 0) for row in (20, 3)) * np.ones(SHAPE)
    return (1000 * profile + y % 2).astype(np.float32), profile.astype(np.float32)


def planes(image, profile, windows, linear=IDENTITY, dymap=None, dxmap=None):
    maps = [np.zeros(SHAPE, np.float32) if given is None else given for given in (dxmap, dymap)]
    transform = Transform(linear, *maps)
    found = extract(
        "A", image, profile, windows, FIBER, ExtractSettings(), transform=transform, readnoise_e=5.0, gain=1.0
    )
    return found.bad, found.off_detector, found.coverage


def test_a_whole_window_lacks_nothing():
    bad, off, coverage = planes(*scene(), [(16, 9)])
    assert not bad.any() and not off.any()
    assert (coverage == 1).all()


def test_a_pixel_without_value_on_the_detector_is_bad():
    image, profile = scene()
    image[18, 77] = np.nan
    image[30, 90] = np.nan
    bad, off, coverage = planes(image, profile, [(16, 9)])
    assert np.flatnonzero(bad[0]).tolist() == [77]
    assert not off.any() and (coverage == 1).all()


def test_columns_beyond_the_edge_are_off_and_not_bad():
    image, profile = scene()
    image[:, :3] = np.nan
    bad, off, coverage = planes(image, profile, [(16, 9)], (-2.5, 0.0, 1.0, 0.0, 0.0, 1.0))
    assert np.flatnonzero(off[0]).tolist() == [0, 1, 2]
    assert not bad.any()
    assert coverage[0, :4].tolist() == [0, 0, 0, 1]


def test_a_curved_order_leaves_the_detector_row_by_row():
    image, profile = scene()
    dymap = np.zeros(SHAPE, np.float32)
    dymap[:, 200:] = -1.0
    dymap[:, 250:] = -3.5
    _, off, coverage = planes(image, profile, [(0, 8), (16, 9)], dymap=dymap)
    assert np.flatnonzero(off[0]).tolist() == list(range(200, 300))
    assert not off[1].any()
    shares = np.array([2, 3, 4, 5, 4, 3, 2, 1]) / 24
    np.testing.assert_allclose(coverage[0, [199, 200, 250]], [1, shares[1:].sum(), shares[4:].sum()])


def test_rows_off_the_straight_image_are_off_in_every_column():
    _, off, coverage = planes(*scene(), [(-1, 9), (60, 9)])
    assert off.all()
    np.testing.assert_allclose(coverage[0], 1.0)
    assert (coverage[1] == 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_are_the_twins(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, SHAPE).astype(np.float32)
    image[rng.random(SHAPE) < 0.01] = np.nan
    profile = rng.uniform(-0.1, 1, SHAPE).astype(np.float32)
    profile[rng.random(SHAPE) < 0.01] = np.nan
    profile[:, 40:60] = 0.0
    linear = (rng.uniform(-3, 3), rng.uniform(-3, 3), 1.001, 2e-2, rng.uniform(-2e-2, 2e-2), 0.999)
    dxmap, dymap = rng.normal(0, 0.3, (2, *SHAPE)).astype(np.float32)
    windows = [(0, 12), (10, 9), (33, 9), (-5, 8), (50, 4), (15, 0)]
    found = _core.window_planes(image, profile, windows, linear, dxmap, dymap)
    expected = twin.window_planes(image, profile.astype(float), windows, linear, dxmap, dymap)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], atol=1e-12)
    assert found[1][0].any() and not found[1][1].all()


def test_shapes_must_agree():
    image, profile = scene()
    with pytest.raises(ValueError, match="dymap"):
        planes(image, profile, [(16, 9)], dymap=np.zeros((3, 3), np.float32))


def test_of_a_night(small_night):
    """Columns of a run that lose no row have their light; those that have no value at all lie off or are bad."""
    result = run_night("2020-08-31", data_root=small_night, settings={"output": {"save": False}})
    for fiber in result.images[0].fibers.values():
        spectra = fiber.spectra
        assert (spectra.coverage[~spectra.off_detector] == 1).all()
        assert (spectra.coverage[spectra.off_detector] < 1 + 1e-12).all()
        lacking = np.isnan(spectra.e2ds)
        assert (spectra.bad | spectra.off_detector)[lacking].all()
        assert 0 < spectra.bad.mean() < 0.2
