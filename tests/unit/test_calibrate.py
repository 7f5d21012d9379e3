"""Calibration: every step by itself and all together, against the twins."""

import dataclasses

import numpy as np
import pytest

from flatcore.calibrate import bounds_in_adu_per_s, calibrate, subtract_background
from flatcore.images import Exposure
from flatcore.instrument import Background, Detector
from flatcore.settings import CalibrateSettings
from tests.twins import background as background_twin
from tests.twins import calibrate as calibrate_twin
from tests.twins import hotpixels as hotpixels_twin
from tests.twins.recipe import effective_readnoise

RAW, KEPT = (70, 96), (60, 84)
DETECTOR = Detector(shape=RAW, flip="both", rows=(4, 64), columns=(10, 94), gain=1.5)
EXPOSURE = Exposure(exptime_s=40.0, frame_time_s=5.0, readnoise_e=8.0, gain=1.5, saturation_adu=20000.0)
BACKGROUND = Background(box=16, scattered_amplitude=20.0, kernel_x=2, kernel_y=6, kernel_sigma=2)
SWITCHES = ("bounds", "dark", "flip", "resize", "badpix", "background", "hotpixels")
LOW, HIGH = -24.0, 4000.0


def switched(**on):
    """Settings with everything off but these."""
    switches = dict.fromkeys(SWITCHES, False) | on
    return CalibrateSettings(**{**switches, "flip": None if switches["flip"] else "none"})


@pytest.fixture(scope="module")
def scene():
    """A raw image beyond both bounds, with hot pixels and gaps, and its calibrations."""
    rng = np.random.default_rng(11)
    y, x = np.indices(RAW)
    image = 300 + 200 * np.sin(y / 4.0) + x + rng.normal(0, 3, RAW)
    image[20, 30], image[40, 50], image[5, 11] = 9000.0, -500.0, 5000.0
    image[rng.random(RAW) < 0.01] += 900
    image[rng.random(RAW) < 0.01] = np.nan
    calibrations = {}
    for name, shape in (("raw", RAW), ("kept", KEPT)):
        random = np.random.default_rng(12)
        calibrations[name] = {
            "unlit": (random.random(shape) < 0.4).astype(np.uint8),
            "bad": (random.random(shape) < 0.02).astype(np.uint8),
        }
    dark = rng.normal(5, 2, RAW).astype(np.float32)
    return image.astype(np.float32), dark, calibrations


def run(scene, settings, background=BACKGROUND):
    """The calibration of the scene, and its maps of the right shape."""
    image, dark, calibrations = scene
    maps = calibrations["kept" if settings.resize else "raw"]
    return calibrate(image, EXPOSURE, DETECTOR, background, settings, dark=dark, **maps), maps


def by_twins(scene, settings):
    """The same in NumPy and SciPy."""
    image, dark, calibrations = scene
    maps = calibrations["kept" if settings.resize else "raw"]
    rows, columns = (DETECTOR.rows, DETECTOR.columns) if settings.resize else ((0, RAW[0]), (0, RAW[1]))
    low, high = (LOW, HIGH) if settings.bounds else (-np.inf, np.inf)
    factor = 1.5 * 40.0
    bad = maps["bad"] if settings.badpix else np.zeros_like(maps["bad"])
    result = calibrate_twin.to_electrons(
        image,
        low,
        high,
        dark if settings.dark else None,
        settings.flip or DETECTOR.flip,
        factor,
        rows,
        columns,
        bad,
    )
    if settings.background:
        local = background_twin.scattered_light(result, 20.0, 6, 2, 2)
        result = result - background_twin.global_background(result - local, maps["unlit"] != 0, 16)
    if settings.hotpixels:
        result = hotpixels_twin.repair_hot_pixels(result, bad)
    return calibrate_twin.out_of_bounds_to_nan(result, low * factor, high * factor)


def test_bounds():
    assert bounds_in_adu_per_s(EXPOSURE) == (LOW, HIGH)
    other = dataclasses.replace(EXPOSURE, gain=0.999, readnoise_e=12.0, frame_time_s=5.573, saturation_adu=6e4)
    assert bounds_in_adu_per_s(other) == pytest.approx((-10 * 12 * 0.999 / 5.573, 6e4 / 5.573), rel=1e-15)


def test_with_every_step_off_it_is_the_image_in_electrons(scene):
    result, _ = run(scene, switched())
    np.testing.assert_array_equal(result.image, scene[0] * np.float32(60.0))
    assert result.background is None


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_step_alone(scene, switch):
    settings = switched(**{switch: True})
    result, maps = run(scene, settings)
    expected = by_twins(scene, settings)
    np.testing.assert_allclose(result.image, expected, rtol=1e-5, atol=2e-2, equal_nan=True)
    assert result.image.dtype == np.float32
    plain = run(scene, switched())[0].image
    assert result.image.shape != plain.shape or not np.array_equal(result.image, plain, equal_nan=True)
    assert result.readnoise_e == pytest.approx(effective_readnoise(expected, maps["unlit"] != 0), rel=1e-4)


@pytest.mark.parametrize("switch", [None, *SWITCHES])
def test_each_step_left_out(scene, switch):
    settings = switched(**dict.fromkeys(set(SWITCHES) - {switch}, True))
    result, maps = run(scene, settings)
    expected = by_twins(scene, settings)
    np.testing.assert_allclose(result.image, expected, rtol=1e-5, atol=2e-2, equal_nan=True)
    assert result.readnoise_e == pytest.approx(effective_readnoise(expected, maps["unlit"] != 0), rel=1e-4)


class TestWhatAStepChanges:
    def test_bounds_only_take_pixels_beyond_them(self, scene):
        plain, bounded = (run(scene, switched(bounds=on))[0].image for on in (False, True))
        gone = np.isnan(bounded) & ~np.isnan(plain)
        np.testing.assert_array_equal(gone, (plain > HIGH * 60) | (plain < LOW * 60))
        assert gone.sum() == 3
        np.testing.assert_array_equal(bounded[~gone], plain[~gone])

    def test_the_dark_is_subtracted_in_adu_per_second(self, scene):
        plain, dark = (run(scene, switched(dark=on))[0].image for on in (False, True))
        np.testing.assert_allclose(plain - dark, np.where(np.isnan(plain), np.nan, scene[1] * 60.0), atol=0.05)

    @pytest.mark.parametrize(
        ("flip", "turned"),
        [
            ("none", lambda a: a),
            ("x", lambda a: a[:, ::-1]),
            ("y", lambda a: a[::-1]),
            ("both", lambda a: a[::-1, ::-1]),
        ],
    )
    def test_the_setting_of_the_flip_wins_over_the_profile(self, scene, flip, turned):
        plain = run(scene, switched())[0].image
        settings = switched().model_copy(update={"flip": flip})
        np.testing.assert_array_equal(run(scene, settings)[0].image, turned(plain))

    def test_the_crop_comes_after_the_flip(self, scene):
        plain = run(scene, switched())[0].image
        cropped = run(scene, switched(flip=True, resize=True))[0].image
        np.testing.assert_array_equal(cropped, plain[::-1, ::-1][4:64, 10:94])

    def test_bad_pixels_lose_their_value(self, scene):
        plain, without = (run(scene, switched(badpix=on))[0] for on in (False, True))
        bad = scene[2]["raw"]["bad"] != 0
        assert np.isnan(without.image[bad]).all()
        np.testing.assert_array_equal(without.image[~bad], plain.image[~bad])

    def test_hot_pixels_are_repaired_and_bad_ones_with_them(self, scene):
        known, repaired = (run(scene, switched(badpix=True, hotpixels=on))[0].image for on in (False, True))
        bad = scene[2]["raw"]["bad"] != 0
        assert np.isfinite(repaired[bad]).sum() > 0.5 * bad.sum()
        assert known[20, 30] == 9000.0 * 60
        assert repaired[20, 30] < 1000.0 * 60

    def test_the_threshold_of_hot_pixels(self, scene):
        strict, lax = (
            run(scene, switched(hotpixels=True).model_copy(update={"hot_threshold": threshold}))[0].image
            for threshold in (10.0, 1e6)
        )
        assert lax[20, 30] == 9000.0 * 60
        assert strict[20, 30] != lax[20, 30]

    def test_the_number_of_background_passes(self, scene):
        once, often = (
            run(scene, switched(background=True).model_copy(update={"background_passes": passes}))[0].background
            for passes in (1, 5)
        )
        assert not np.array_equal(once.global_map, often.global_map)

    def test_bounds_are_applied_again_at_the_end(self, scene):
        unlit = scene[2]["raw"]["unlit"]
        inside = np.full(RAW, 3999.0, np.float32)
        # The dark is negative here: what was within the bounds before it is beyond them after it.
        result = calibrate(
            inside,
            EXPOSURE,
            DETECTOR,
            BACKGROUND,
            switched(bounds=True, dark=True),
            dark=np.where(np.arange(RAW[1]) < 5, -10, 0).astype(np.float32) * np.ones(RAW, np.float32),
            unlit=unlit,
        ).image
        assert np.isnan(result[:, :5]).all()
        assert np.isfinite(result[:, 5:]).all()


class TestBackgroundMaps:
    def test_with_scattered_light(self, scene):
        result, _ = run(scene, switched(background=True))
        maps = result.background
        np.testing.assert_array_equal(maps.original, scene[0] * np.float32(60.0))
        np.testing.assert_array_equal(maps.corrected, maps.original - maps.global_map)
        np.testing.assert_array_equal(result.image, maps.corrected)
        assert maps.local_map.shape == RAW
        assert maps.cells.shape == (len(range(16, 70, 16)), len(range(16, 96, 16)))

    def test_without_scattered_light_there_is_no_local_map(self, scene):
        plain = BACKGROUND.model_copy(update={"scattered_amplitude": 0.0})
        without = run(scene, switched(background=True), plain)[0].background
        having = run(scene, switched(background=True))[0].background
        assert without.local_map is None
        assert not np.array_equal(without.global_map, having.global_map)

    def test_the_scattered_map_only_cleans_the_unlit_pixels(self, scene):
        image = np.nan_to_num(scene[0])
        unlit = scene[2]["raw"]["unlit"]
        maps = subtract_background(image, unlit, BACKGROUND)
        cleaned = image - maps.local_map
        expected = background_twin.global_background(cleaned, unlit != 0, 16)
        np.testing.assert_allclose(image - maps.corrected, expected, atol=1e-3)

    def test_the_box_must_be_below_the_image(self, scene):
        with pytest.raises(ValueError, match="box = 70: must be at least 1 and below"):
            run(scene, switched(background=True), BACKGROUND.model_copy(update={"box": 70}))


class TestWithoutTheBackgroundKept:
    @pytest.mark.parametrize("switch", [None, "bounds", "background", "hotpixels"])
    def test_the_result_is_the_same(self, scene, switch):
        settings = switched(**dict.fromkeys(set(SWITCHES) - {switch}, True))
        image, dark, calibrations = scene
        kept, without = (
            calibrate(
                image,
                EXPOSURE,
                DETECTOR,
                BACKGROUND,
                settings,
                dark=dark,
                **calibrations["kept"],
                keep_background=keep,
            )
            for keep in (True, False)
        )
        assert without.background is None
        assert (kept.background is None) == (switch == "background")
        np.testing.assert_array_equal(without.image, kept.image)
        np.testing.assert_array_equal(without.saturated, kept.saturated)
        assert without.readnoise_e == kept.readnoise_e

    def test_the_kept_images_are_not_those_of_the_result(self, scene):
        result, _ = run(scene, switched(**dict.fromkeys(SWITCHES, True)))
        assert not np.shares_memory(result.image, result.background.corrected)
        np.testing.assert_array_equal(
            result.background.corrected, result.background.original - result.background.global_map
        )


def test_saturated_pixels_are_told_in_the_frame_of_the_result(scene):
    result, _ = run(scene, switched(flip=True, resize=True))
    # (20, 30) and (5, 11) of the raw image are above the limit, (40, 50) is below the lower one.
    expected = [[69 - 5 - 4, 95 - 11 - 10], [69 - 20 - 4, 95 - 30 - 10]]
    np.testing.assert_array_equal(result.saturated, [place for place in expected if place[0] < KEPT[0]])


class TestCalibrationsGiven:
    @pytest.mark.parametrize(
        ("missing", "message"),
        [("dark", "settings.dark is true, but no dark"), ("bad", "settings.badpix is true, but no bad-pixel map")],
    )
    def test_must_be_there_where_they_are_asked_for(self, scene, missing, message):
        image, dark, calibrations = scene
        given = {"dark": dark, **calibrations["kept"]} | {missing: None}
        with pytest.raises(ValueError, match=message):
            calibrate(image, EXPOSURE, DETECTOR, BACKGROUND, CalibrateSettings(), **given)

    def test_need_not_be_there_where_they_are_not(self, scene):
        image, _, calibrations = scene
        result = calibrate(image, EXPOSURE, DETECTOR, BACKGROUND, switched(), unlit=calibrations["raw"]["unlit"])
        assert result.image.shape == RAW

    def test_do_nothing_where_they_are_not_asked_for(self, scene):
        image, _, calibrations = scene
        without = calibrate(
            image, EXPOSURE, DETECTOR, BACKGROUND, switched(hotpixels=True), unlit=calibrations["raw"]["unlit"]
        )
        np.testing.assert_array_equal(run(scene, switched(hotpixels=True))[0].image, without.image)

    @pytest.mark.parametrize("name", ["dark", "bad", "unlit"])
    def test_must_have_their_shape(self, scene, name):
        image, dark, calibrations = scene
        given = {"dark": dark, **calibrations["kept"]}
        given[name] = given[name][:-1].copy()
        with pytest.raises(ValueError, match="shape"):
            calibrate(image, EXPOSURE, DETECTOR, BACKGROUND, CalibrateSettings(), **given)


def test_the_arrays_given_are_not_changed(scene):
    image, dark, calibrations = scene
    given = [image, dark, calibrations["kept"]["unlit"], calibrations["kept"]["bad"]]
    before = [array.copy() for array in given]
    run(scene, switched(**dict.fromkeys(SWITCHES, True)))
    run(scene, switched())
    calibrate(
        image,
        EXPOSURE,
        DETECTOR,
        BACKGROUND,
        CalibrateSettings(),
        dark=dark,
        **calibrations["kept"],
        keep_background=False,
    )
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)
