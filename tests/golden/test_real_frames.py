"""Real frames of a laboratory échelle: every order gives a blaze and a flat."""

import numpy as np
import pytest

from flatcore import run_night
from flatcore.spectra import Rung
from tests.conftest import copy_night, shared


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """The real night in default behaviour."""
    source = shared("data", "lhd_zyla")
    root = copy_night(source, tmp_path_factory.mktemp("lhd"))
    return run_night("2019-03-14", data_root=root, instrument=source / "instrument.toml").images[0]


def test_every_order_has_a_blaze_and_a_flat(laboratory):
    flat = laboratory.fibers["A"].flat
    assert flat.blaze.shape == (27, 2560)
    assert not any(fit.problem for fit in flat.fits)
    assert (np.isfinite(flat.blaze).mean(axis=1) > 0.7).all()
    assert np.isfinite(flat.rms).all()


def test_every_blaze_is_on_the_first_two_rungs(laboratory):
    fiber = laboratory.fibers["A"]
    assert all(fit.rung <= Rung.NO_CUBIC for fit in fiber.flat.fits)
    assert all(fit.loss == "linear" for fit in fiber.flat.fits)
    assert max(fit.misfit for fit in fiber.flat.fits) < 0.01
    assert not any(fiber.qc.words)
    # The faintest order has 25 times less noise from pixel to pixel than signal, which is near what its photons allow.
    faintest = fiber.diagnostics
    assert faintest.snr_measured[26] > 20
    assert (faintest.snr_ratio > 0.35).all()


def test_frames_agree(laboratory):
    assert [frame.words for frame in laboratory.frames] == ["", "", ""]
    assert max(abs(frame.level - 1) for frame in laboratory.frames) < 0.02


def test_bright_orders_are_flat(laboratory):
    fiber = laboratory.fibers["A"]
    bright = np.argsort(fiber.spectra.snr)[-9:]
    assert fiber.spectra.snr[bright].min() > 220
    assert (fiber.flat.rms[bright] < 0.012).all()


def test_blaze_times_flat_is_the_spectrum(laboratory):
    flat = laboratory.fibers["A"].flat
    both = flat.blaze * flat.flat
    finite = np.isfinite(both) & np.isfinite(flat.e2ds)
    assert finite.any()
    np.testing.assert_allclose(both[finite], flat.e2ds[finite], rtol=1e-12)
