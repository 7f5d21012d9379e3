"""Every kernel against its NumPy/SciPy twin, NaN and edges included."""

import hashlib
import math

import numpy as np
import pytest

from flatcore import _core
from tests.twins import background, calibrate, combine, fitsfile, hotpixels, statistics, straighten
from tests.twins import blaze as blaze_twin

METHODS = ("median", "mean", "clipped")


def noisy_image(shape, seed=1, holes=0.02):
    """A smooth scene with noise, NaN and spikes, in single precision."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = 200 + 150 * np.sin(y / 5.0) * np.cos(x / 17.0) + rng.normal(0, 5, shape)
    image[rng.random(shape) < 0.003] += 4000
    image[rng.random(shape) < holes] = np.nan
    return image.astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 17, 40])
def test_combine(method, count):
    rng = np.random.default_rng(count)
    frames = rng.normal(1000, 30, (count, 23, 41)).astype(np.float32)
    frames[rng.random(frames.shape) < 0.02] = np.nan
    frames[rng.random(frames.shape) < 0.01] = np.inf
    frames[:, 3, 4] = np.nan
    found = _core.combine_frames(list(frames), method, 3.0, 20.0, 4.0)
    expected = combine.combine_frames(frames, method, 3.0, 20.0, 4.0)
    assert np.isnan(found[3, 4])
    np.testing.assert_allclose(found, expected, rtol=2e-7, equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
def test_combine_without_gaps_is_exact(method):
    frames = np.random.default_rng(0).integers(0, 60000, (6, 8, 64)).astype(np.float32)
    found = _core.combine_frames(list(frames), method, 3.0, 20.0, 4.0)
    np.testing.assert_array_equal(found, combine.combine_frames(frames, method, 3.0, 20.0, 4.0).astype(np.float32))


@pytest.mark.parametrize("flip", ["none", "x", "y", "both"])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("bad", [True, False])
def test_to_electrons(flip, dark, bad):
    rng = np.random.default_rng(5)
    image = noisy_image((31, 40))
    dark_image = rng.normal(3, 1, (31, 40)).astype(np.float32) if dark else None
    bad_map = (rng.random((20, 30)) < 0.1).astype(np.uint8) if bad else None
    arguments = (-10.0, 3000.0, dark_image, flip, 59.94, (4, 24), (6, 36), bad_map)
    expected = calibrate.to_electrons(image, *arguments)
    found = _core.to_electrons(
        image,
        (-10.0, 3000.0),
        dark_image,
        flip in ("y", "both"),
        flip in ("x", "both"),
        59.94,
        (4, 24),
        (6, 36),
        bad_map,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4, equal_nan=True)
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_apply_bounds_keeps_the_bounds_themselves():
    image = np.array([[1.0, 2.0, 3.0, np.nan]], np.float32)
    np.testing.assert_array_equal(_core.apply_bounds(image, 2.0, 3.0), [[np.nan, 2.0, 3.0, np.nan]])


@pytest.mark.parametrize("shape", [(60, 96), (64, 90), (35, 77), (47, 53), (300, 10)])
def test_scattered_light(shape):
    image = noisy_image(shape)
    found = _core.scattered_light(image, 47.0, 9.0, 3.0, 3.0)
    np.testing.assert_allclose(found, background.scattered_light(image, 47, 9, 3, 3), rtol=2e-6, atol=1e-6)


def test_scattered_light_fills_wide_gaps():
    image = noisy_image((40, 60))
    image[5:25, 10:40] = np.nan
    image[:, 0] = np.nan
    found = _core.scattered_light(image, 10.0, 5.0, 1.0, 3.0)
    np.testing.assert_allclose(found, background.scattered_light(image, 10, 5, 1, 3), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "box"), [((150, 170), 32), ((128, 128), 32), ((70, 200), 33), ((65, 65), 32), ((40, 90), 25)]
)
def test_global_background(shape, box):
    image = noisy_image(shape)
    unlit = (np.random.default_rng(2).random(shape) < 0.3).astype(np.uint8)
    unlit[: box * 2, : box * 2] = 0
    found, cells = _core.global_background(image, unlit, box, 5)
    expected = background.global_background(image, unlit != 0, box)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    assert cells.shape == (len(range(box, shape[0], box)), len(range(box, shape[1], box)))


@pytest.mark.parametrize("holes", [0.0, 0.02, 0.3])
def test_hot_pixels(holes):
    image = noisy_image((50, 64), holes=holes)
    image[0, 0] = image[-1, 5] = image[7, -1] = 9e4
    bad = (np.random.default_rng(3).random(image.shape) < 0.02).astype(np.uint8)
    found = _core.repair_hot_pixels(image, bad, 10.0)
    expected = hotpixels.repair_hot_pixels(image, bad)
    np.testing.assert_allclose(found, expected, rtol=1e-6, equal_nan=True)
    assert (found != image).sum() > 20


def test_hot_pixels_of_nothing_but_nan():
    nothing = np.full((6, 7), np.nan, np.float32)
    np.testing.assert_array_equal(_core.repair_hot_pixels(nothing, np.zeros((6, 7), np.uint8), 10.0), nothing)


@pytest.mark.parametrize("axis", ["x", "y", "both"])
def test_straighten_beside_a_position_that_is_no_number(axis):
    # Rows that differ within a block of eight columns, and in each row gaps in the maps, elsewhere in its blocks.
    shape = (60, 64)
    y, x = np.indices(shape)
    image = noisy_image(shape, holes=0.0)
    dymap = np.where((x + y) % 3 == 0, 0.6, 0.4).astype(np.float32)
    dxmap = np.where((x + 2 * y) % 5 == 0, 0.6, 0.4).astype(np.float32)
    linear = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    expected = _core.straighten(image, linear, dxmap, dymap)
    gaps = x % 31 == y % 31
    for name, values in (("x", dxmap), ("y", dymap)):
        if axis in (name, "both"):
            values[gaps] = np.nan
    found = _core.straighten(image, linear, dxmap, dymap)
    np.testing.assert_array_equal(found, np.where(gaps, np.float32(np.nan), expected))


@pytest.mark.parametrize("holes", [0.0, 0.02])
def test_straighten(holes):
    shape = (70, 90)
    y, x = np.indices(shape)
    image = noisy_image(shape, holes=holes)
    dxmap = (0.7 * np.sin(y / 11) - 3 * (x > 80)).astype(np.float32)
    dymap = (2.5 * np.cos(x / 23) + 3 * (y < 3)).astype(np.float32)
    linear = (0.31, -0.42, 1.0003, -0.0004, 0.0007, 0.9996)
    found = _core.straighten(image, linear, dxmap, dymap)
    expected = straighten.straighten(image, linear, dxmap, dymap)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3, equal_nan=True)
    assert np.isnan(found).any()


@pytest.mark.parametrize("bounds", [None, (80.0, 140.0)])
def test_hot_pixels_and_bounds_in_one_go_and_in_place(bounds):
    image = noisy_image((70, 64), holes=0.02)
    bad = (np.random.default_rng(3).random(image.shape) < 0.02).astype(np.uint8)
    expected = _core.repair_hot_pixels(image, bad, 10.0)
    if bounds is not None:
        assert calibrate.out_of_bounds_to_nan(expected, *bounds).tobytes() != expected.tobytes()
        expected = _core.apply_bounds(expected, *bounds)
    np.testing.assert_array_equal(_core.repair_hot_pixels(image, bad, 10.0, bounds), expected)
    assert _core.repair_hot_pixels_in_place(image, bad, 10.0, bounds) is None
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("scatter", [None, (47.0, 9.0, 1.0, 3.0)])
def test_background_subtracted_in_place(scatter):
    image = noisy_image((90, 80))
    unlit = (np.random.default_rng(2).random(image.shape) < 0.3).astype(np.uint8)
    expected, cells = _core.subtract_background(image, unlit, scatter, 16, 3)
    found = _core.subtract_background_in_place(image, unlit, scatter, 16, 3)
    np.testing.assert_array_equal(found, cells)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("work", ["subtract_background", "repair_hot_pixels"])
def test_what_is_worked_on_in_place_must_be_writable_and_contiguous(work):
    def run(image, mask):
        if work == "repair_hot_pixels":
            _core.repair_hot_pixels_in_place(image, mask, 10.0)
        else:
            _core.subtract_background_in_place(image, mask, None, 3, 1)

    read_only = noisy_image((9, 8))
    read_only.flags.writeable = False
    with pytest.raises(TypeError):
        run(read_only, np.zeros((9, 8), np.uint8))
    with pytest.raises(ValueError, match="contiguous"):
        run(noisy_image((9, 8))[:, ::2], np.zeros((9, 4), np.uint8))


@pytest.mark.parametrize("limit", [100.0, 110.1, 1e9])
@pytest.mark.parametrize(("flip_y", "flip_x"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("rows", "columns"), [((0, 40), (0, 150)), ((3, 31), (7, 140)), ((5, 5), (2, 9))])
def test_pixels_above(limit, flip_y, flip_x, rows, columns):
    image = noisy_image((40, 150), holes=0.1)
    found = _core.pixels_above(image, limit, flip_y, flip_x, rows, columns)
    np.testing.assert_array_equal(found, calibrate.pixels_above(image, limit, flip_y, flip_x, rows, columns))
    assert found.dtype == np.int64 and found.shape[1] == 2


@pytest.mark.parametrize("width", [1, 2, 5, 25, 50, 300])
def test_running_median(width):
    row = np.random.default_rng(4).normal(100, 10, 200)
    row[30:70] = np.nan
    row[0] = row[-1] = np.nan
    found = _core.running_nan_median(row, width)
    expected = statistics.running_median(row, width)
    if width > 1:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_array_equal(found, row)


def test_robust_sigma_and_readnoise():
    values = np.random.default_rng(5).normal(0, 3, 5001)
    values[::100] = np.nan
    assert _core.robust_sigma(values) == pytest.approx(statistics.robust_sigma(values), rel=1e-12)
    image = noisy_image((30, 40))
    unlit = (np.arange(1200).reshape(30, 40) % 3 == 0).astype(np.uint8)
    expected = statistics.robust_sigma(np.diff(image.astype(float)[unlit != 0])) / math.sqrt(2)
    assert _core.effective_readnoise(image, unlit) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("size", "boxes"), [(1000, 16), (1001, 16), (15, 16), (7, 1), (0, 3), (64, 64)])
def test_box_medians(size, boxes):
    values = np.random.default_rng(8).normal(0, 3, size)
    values[::5] = np.nan
    finite = [box[np.isfinite(box)] for box in np.array_split(values, boxes)]
    expected = [np.median(box) if box.size else np.nan for box in finite]
    np.testing.assert_array_equal(_core.box_medians(values, boxes), expected)
    with pytest.raises(ValueError, match="boxes = 0"):
        _core.box_medians(values, 0)


@pytest.mark.parametrize(("size", "width"), [(1080, 501), (2560, 501), (300, 501), (400, 100), (40, 4), (5, 9)])
def test_slow_part(size, width):
    flat = 1 + 0.02 * np.sin(np.arange(size) / 90) + np.random.default_rng(6).normal(0, 0.01, size)
    flat[: size // 4] = np.nan
    np.testing.assert_allclose(_core.slow_part(flat, width), blaze_twin.low_pass(flat, width), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _core.combine_frames([], "median", 5.0, 1.0, 0.0), "number of frames"),
        (
            lambda: _core.combine_frames([np.zeros((2, 2), np.float32)], "mode", 5.0, 1.0, 0.0),
            "median, mean or clipped",
        ),
        (lambda: _core.scattered_light(np.zeros((4, 4), np.float32), -1.0, 9.0, 1.0, 3.0), "amplitude"),
        (lambda: _core.running_nan_median(np.zeros(4), 0), "width"),
        (lambda: _core.slow_part(np.zeros(4), 1), "width"),
        (
            lambda: _core.straighten(
                np.zeros((4, 4), np.float32),
                (0, 0, 1, 0, 0, 1),
                np.zeros((4, 5), np.float32),
                np.zeros((4, 4), np.float32),
            ),
            r"dxmap has shape \[4, 5\], expected \[4, 4\]",
        ),
        (
            lambda: _core.global_background(np.zeros((9, 9), np.float32), np.zeros((9, 9), np.uint8), 9, 5),
            "box = 9: must be at least 1 and below",
        ),
        (
            lambda: _core.repair_hot_pixels(np.zeros((9, 8), np.float32)[:, ::2], np.zeros((9, 4), np.uint8), 10.0),
            "contiguous",
        ),
        (
            lambda: _core.to_electrons(
                np.zeros((4, 5), np.float32), None, None, False, False, 1.0, (0, 2**40), (0, 2**40), None
            ),
            "last row = 1099511627776: must be within the image",
        ),
        (lambda: _core.background_map(np.zeros((0, 3)), 4, 4), "number of cells = 0: must be at least 1"),
    ],
)
def test_kernels_refuse_what_they_cannot_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_more_memory_than_there_is_is_refused():
    profile = image = maps = np.zeros((4, 5), np.float32)
    with pytest.raises((MemoryError, ValueError)):
        _core.extract_orders(image, profile, [(0, 2**60)], None, False, (1.0, 1.0), (0, 0, 1, 0, 0, 1), maps, maps)


@pytest.mark.parametrize("columns", [1, 7, 8, 64, 65, 400])
def test_sinc2_triangle_is_that_of_numpy(columns):
    x = np.linspace(3, 380, columns)
    flux = 4 + np.sin(0.37 * x)
    parameters, scale, unit = [5.0, 400.0, 210.3, 1e-4, -1e-7, 3e-4], [2.0, 100.0, 100.0, 1e-2, 0.0, 1e-2], 4.0
    jacobian = _core.sinc2_jacobian(x, parameters).reshape(6, columns).T * scale / unit
    residual = (blaze_twin.sinc2(x, *parameters)[0] - flux) / unit
    problem = np.column_stack([jacobian[:, [0, 1, 2, 3, 5]], residual])
    found = _core.sinc2_triangle(x, flux, parameters, scale, unit).reshape(6, 6)
    np.testing.assert_array_equal(found, np.triu(found))
    np.testing.assert_allclose(found.T @ found, problem.T @ problem, atol=1e-12 * (problem**2).sum(axis=0).max())
    if columns >= 64:
        expected = np.linalg.qr(problem, mode="r")
        np.testing.assert_allclose(abs(found), abs(expected), atol=1e-11 * abs(expected).max())


def header_text(cards=1):
    """A header in whole blocks with empty checksums and as many cards."""
    lines = [f"KEY{i:<5}= {i * 7919:>20}" for i in range(cards)]
    lines[1:1] = ["CHECKSUM= '0000000000000000'   / of the HDU", "DATASUM = '0       '           / of its values"]
    text = "".join(f"{line:<80}" for line in [*lines, "END"])
    return f"{text:<{len(text) + -len(text) % 2880}}".encode()


@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 719, 2880, 70_000])
def test_write_fits(kind, size, tmp_path):
    hdus = [(header_text(cards), fitsfile.values_of(kind, size + extra, cards)) for extra, cards in ((0, 3), (1, 40))]
    digits = _core.write_fits(str(tmp_path / "a.fits"), hdus)
    content = (tmp_path / "a.fits").read_bytes()
    assert content == fitsfile.fits_bytes(hdus)
    assert digits == hashlib.sha256(content).hexdigest()


def test_write_fits_of_images_and_headers_without_checksums(tmp_path):
    image = fitsfile.values_of("f4", 12 * 7).reshape(12, 7)
    plain = f"{'SIMPLE  =                    T':<80}{'END':<2800}".encode()
    _core.write_fits(str(tmp_path / "a.fits"), [(plain, image)])
    assert (tmp_path / "a.fits").read_bytes() == fitsfile.fits_bytes([(plain, image)])


@pytest.mark.parametrize("byte", range(0, 256, 5))
def test_write_fits_with_every_letter_of_a_checksum(byte, tmp_path):
    hdus = [(header_text(), np.full(4, byte, np.uint8)), (header_text(), np.arange(byte, dtype=np.uint8))]
    _core.write_fits(str(tmp_path / "a.fits"), hdus)
    assert (tmp_path / "a.fits").read_bytes() == fitsfile.fits_bytes(hdus)


def test_write_fits_refuses_other_numbers_and_folders(tmp_path):
    for values in (np.zeros(3, np.int64), np.zeros(3, ">f4"), np.zeros(3, complex)):
        with pytest.raises(TypeError):
            _core.write_fits(str(tmp_path / "a.fits"), [(header_text(), values)])
    for values in (np.zeros((4, 4), np.float32)[:, ::2], np.zeros((4, 4), order="F"), np.zeros((4, 4), np.uint8).T[1:]):
        with pytest.raises(ValueError, match="values must be contiguous in row-major order"):
            _core.write_fits(str(tmp_path / "a.fits"), [(header_text(), values)])
    assert not (tmp_path / "a.fits").exists()
    with pytest.raises(OSError, match=r"nowhere/a\.fits: "):
        _core.write_fits(str(tmp_path / "nowhere" / "a.fits"), [(header_text(), np.zeros(3))])


def test_results_do_not_depend_on_the_number_of_threads_nor_on_the_instructions():
    image = noisy_image((130, 150))
    unlit = (np.random.default_rng(9).random(image.shape) < 0.4).astype(np.uint8)
    zeros = np.zeros(image.shape, np.float32)
    columns, parameters = np.arange(101.0), [5.0, 400.0, 50.3, 1e-4, -1e-7, 3e-4]

    order = (image, np.abs(image), [(3, 30), (60, 40)], 10.0)
    mapping = ((0.3, 0.4, 1.001, 0.0, 0.0, 1.0), zeros, zeros)

    def everything():
        return [
            _core.combine_frames([image, image * 2, image * 3, zeros], "median", 5.0, 1.0, 0.0),
            _core.combine_frames([image, image * 2, image * 3, zeros], "mean", 5.0, 1.0, 0.0),
            _core.scattered_light(image, 10.0, 9.0, 1.0, 3.0),
            *_core.global_background(image, unlit, 32, 5),
            _core.repair_hot_pixels(image, unlit, 10.0),
            _core.repair_hot_pixels(image, unlit, 10.0, (90.0, 120.0)),
            _core.to_electrons(image, (90.0, 120.0), image, True, True, 1.7, (3, 120), (5, 140), None),
            _core.to_electrons(image, None, None, False, True, 1.7, (0, 130), (0, 150), unlit),
            _core.subtract_background(image, unlit, (10.0, 9.0, 3.0, 3.0), 32, 5)[0],
            _core.pixels_above(image, 110.0, True, True, (0, 130), (0, 150)),
            np.array([_core.effective_readnoise(image, unlit)]),
            _core.straighten(image, (0.3, 0.4, 1.001, 0.0, 0.0, 1.0), zeros, zeros),
            *_core.extract_orders(*order, False, (3.0, 1.0), *mapping)[:4],
            *_core.extract_orders(*order, True, (3.0, 1.0), *mapping)[:4],
            *_core.extract_direct(*order, (3.0, 1.0), *mapping)[0][:4],
            *_core.window_planes(*order[:3], *mapping),
            _core.sinc2_triangle(columns, 9 + np.sin(columns), parameters, [1.0] * 6, 1.0),
        ]

    before = _core.threads()
    results = []
    try:
        for count, wide in ((1, True), (2, True), (7, True), (2, False)):
            _core.set_threads(count)
            _core.set_wide(wide)
            assert _core.threads() == count
            results.append([array.tobytes() for array in everything()])
    finally:
        _core.set_threads(before)
        _core.set_wide(True)
    assert all(result == results[0] for result in results)
