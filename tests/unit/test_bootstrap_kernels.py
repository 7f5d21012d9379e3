"""A bootstrap's kernels against their twins, NaN and edges included."""

import numpy as np
import pytest

from flatcore import _core
from flatcore.fitsio import open_image
from tests.cli.command import rewrite
from tests.twins import bootstrap as twin


def stripes(shape, seed, holes=0.03):
    """Curved orders with noise, and pixels without a value."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = 300 * np.cos((y - 0.002 * (x - 40) ** 2) / 2.5) ** 4 + rng.normal(20, 6, shape)
    image[rng.random(shape) < holes] = np.nan
    return image.astype(np.float32)


@pytest.mark.parametrize(("box", "window", "least"), [(16, 7, 3), (7, 5, 2), (200, 1, 1)])
@pytest.mark.parametrize("percent", [0.0, 5.0, 37.0, 100.0])
def test_unlit_mask(box, window, least, percent):
    image = stripes((70, 93), 1)
    image[20:40, 32:48] = np.nan
    found = _core.unlit_mask(image, box, percent, window, least, None)
    np.testing.assert_array_equal(found, twin.unlit_mask(image, box, percent, window, least))


@pytest.mark.parametrize("box", [16, 7, 200])
def test_unlit_mask_along_the_curve(box):
    image = stripes((70, 93), 1)
    y, x = np.indices(image.shape)
    dymap = (0.003 * (x - 40) ** 2 * (1 + y / 90) + 0.013).astype(np.float32)
    found = _core.unlit_mask(image, box, 20.0, 7, 3, dymap)
    np.testing.assert_array_equal(found, twin.unlit_mask(image, box, 20.0, 7, 3, dymap))
    assert (found != _core.unlit_mask(image, box, 20.0, 7, 3, None)).any()


@pytest.mark.parametrize("half", [1, 5, 12])
@pytest.mark.parametrize("columns", [30, 64, 97])
def test_row_medians(half, columns):
    image = stripes((12, columns), 2, holes=0.2)
    image[3] = np.nan
    np.testing.assert_allclose(_core.row_medians(image, half), twin.row_medians(image, half), rtol=1e-7)


@pytest.mark.parametrize("half", [1, 5])
def test_curve_medians(half):
    rng = np.random.default_rng(3)
    image = stripes((40, 67), 3, holes=0.1)
    y, x = np.indices(image.shape)
    dymap = (0.004 * (x - 33) ** 2 * (1 + y / 80) + rng.uniform(0, 0.01, image.shape)).astype(np.float32)
    wanted = (rng.random(image.shape) < 0.6).astype(np.uint8)
    found = _core.curve_medians(image, dymap, wanted, half)
    expected = twin.curve_medians(image, dymap, wanted, half)
    assert np.isfinite(found).mean() > 0.99
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_curve_medians_of_level_orders_are_row_medians():
    image = stripes((25, 50), 4)
    level, everywhere = np.zeros(image.shape, np.float32), np.ones(image.shape, np.uint8)
    found = _core.curve_medians(image, level, everywhere, 5)
    np.testing.assert_array_equal(found, _core.row_medians(image, 5))


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_median_distance(small_night, tmp_path, count):
    template = sorted((small_night / "tmp" / "2020-08-31").glob("*.fits"))[0]
    rng = np.random.default_rng(count)
    frames = rng.normal(500, 30, (count, 31, 45)).astype(np.float32)
    frames[rng.random(frames.shape) < 0.05] = np.nan
    frames[:, 2, 3] = np.inf
    paths = [rewrite(template, tmp_path / f"{i}.fits", lambda _, one=frame: one) for i, frame in enumerate(frames)]
    sources = [open_image(path).location.source() for path in paths]
    factors = rng.uniform(0.9, 1.1, count).tolist()
    centre = rng.normal(500, 3, (31, 45)).astype(np.float32)
    found = _core.median_distance(sources, factors, centre)
    assert np.isnan(found[2, 3])
    np.testing.assert_allclose(found, twin.median_distance(frames, factors, centre), rtol=1e-6, atol=1e-4)


def test_the_same_bits_on_any_number_of_threads_and_any_width():
    image = stripes((90, 300), 6)
    dymap = np.broadcast_to(0.1 * np.arange(300, dtype=np.float32), image.shape).copy()
    everywhere = np.ones(image.shape, np.uint8)

    def everything():
        return [
            _core.row_medians(image, 5),
            _core.curve_medians(image, dymap, everywhere, 5),
            _core.unlit_mask(image, 32, 5.0, 7, 3, None),
            _core.unlit_mask(image, 32, 5.0, 7, 3, dymap),
        ]

    before = _core.threads()
    results = []
    try:
        for count, wide in ((1, True), (3, True), (2, False)):
            _core.set_threads(count)
            _core.set_wide(wide)
            results.append([array.tobytes() for array in everything()])
    finally:
        _core.set_threads(before)
        _core.set_wide(True)
    assert results[0] == results[1] == results[2]


def test_wrong_arguments_are_refused():
    image = stripes((20, 30), 5)
    with pytest.raises(ValueError, match="window"):
        _core.unlit_mask(image, 8, 5.0, 6, 3, None)
    with pytest.raises(ValueError, match="percent"):
        _core.unlit_mask(image, 8, 101.0, 7, 3, None)
    with pytest.raises(ValueError, match="half"):
        _core.row_medians(image, 30)
    with pytest.raises(ValueError, match="dymap"):
        _core.curve_medians(image, image[:10].copy(), np.ones(image.shape, np.uint8), 2)
