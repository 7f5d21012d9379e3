"""The model of all orders on whole nights: against the truth of simulated ones, and against a real night's own fits."""

import numpy as np
import pytest
from astropy.io import fits

from flatcore import CalibrationDatabase, load_profile, run_night
from flatcore.blaze import fit_orders
from flatcore.instrument import load_profile as profile_of
from flatcore.settings import BlazeSettings
from flatcore.simulate import SimulationOptions, simulate_night
from flatcore.spectra import Rung
from tests.conftest import copy_night, shared
from tests.grating import apart

OBS_DIR = "2020-08-31"
SMALL = load_profile("SMALL")


@pytest.fixture(scope="module", params=[41, 42])
def faint_night(request, tmp_path_factory):
    """A simulated night of S/N 1 to 5 in a column, and its truth."""
    root = tmp_path_factory.mktemp(f"faint{request.param}")
    night = simulate_night(root, SimulationOptions(profile=SMALL, seed=request.param, signal=100.0, frames=4))
    CalibrationDatabase.open(root).add_files(night.calibrations)
    return root, np.load(night.truth)


def ran(root, model, **changes):
    return run_night(OBS_DIR, data_root=root, settings={"blaze": {"model": model}} | changes)


def test_a_night_of_faint_orders(faint_night):
    root, truth = faint_night
    unsaved = {"output": {"save": False}}
    own, jointly = (ran(root, model, **unsaved).images[0] for model in ("order", "global"))
    errors = {"own": [], "global": []}
    for fiber in ("AB", "A", "B", "C"):
        assert 0.5 < np.median(own.fibers[fiber].spectra.snr) < 6
        assert {fit.rung for fit in jointly.fibers[fiber].flat.fits} == {Rung.GLOBAL}
        for name, image in (("own", own), ("global", jointly)):
            found = image.fibers[fiber].flat.fits
            errors[name] += [apart(fit.blaze, true) for fit, true in zip(found, truth[f"blaze_{fiber}"], strict=True)]
    # At this level the background that is left has its part in every blaze, which no model takes out.
    assert np.median(errors["global"]) < 0.97 * np.nanmedian(errors["own"])
    assert np.max(errors["global"]) < np.nanmax(errors["own"])


@pytest.mark.parametrize("seed", [43, 44])
def test_simulated_orders_made_faint(seed, tmp_path):
    """All orders drowned in noise: blazes that are no grating's, rough functions of nine orders, are the worst case."""
    night = simulate_night(tmp_path, SimulationOptions(profile=SMALL, seed=seed, frames=3))
    CalibrationDatabase.open(tmp_path).add_files(night.calibrations)
    truth, image = np.load(night.truth), ran(tmp_path, "order", output={"save": False}).images[0]
    rng = np.random.default_rng(seed)
    errors = {"order": [], "global": []}
    for name, fiber in image.fibers.items():
        true = truth[f"blaze_{name}"]
        flux, error = fiber.spectra.e2ds, fiber.spectra.e2ds_error
        noise = np.nanmax(fiber.flat.blaze, axis=1, keepdims=True) / 2.5 * np.ones(flux.shape[1])
        faint, scatter = flux + rng.normal(0.0, noise), np.hypot(error, noise)
        for model, found in errors.items():
            fits_of_model = fit_orders(faint, SMALL.blaze, BlazeSettings(model=model), 2, errors=scatter)
            found += [apart(fit.blaze, row) for fit, row in zip(fits_of_model, true, strict=True)]
    assert np.median(errors["global"]) < 0.85 * np.nanmedian(errors["order"])
    assert np.max(errors["global"]) < np.nanmax(errors["order"])


def test_products_hold_the_comparison(small_night, tmp_path):
    for part in ("tmp", "calib"):
        (tmp_path / part).symlink_to(small_night / part)
    result = run_night(
        OBS_DIR, data_root=tmp_path, settings={"blaze": {"model": "global"}, "output": {"database": False}}
    )
    assert result.passed
    for fiber in result.images[0].fibers.values():
        path = next(p.path for p in result.products if (p.kind, p.fiber) == ("FF_BLAZE", fiber.flat.fiber))
        with fits.open(path) as hdus:
            table, parameters = hdus["GLOBAL_BLAZE"].data, hdus["BLAZEPAR"].data
            blaze, e2ds = hdus["BLAZE"].data, hdus["E2DS"].data
        with fits.open(str(path).replace("_blaze_", "_flat_")) as hdus:
            flat = hdus["FLAT"].data
        assert set(parameters["RUNG_NAME"]) == {"global"}
        assert (parameters["RUNG"] == 0).all()
        assert table["USED"].all()
        assert table["TAKES_PART"].all()
        assert set(table["OWN_RUNG_NAME"]) <= {"full", "no-cubic"}
        for name in ("AMPLITUDE", "PERIOD", "CENTRE", "QUADRATIC", "CUBIC", "SLOPE"):
            np.testing.assert_array_equal(table[name], parameters[name])
        compared = [fit.compared for fit in fiber.flat.fits]
        np.testing.assert_array_equal(table["RATIO_RMS"], [one.rms for one in compared])
        # Bright orders' own blazes are met within a fraction of a per cent.
        assert np.median(table["RATIO_RMS"]) < 0.004
        finite = np.isfinite(blaze) & np.isfinite(flat)
        assert finite.mean() > 0.9
        np.testing.assert_allclose((blaze * flat)[finite], e2ds[finite], rtol=1e-12)
        assert not any(fiber.qc.words)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    source = shared("data", "lhd_zyla")
    root = copy_night(source, tmp_path_factory.mktemp("lhd"))
    image = run_night(
        "2019-03-14",
        data_root=root,
        instrument=source / "instrument.toml",
        settings={"blaze": {"model": "global"}, "output": {"save": False}},
    ).images[0]
    return image.fibers["A"], profile_of(source / "instrument.toml")


def test_real_orders_and_the_model(laboratory):
    fiber, _ = laboratory
    compared = [fit.compared for fit in fiber.flat.fits]
    assert {fit.rung for fit in fiber.flat.fits} == {Rung.GLOBAL}
    assert {one.own_rung for one in compared} <= {Rung.FULL, Rung.NO_CUBIC}
    assert np.median([one.rms for one in compared]) < 0.0125
    assert max(one.rms for one in compared) < 0.04
    # P goes with 1/m: the numbers are those of an échelle, and the lamp's spectrum tells the amplitudes.
    assert 20 < compared[0].number < 45
    assert np.abs(np.log([one.lamp / one.parameters[0] for one in compared])).max() < 0.03
    np.testing.assert_allclose(fiber.flat.blaze * fiber.flat.flat, fiber.flat.e2ds, rtol=1e-12)


@pytest.mark.parametrize("snr", [1.0, 2.0, 4.0])
def test_real_orders_made_faint(laboratory, snr):
    """Every fourth order is drowned in noise; what it is held to is its own blaze before."""
    fiber, profile = laboratory
    rng = np.random.default_rng(71)
    flux, errors = fiber.spectra.e2ds.copy(), fiber.spectra.e2ds_error.copy()
    faint = range(2, 26, 4)
    for order in faint:
        noise = np.nanmax(fiber.flat.fits[order].compared.own_blaze) / snr
        flux[order] += rng.normal(0.0, noise, flux[order].size)
        errors[order] = np.hypot(errors[order], noise)
    alone, jointly = (
        fit_orders(
            flux, profile.blaze, BlazeSettings(model=model), 2, errors=errors, lost=fiber.spectra.coverage < 0.99
        )
        for model in ("order", "faint-global")
    )
    bright = [fiber.flat.fits[order].compared.own_blaze for order in faint]
    own = [apart(alone[order].blaze, true) for order, true in zip(faint, bright, strict=True)]
    found = [apart(jointly[order].blaze, true) for order, true in zip(faint, bright, strict=True)]
    assert {jointly[order].rung for order in faint} == {Rung.GLOBAL}
    assert np.max(found) < 0.03
    assert np.median(found) < (0.5 if snr < 3 else 0.8) * np.nanmedian(own)
