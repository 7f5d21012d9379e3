"""Real frames of a laboratory échelle, bootstrapped: as good as with the calibrations that came with them."""

import shutil

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from flatcore import run_night
from flatcore.bootstrap import BootstrapRequest, bootstrap
from flatcore.fitsio import read_header
from flatcore.localisation import read_traces
from tests.conftest import copy_night, shared

OBS_DIR = "2019-03-14"
NOT_SAVED = {"output": {"save": False}}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Fibre A with the given and with its own calibrations, and the traces of both."""
    source = shared("data", "lhd_zyla")
    profile = source / "instrument.toml"
    given = copy_night(source, tmp_path_factory.mktemp("given"))
    bare = tmp_path_factory.mktemp("bare")
    shutil.copytree(given / "tmp", bare / "tmp")
    dark = {"DARKREF": (str(source / "calib" / "lhd_dark_ref.fits"),)}
    result = bootstrap(BootstrapRequest(OBS_DIR, bare, instrument=profile, calibration_files=dark))
    fibers, traces = [], []
    for root, pattern in ((given, "lhd_loco_A.fits"), (bare, "*_loco_A.fits")):
        night = run_night(OBS_DIR, data_root=root, instrument=profile, settings=NOT_SAVED)
        fibers.append(night.images[0].fibers["A"])
        (path,) = (root / "calib").glob(pattern)
        coefficients = read_traces(read_header(path), path)
        columns = np.arange(2560)
        traces.append(chebyshev.chebval(2 * columns / columns.size - 1, coefficients.T))
    return result, fibers, traces


@pytest.fixture(scope="module")
def matched(nights):
    """For every given order its number among the bootstrapped ones."""
    given, own = nights[2]
    middle = given.shape[1] // 2
    distance = np.abs(own[:, middle] - given[:, middle, None])
    assert distance.min(axis=1).max() < 1
    return distance.argmin(axis=1)


def test_all_orders_are_found(nights, matched):
    given, own = nights[2]
    assert len(given) == 27
    assert len(own) >= 27
    assert sorted(set(matched)) == matched.tolist()


def test_traces_are_those_given_where_orders_are_bright(nights, matched):
    _, (reference, _), (given, own) = nights
    for order, match in enumerate(matched):
        blaze = reference.flat.blaze[order]
        bright = blaze > 0.5 * np.nanmax(blaze)
        assert np.abs(own[match] - given[order])[bright].max() < 0.3, order


def test_flats_are_as_flat(nights, matched):
    _, (reference, own), _ = nights
    ratio = own.flat.rms[matched] / reference.flat.rms
    assert ratio.max() <= 1.1
    assert np.median(ratio) < 1.02
    usable = [np.isfinite(fiber.flat.flat).mean(axis=1) for fiber in (reference, own)]
    assert (usable[1][matched] > usable[0] - 0.005).all()


def test_orders_are_straight(nights):
    result = nights[0]
    # Below the lowest order there is one that leaves the detector.
    assert all("crosses the middle off the detector" in text for text in result.warnings)
    shape = next(one for one in result.made if one.keyname == "SHAPEY")
    assert shape.numbers["left_out"] == []
    assert shape.numbers["rms"] < 0.1


def test_few_pixels_are_bad_and_the_gaps_are_unlit(nights):
    numbers = {one.keyname: one.numbers for one in nights[0].made}
    assert numbers["BADPIX"]["share"] < 0.001
    assert 0.15 < numbers["BKGRDMAP"]["share"] < 0.35
