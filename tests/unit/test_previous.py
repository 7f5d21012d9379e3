"""Tonight's flat and blaze against the latest earlier night's in the database."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from flatcore import CalibrationDatabase, load_profile, run_night
from flatcore.previous import EarlierNights, Previous, changes
from flatcore.simulate import SimulationOptions, simulate_night

COLUMNS = 600


def of(flat, blaze):
    return SimpleNamespace(flat=flat, blaze=blaze)


class TestChanges:
    def night(self, seed, scatter=0.001):
        rng = np.random.default_rng(seed)
        blaze = np.tile(1e4 * np.sinc((np.arange(COLUMNS) - 300) / 500) ** 2, (2, 1))
        response = 1 + 0.01 * np.random.default_rng(0).normal(size=(2, COLUMNS))
        return response + rng.normal(0, scatter, (2, COLUMNS)), blaze

    def test_the_same_response_with_other_noise(self):
        found = changes(of(*self.night(1)), Previous("old.fits", 1.0, *self.night(2)))
        np.testing.assert_allclose(found.flat, 0.001 * np.sqrt(2), rtol=0.15)
        np.testing.assert_allclose(found.blaze, 0.0, atol=1e-12)
        np.testing.assert_allclose(found.level, 1.0)
        assert (found.name, found.age_days) == ("old.fits", 1.0)

    def test_another_response(self):
        flat, blaze = self.night(1)
        flat[1] += 0.03 * np.random.default_rng(7).normal(size=COLUMNS)
        found = changes(of(flat, blaze), Previous("old.fits", 1.0, *self.night(2)))
        assert found.flat[0] < 0.002
        assert found.flat[1] > 0.02

    def test_another_lamp_is_a_level_and_no_change(self):
        flat, blaze = self.night(1)
        found = changes(of(flat, 0.7 * blaze), Previous("old.fits", 1.0, *self.night(2)))
        np.testing.assert_allclose(found.level, 0.7)
        np.testing.assert_allclose(found.blaze, 0.0, atol=1e-12)

    def test_another_unit_says_nothing_of_the_lamp(self):
        found = changes(of(*self.night(1)), Previous("old.fits", 1.0, *self.night(2), unit="adu / s"))
        assert np.isnan(found.level).all()
        assert np.isfinite(found.blaze).all()

    def test_another_shape(self):
        flat, blaze = self.night(1)
        found = changes(
            of(flat, blaze * (1 + 0.1 * np.linspace(-1, 1, COLUMNS))), Previous("old.fits", 1.0, *self.night(2))
        )
        np.testing.assert_allclose(found.blaze, 0.095, rtol=0.02)

    def test_an_order_without_a_flat(self):
        flat, blaze = self.night(1)
        flat[0] = blaze[0] = np.nan
        found = changes(of(flat, blaze), Previous("old.fits", 1.0, *self.night(2)))
        assert np.isnan([found.flat[0], found.blaze[0], found.level[0]]).all()
        assert np.isfinite([found.flat[1], found.blaze[1], found.level[1]]).all()

    def test_of_another_shape_nothing_is_said(self):
        flat, blaze = self.night(1)
        assert changes(of(flat[:, :-1], blaze[:, :-1]), Previous("old.fits", 1.0, *self.night(2))) is None


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """A data root with two nights of one detector, the first of which has been run."""
    root = tmp_path_factory.mktemp("nights")
    profile = load_profile("SMALL")
    options = {"profile": profile, "seed": 5, "frames": 3}
    first = simulate_night(root, SimulationOptions(**options))
    CalibrationDatabase.open(root).add_files(first.calibrations)
    other = tmp_path_factory.mktemp("second")
    simulate_night(other, SimulationOptions(**options, obs_dir="2020-09-01", mjd=59093.9))
    shutil.copytree(other / "tmp" / "2020-09-01", root / "tmp" / "2020-09-01")
    run_night("2020-08-31", data_root=root)
    return root


def test_the_first_night_has_none(two_nights):
    result = run_night("2020-08-31", data_root=two_nights, settings={"output": {"save": False}})
    fiber = result.images[0].fibers["AB"]
    assert fiber.change is None
    assert "flat_change" not in [check.name for check in fiber.qc.checks]


def test_the_second_night_is_held_to_the_first(two_nights):
    result = run_night("2020-09-01", data_root=two_nights, settings={"output": {"save": False}})
    for name, fiber in result.images[0].fibers.items():
        assert fiber.change.name.endswith(f"_flat_{name}.fits")
        assert fiber.change.age_days == pytest.approx(1.0, abs=0.01)
        checks = {check.name: check for check in fiber.qc.checks}
        # The same seed: the same detector and lamp, and the same noise.
        assert checks["flat_change"].passed and checks["flat_change"].value < 0.01
        assert checks["blaze_change"].passed


def test_a_flat_that_is_gone_is_told(two_nights, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(two_nights, root)
    for path in (root / "calib").glob("*_flat_AB.fits"):
        path.unlink()
    found, notice = EarlierNights.of(CalibrationDatabase.open(root), 59093.9, 7.0).latest("AB")
    assert found is None
    assert "fibre AB: the previous night's flat cannot be compared" in notice
    assert "_flat_AB.fits: missing" in notice


def test_the_age_is_limited(two_nights):
    database = CalibrationDatabase.open(two_nights)
    assert EarlierNights.of(database, 59093.9, 7.0).latest("AB")[0] is not None
    assert EarlierNights.of(database, 59093.9, 7.0).latest("Z") == (None, "")
    assert EarlierNights.of(database, 59093.9 + 7.5, 7.0).latest("AB") == (None, "")


def test_without_a_database_there_is_nothing_to_tell(tmp_path):
    assert EarlierNights.of(CalibrationDatabase.open(tmp_path), 59093.9, 7.0).latest("AB") == (None, "")


def test_a_database_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "flatcore.db").write_text("no database")
    found, notice = EarlierNights.of(CalibrationDatabase.open(tmp_path), 59093.9, 7.0).latest("AB")
    assert found is None
    assert "cannot be compared" in notice and "flatcore.db" in notice
