"""Kernels of extraction against their NumPy twins."""

import math

import numpy as np
import pytest

from flatcore import _core
from tests.twins import direct, extract, horne, noise


def small_move(shape):
    """A transform of a few tenths of a pixel that bends and slants."""
    y, x = np.indices(shape)
    dymap = 4.0 * ((x - shape[1] / 2) / shape[1]) ** 2
    return (0.3, -0.4, 1.001, 0.01, -0.02, 0.999), (0.02 * y).astype(np.float32), dymap.astype(np.float32)


def order_scene(seed, holes=0.02):
    """An order along row 29 with noise, holes and cosmics, and its profile; both may lie along any trace."""
    rng = np.random.default_rng(seed)
    profile = np.exp(-0.5 * ((np.arange(60)[:, None] - 29.3) / 3) ** 2) * np.ones(50) + 1e-4
    image = rng.poisson(900.0 * profile) + rng.normal(0, 4, profile.shape)
    image[rng.random(image.shape) < 0.01] += 5e3
    image[rng.random(image.shape) < holes] = np.nan
    profile[rng.random(profile.shape) < 0.01] = np.nan
    return image.astype(np.float32), profile.astype(np.float32)


@pytest.mark.parametrize("threshold", [10.0, 3.0, None])
@pytest.mark.parametrize("half", [2, 8, 25])
def test_extract(threshold, half):
    rng = np.random.default_rng(half)
    y, x = np.indices((60, 50))
    image = 300 + 200 * np.sin(y / 7.0) * np.cos(x / 11.0) + rng.normal(0, 20, y.shape)
    image[rng.random(image.shape) < 0.05] = np.nan
    image[rng.random(image.shape) < 0.01] += 5000
    image = image.astype(np.float32)
    image[:, 7] = np.nan
    profile = np.exp(-0.5 * ((np.arange(60)[:, None] - 29.3) / 3) ** 2) * np.ones(50)
    profile[rng.random(profile.shape) < 0.02] = np.nan
    profile[:, 11] = 0.0
    profile[20:30, 12] = 0.0
    profile = profile.astype(np.float32)
    windows = [(29 - half, 2 * half + 1), (-4, 9), (55, 9), (70, 3)]
    mapping = small_move(image.shape)
    e2ds, variance, e2dsll, e2dscc, rejected = _core.extract_orders(
        image, profile, windows, threshold, False, (4.0, 0.3), *mapping
    )
    smoothing = noise.smoothing(*mapping)
    start = 0
    for order, (first, count) in enumerate(windows):
        pixels, shape = (extract.window(a.astype(float), first, count) for a in (image, profile))
        spectrum, stacked, kept, left_out = extract.extract_order(pixels, shape, threshold is not None, threshold)
        expected = extract.variance_of(
            pixels, shape, spectrum, kept, extract.window(smoothing, first, count),
            threshold=threshold, readnoise=4.0, photon_variance=0.3,
        )  # fmt: skip
        np.testing.assert_allclose(e2ds[order], spectrum, rtol=1e-9, equal_nan=True)
        np.testing.assert_allclose(variance[order], expected, rtol=1e-9, equal_nan=True)
        np.testing.assert_allclose(e2dsll[start : start + count], stacked, rtol=1e-6, equal_nan=True)
        np.testing.assert_array_equal(e2dscc[start : start + count], kept)
        assert rejected[order] == left_out
        start += count
    assert np.isnan(e2ds[0, 7]) and np.isnan(e2ds[3]).all()
    assert (variance[np.isfinite(e2ds)] > 0).all()


@pytest.mark.parametrize("threshold", [10.0, 4.0, None])
@pytest.mark.parametrize("readnoise", [4.0, 0.0])
def test_extract_horne(threshold, readnoise):
    image, profile = order_scene(3)
    image[:, 7] = np.nan
    image[:, 9] *= -1
    profile[:, 11] = 0.0
    windows, mapping = [(21, 17), (-4, 20), (45, 20), (70, 3)], small_move(image.shape)
    how = {"threshold": threshold, "readnoise": readnoise, "photon_variance": 0.3}
    found = _core.extract_orders(image, profile, windows, threshold, True, (readnoise, 0.3), *mapping)
    smoothing = noise.smoothing(*mapping)
    start = 0
    for order, (first, count) in enumerate(windows):
        pixels, shape, smooth = (extract.window(a.astype(float), first, count) for a in (image, profile, smoothing))
        expected = horne.extract_order(pixels, shape, smoothing=smooth, **how)
        rows = slice(start, start + count)
        start += count
        np.testing.assert_allclose(found[0][order], expected[0], rtol=1e-9, atol=1e-9, equal_nan=True)
        np.testing.assert_allclose(found[1][order], expected[1], rtol=1e-9, equal_nan=True)
        np.testing.assert_allclose(found[2][rows], expected[2], rtol=1e-6, atol=1e-9, equal_nan=True)
        np.testing.assert_array_equal(found[3][rows], expected[3])
    assert np.isnan(found[0][0, 7]) and np.isnan(found[0][3]).all()
    assert np.isfinite(found[0][0, 9]) and np.isfinite(found[1][0, 9])


@pytest.mark.parametrize("threshold", [10.0, 4.0, None])
def test_extract_direct(threshold):
    image, profile = order_scene(4)
    image[:, 7] = np.nan
    windows, mapping = [(21, 17), (-4, 20), (45, 20), (70, 3), (20, 1)], small_move(image.shape)
    found, bad = _core.extract_direct(image, profile, windows, threshold, (4.0, 0.3), *mapping)
    start = 0
    for order, (first, count) in enumerate(windows):
        flux, variance, stacked, kept, gaps = direct.extract_order(
            image.astype(float), profile.astype(float), (first, count), *mapping,
            threshold=threshold, readnoise=4.0, photon_variance=0.3,
        )  # fmt: skip
        rows = slice(start, start + count)
        start += count
        np.testing.assert_allclose(found[0][order], flux, rtol=1e-8, equal_nan=True)
        np.testing.assert_allclose(found[1][order], variance, rtol=1e-8, equal_nan=True)
        np.testing.assert_allclose(found[2][rows], stacked, rtol=1e-6, atol=1e-6, equal_nan=True)
        np.testing.assert_array_equal(found[3][rows], kept)
        np.testing.assert_array_equal(bad[order], gaps)
    assert bad[0].any() and not bad[0].all() and np.isfinite(found[0][0]).sum() > 40


@pytest.mark.parametrize(("half", "rows"), [(8, 17), (0, 1)])
def test_direct_extraction_is_blind_to_where_pixels_lie_along_the_order(half, rows):
    """Light that follows the trace gives one flux at every column, however the columns cut the pixels."""
    linear, dxmap, dymap = small_move((60, 50))
    _, y = direct.straight_positions(linear, dxmap, dymap)
    light = (np.exp(-0.5 * ((y - 29.3) / 3) ** 2)).astype(np.float32)
    found, _ = _core.extract_direct(light * 400, light, [(29 - half, rows)], None, (4.0, 0.3), linear, dxmap, dymap)
    expected = 400 * np.exp(-0.5 * ((np.arange(29 - half, 30 + half) - 29.3) / 3) ** 2).sum()
    np.testing.assert_allclose(found[0][0, 3:-3], expected, rtol=2e-3 if rows > 1 else 0.02)


def test_horne_weights_minimise_the_variance():
    rng = np.random.default_rng(8)
    profile = np.exp(-0.5 * ((np.arange(41) - 20.0) / 4) ** 2)
    profile = np.repeat((profile / profile.sum())[:, None], 4000, axis=1)
    flux, readnoise = 800.0, 6.0
    image = rng.poisson(flux * profile) + rng.normal(0, readnoise, profile.shape)
    arrays = image.astype(np.float32), profile.astype(np.float32)
    scatter = {}
    zeros = np.zeros(image.shape, np.float32)
    mapping = ((0.0, 0.0, 1.0, 0.0, 0.0, 1.0), zeros, zeros)
    for weighed in (False, True):
        e2ds, variance, *_ = _core.extract_orders(*arrays, [(0, 41)], 10.0, weighed, (readnoise, 1.0), *mapping)
        scatter[weighed] = e2ds[0].std()
        assert e2ds[0].mean() == pytest.approx(flux, rel=0.02)
        assert e2ds[0].std() == pytest.approx(math.sqrt(variance[0].mean()), rel=0.06)
    assert scatter[True] < scatter[False]
