"""Frames held to the combined image: lamps that drift, shutters that stick."""

import numpy as np
import pytest
from astropy.io import fits

from flatcore.combine import combine
from flatcore.fitsio import open_image
from flatcore.images import Exposure
from flatcore.results import FrameCheck
from flatcore.settings import CombineSettings
from flatcore.stability import check_frames, drift

ROWS, COLUMNS = 240, 300
LIMIT = 0.05
EXPOSURE = Exposure(exptime_s=60.0, frame_time_s=5.0, readnoise_e=5.0, gain=1.0, saturation_adu=60000.0)


def scene():
    """Bright orders on a dark ground [ADU/s]."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    orders = np.exp(-0.5 * (((y - 0.03 * x) % 24 - 12) / 3) ** 2)
    return 2.0 + 400.0 * orders * np.sin(np.pi * (x + 20) / (COLUMNS + 40))


def checked(tmp_path, scenes):
    """Frames of the scenes with photon noise, and how each compares."""
    frames = []
    for i, light in enumerate(scenes):
        rng = np.random.default_rng(i)
        header = fits.Header([("MJDMID", 59000.0 + i / 1000), ("EXPTIME", 60.0), ("MJDEND", 59000.0 + i / 1000)])
        path = tmp_path / f"f{i}_pp.fits"
        noisy = np.where(np.isnan(light), np.nan, rng.poisson(np.clip(np.nan_to_num(light), 0, None) * 60) / 60)
        noisy += rng.normal(0, 0.1, light.shape)
        fits.PrimaryHDU(noisy.astype(np.float32), header).writeto(path)
        frames.append(open_image(path))
    return check_frames(frames, combine(frames, EXPOSURE, CombineSettings()), LIMIT)


def test_equal_frames(tmp_path):
    found = checked(tmp_path, [scene()] * 5)
    assert [frame.name for frame in found] == [f"f{i}_pp.fits" for i in range(5)]
    np.testing.assert_allclose([frame.level for frame in found], 1.0, atol=2e-3)
    assert max(frame.spread for frame in found) < 0.01
    assert not any(frame.words for frame in found)
    assert abs(drift(found)) < 2e-3


def test_levels_are_measured_though_each_frame_is_some_pixels_median(tmp_path):
    levels = np.array([0.99, 0.995, 1.0, 1.005, 1.01])
    found = checked(tmp_path, [2.0 + (scene() - 2.0) * level for level in levels])
    np.testing.assert_allclose([frame.level for frame in found], levels, atol=2e-3)
    assert drift(found) == pytest.approx(0.02, abs=3e-3)


def test_a_lamp_at_another_level(tmp_path):
    found = checked(tmp_path, [scene()] * 4 + [scene() * 0.9])
    assert found[4].level == pytest.approx(0.9, abs=5e-3)
    assert found[4].words == f"its level is {found[4].level:.3f} of the combined one"
    assert not any(frame.words for frame in found[:4])


def test_a_shutter_that_stuck(tmp_path):
    found = checked(tmp_path, [scene()] * 4 + [np.full((ROWS, COLUMNS), 2.0)])
    assert abs(found[4].level) < 0.01
    assert "the shutter stuck, or the lamp was off" in found[4].words
    # It says nothing of the lamp's drift.
    assert abs(drift(found)) < 3e-3


def test_a_shutter_that_stuck_half_way(tmp_path):
    half = scene()
    half[:, COLUMNS // 2 :] = 2.0
    found = checked(tmp_path, [scene()] * 4 + [half])
    assert found[4].words.startswith("part of the image has no light")


def test_a_frame_without_a_value(tmp_path):
    found = checked(tmp_path, [scene()] * 4 + [np.full((ROWS, COLUMNS), np.nan)])
    assert found[4].words == "no lit pixel has a value"
    assert not any(frame.words for frame in found[:4])


def test_half_a_frame_without_a_value(tmp_path):
    half = scene()
    half[:, COLUMNS // 2 :] = np.nan
    found = checked(tmp_path, [scene()] * 4 + [half])
    assert found[4].words.startswith("part of the image has no light")


def test_much_more_light_in_a_part_is_not_told_as_less(tmp_path):
    more = scene()
    more[: ROWS // 4, : COLUMNS // 4] *= 1.8
    found = checked(tmp_path, [scene()] * 4 + [more])
    assert found[4].words.startswith("its light is distributed otherwise: a part of the image departs by +0.")


def test_light_that_is_distributed_otherwise(tmp_path):
    tilted = scene() * (1 + 0.3 * (np.arange(COLUMNS) / COLUMNS - 0.5))
    found = checked(tmp_path, [scene()] * 4 + [tilted])
    assert found[4].spread > 0.08
    assert "its light is distributed otherwise" in found[4].words
    assert not any(frame.words for frame in found[:4])


def test_a_single_frame_is_held_to_nothing(tmp_path):
    assert checked(tmp_path, [scene()]) == ()


def test_frames_without_light_at_all(tmp_path):
    found = checked(tmp_path, [np.full((ROWS, COLUMNS), 2.0)] * 3)
    # What is lit then is the noise's upper end: no frame stands out by it for sure, and none is an error.
    assert len(found) == 3


def test_no_drift_without_time():
    frames = [FrameCheck(f"{i}", 1.0, 1.0 + i / 10, 0.0, "") for i in range(4)]
    assert np.isnan(drift(frames))
    assert np.isnan(drift(frames[:2]))
