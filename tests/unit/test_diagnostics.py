"""Figures of an order: noise against the photons, chi^2, fringes."""

from types import SimpleNamespace

import numpy as np
import pytest

from flatcore.diagnostics import diagnose, fringe, pixel_scatter
from flatcore.spectra import Rung

COLUMNS = 2000
X = np.arange(COLUMNS)


def order(scatter=0.01, electrons=1e4, extra=0.0, seed=1):
    """Records of one order, whose flat has a scatter and a wave."""
    rng = np.random.default_rng(seed)
    blaze = electrons * np.sinc((X - 1000) / 1500) ** 2
    flat = rng.normal(1, scatter, COLUMNS) + extra
    fit = SimpleNamespace(rung=Rung.FULL, fitted=np.ones(COLUMNS, bool))
    planes = {"e2ds": (blaze * flat)[None], "blaze": blaze[None], "flat": flat[None], "fits": (fit,)}
    return SimpleNamespace(e2ds_error=scatter * blaze[None]), SimpleNamespace(**planes)


def test_signal_to_noise_and_chi2():
    found = diagnose(*order(scatter=0.01), frames=1)
    assert found.chi2[0] == pytest.approx(1.0, abs=0.1)
    assert found.snr_measured[0] == pytest.approx(100, rel=0.08)
    # Where the blaze is above half its maximum there are 5000 to 10 000 electrons a column.
    assert 71 < found.snr_photon[0] < 100
    assert found.snr_ratio[0] == pytest.approx(found.snr_measured[0] / found.snr_photon[0])
    assert found.residual_rms[0] == pytest.approx(0.01 * np.sqrt(np.mean(np.sinc((X - 1000) / 1500) ** 4)), rel=0.05)


def test_the_photons_of_all_frames_count():
    single, many = (diagnose(*order(), frames=frames).snr_photon[0] for frames in (1, 9))
    assert many == pytest.approx(3 * single)


@pytest.mark.parametrize("period", [7.3, 23.0, 80.0])
def test_fringes(period):
    found = diagnose(*order(extra=0.02 * np.sin(2 * np.pi * X / period)), frames=1)
    assert found.fringe_amplitude[0] == pytest.approx(0.02, rel=0.1)
    assert found.fringe_period[0] == pytest.approx(period, rel=0.02)
    assert found.fringe_chance[0] < 1e-10


def test_fringes_among_missing_columns():
    values = 0.02 * np.sin(2 * np.pi * X / 31.0) + np.random.default_rng(2).normal(0, 0.01, COLUMNS)
    values[400:700] = np.nan
    values[::17] = np.nan
    amplitude, period, chance = fringe(values)
    assert amplitude == pytest.approx(0.02, rel=0.1)
    assert period == pytest.approx(31.0, rel=0.03)
    assert chance < 1e-10


def test_noise_alone_is_no_fringe():
    rng = np.random.default_rng(4)
    chances = [fringe(rng.normal(0, 0.01, COLUMNS))[2] for _ in range(200)]
    # The chance that noise makes one as strong is uniform for noise alone, about.
    assert 0.02 < np.mean(np.array(chances) < 0.1) < 0.25
    assert np.mean(np.array(chances) < 0.001) < 0.02


@pytest.mark.parametrize("values", [np.full(COLUMNS, np.nan), np.zeros(3), np.array([]), np.sin(np.arange(81))])
def test_too_little_for_fringes(values):
    assert np.isnan(fringe(values)).all()


def test_a_constant_flat_has_none():
    assert fringe(np.zeros(COLUMNS))[0] == 0.0


def test_pixel_scatter_knows_no_slope():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.01, COLUMNS)
    assert pixel_scatter(noise + 0.001 * X) == pytest.approx(0.01, rel=0.05)
    assert np.isnan(pixel_scatter(np.array([1.0, 2.0])))


def test_an_order_without_a_flat():
    spectra, flat = order()
    for plane in (flat.e2ds, flat.blaze, flat.flat):
        plane[:] = np.nan
    found = diagnose(spectra, flat, frames=3)
    for name in ("chi2", "residual_rms", "snr_measured", "snr_photon", "snr_ratio", "fringe_amplitude"):
        assert np.isnan(getattr(found, name)).all()
