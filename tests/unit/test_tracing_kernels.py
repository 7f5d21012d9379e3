"""The kernels of order tracing against their NumPy twins."""

import numpy as np
import pytest

from flatcore import _core
from tests.twins import tracing


def striped_image(shape, seed=1):
    """Sloping strips with noise, NaN, infinities and spikes."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = 100 + 80 * np.cos((y - 0.07 * x) / 2.0) + rng.normal(0, 3, shape)
    image[rng.random(shape) < 0.01] += 3000
    image[rng.random(shape) < 0.02] = np.nan
    image[rng.random(shape) < 0.005] = np.inf
    image[:, 20:26] = np.nan
    return image.astype(np.float32)


@pytest.mark.parametrize("width", [2, 3, 8, 16, 64])
@pytest.mark.parametrize("columns", [1, 7, 130, 163])
def test_column_blocks(width, columns):
    image = striped_image((37, columns))
    for found, expected in zip(_core.column_blocks(image, width), tracing.column_blocks(image, width), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("width", [2, 7, 16])
@pytest.mark.parametrize("half", [0, 2, 9, 21])
def test_straight_profiles(width, half):
    image = striped_image((48, 77))
    x = np.arange(77)
    traces = np.stack([20 + 0.07 * x, np.full(77, 24.0), 1.5 - 0.04 * x, 45 + 0.06 * x, np.full(77, np.nan)])
    traces[1, 40] = np.inf
    found = _core.straight_profiles(image, traces, half, width)
    expected = tracing.straight_profiles(image, traces, half, width)
    assert np.isfinite(found[:4]).any()
    assert np.isnan(found[4]).all()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-3, equal_nan=True)


@pytest.fixture(scope="module")
def profiles():
    """Profiles of three strips that wander, one of them cut, with their reaches."""
    rng = np.random.default_rng(3)
    k = np.arange(-9, 10)
    shift = rng.uniform(-1.5, 1.5, (3, 30))
    height = rng.uniform(-5, 200, (3, 30))
    values = height[:, :, None] * np.exp(-0.5 * ((k - shift[:, :, None]) / 2.2) ** 2) + 10 + 0.3 * k
    values += rng.normal(0, 1.5, values.shape)
    values[rng.random(values.shape) < 0.01] = np.nan
    values[1, :, :6] = np.nan
    values[0, 4] = np.nan
    values[0, 5] = 7.0
    return values.astype(np.float32), np.array([[-9, 9], [-2, 6], [-5, 5]], np.int64)


@pytest.mark.parametrize("sloped", [[True] * 3, [False, True, False]])
def test_mean_profiles(profiles, sloped):
    values, reach = profiles
    found = _core.mean_profiles(values, reach, sloped)
    np.testing.assert_allclose(found, tracing.mean_profiles(values, reach, sloped), rtol=1e-9, atol=1e-12)
    assert (found.max(axis=1) == 1).all()


def test_coarse_shifts(profiles):
    values, reach = profiles
    means = _core.mean_profiles(values, reach, [True] * 3)
    found = _core.coarse_shifts(values, means, reach, [3, 2, 0])
    expected = tracing.coarse_shifts(values, means, reach, [3, 2, 0])
    assert len(np.unique(found[0, 0][np.isfinite(found[0, 0])])) > 2
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("sloped", [[True] * 3, [False, True, False]])
def test_fit_profiles(profiles, sloped):
    values, reach = profiles
    means = _core.mean_profiles(values, reach, [True] * 3)
    noise = (2.0, 0.5, 1.0)
    found = _core.fit_profiles(values, means, reach, sloped, noise, 0.2)
    expected = tracing.fit_profiles(values, means, reach, sloped, noise, 0.2)
    assert np.isfinite(found).any(axis=2).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, equal_nan=True)


def test_refusals(profiles):
    values, reach = profiles
    image = striped_image((20, 30))
    with pytest.raises(ValueError, match="width = 65"):
        _core.column_blocks(image, 65)
    with pytest.raises(ValueError, match="traces has shape"):
        _core.straight_profiles(image, np.zeros((2, 29)), 3, 4)
    with pytest.raises(ValueError, match="reach has shape"):
        _core.mean_profiles(values, reach[:2], [True] * 3)
    with pytest.raises(ValueError, match="means has shape"):
        _core.fit_profiles(values, np.zeros((3, 5)), reach, [True] * 3, (1.0, 0.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="number of most"):
        _core.coarse_shifts(values, np.zeros((3, 19)), reach, [1])


def test_any_number_of_threads_gives_the_same_bits():
    image = striped_image((200, 300))
    traces = np.linspace(20, 180, 9)[:, None] + 0.02 * np.arange(300)
    try:
        results = []
        for count in (1, 3):
            _core.set_threads(count)
            results.append([*_core.column_blocks(image, 8), _core.straight_profiles(image, traces, 8, 8)])
        for one, three in zip(*results, strict=True):
            np.testing.assert_array_equal(one, three)
    finally:
        _core.set_threads(0)
