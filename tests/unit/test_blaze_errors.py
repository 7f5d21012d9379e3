"""The error of a blaze: many orders of one truth scatter by what it says."""

import numpy as np
import pytest

from flatcore import _core
from flatcore.blaze import fit_blaze, sinc2
from flatcore.blaze.noise import long_run_variance, running_median_inefficiency
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import Rung

COLUMNS = 1080
X = np.arange(COLUMNS, dtype=float)
TRUTH = sinc2(X, np.array([5e4, 2400.0, 530.0, 2e-5, 0.0, 5e-5]))[0]


def pulls(noise, settings=BlazeSettings(), count=60, width=25):  # noqa: B008 - frozen
    """(blaze - truth) / error of many orders, each with its own noise."""
    found = []
    for seed in range(count):
        order = TRUTH + noise(np.random.default_rng(seed))
        fit = fit_blaze(order, Blaze(median_width=width), settings, error=np.sqrt(TRUTH + 25.0))
        assert fit.rung is (Rung.FULL if settings.cubic else Rung.NO_CUBIC)
        found.append((fit.blaze - TRUTH) / fit.blaze_error)
    return np.stack(found)


def photons(rng):
    return rng.poisson(TRUTH) - TRUTH


def response(rng):
    return TRUTH * rng.normal(0, 0.01, COLUMNS)


def waves(rng):
    """Response with waves of 50 columns of random phases, which a smooth blaze averages out."""
    wave = 0.005 * np.sin(2 * np.pi * (X / rng.uniform(40, 60) + rng.random()))
    return TRUTH * (wave + rng.normal(0, 0.004, COLUMNS))


def smoothed(rng):
    """Neighbours share noise, as the straightening's spline makes them."""
    noise = rng.normal(0, 0.01, COLUMNS + 2)
    return TRUTH * (0.25 * noise[:-2] + 0.5 * noise[1:-1] + 0.25 * noise[2:])


@pytest.mark.parametrize("noise", [photons, response, smoothed])
def test_pulls(noise):
    found = pulls(noise)
    assert 0.85 < found.std() < 1.15
    assert 0.60 < np.mean(np.abs(found) < 1) < 0.76


def test_strong_waves_are_taken_for_noise_in_part():
    assert 0.7 < pulls(waves).std() < 1.05


@pytest.mark.parametrize(
    "settings",
    [BlazeSettings(cubic=False), BlazeSettings(weights="noise"), BlazeSettings(loss="soft_l1")],
    ids=["no-cubic", "noise", "soft_l1"],
)
def test_pulls_of_every_kind_of_fit(settings):
    assert 0.85 < pulls(photons, settings, count=40).std() < 1.15


def test_pulls_do_not_depend_on_the_filter():
    assert 0.85 < pulls(photons, width=1).std() < 1.15
    assert 0.85 < pulls(photons, width=51).std() < 1.15


def test_of_a_perfect_order_there_is_none():
    fit = fit_blaze(TRUTH, Blaze(), BlazeSettings())
    assert (fit.blaze_error < 1e-3 * TRUTH).all()


class TestVariance:
    def test_of_white_noise(self):
        rng = np.random.default_rng(1)
        found = np.mean([long_run_variance(rng.normal(0, 3, 4000), 1).mean() for _ in range(20)])
        assert found == pytest.approx(9.0, rel=0.12)

    def test_follows_the_local_scatter(self):
        rng = np.random.default_rng(1)
        sigma = np.linspace(1, 5, 6000)
        found = np.sqrt(long_run_variance(rng.normal(0, sigma), 1))
        np.testing.assert_allclose(found[500:-500], sigma[500:-500], rtol=0.25)

    def test_of_correlated_noise(self):
        rng = np.random.default_rng(2)
        white = rng.normal(0, 1, 8004)
        # Means of five: each has a fifth of the variance, and a mean over many has that of the white ones.
        smooth = np.convolve(white, np.full(5, 0.2), "valid")
        assert long_run_variance(smooth, 1).mean() == pytest.approx(1.0, rel=0.4)

    def test_outliers_and_gaps_do_not_matter(self):
        rng = np.random.default_rng(3)
        noise = rng.normal(0, 1, 4000)
        noise[::97] = 1e6
        noise[1000:1100] = np.nan
        assert long_run_variance(noise, 1).mean() == pytest.approx(1.0, rel=0.3)

    @pytest.mark.parametrize("residual", [np.zeros(50), np.full(50, np.nan), np.zeros(1), np.zeros(0)])
    def test_of_nothing(self, residual):
        np.testing.assert_array_equal(long_run_variance(residual, 25), np.zeros(residual.size))

    def test_what_a_median_costs(self):
        rng = np.random.default_rng(4)
        terms = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, COLUMNS), 5))[0]
        for width in (5, 25):
            kept = slice(width, -width)
            found = [
                terms[kept].T @ _core.running_nan_median(rng.normal(size=COLUMNS), width)[kept] for _ in range(800)
            ]
            assert running_median_inefficiency(width) == pytest.approx(np.var(found, axis=0).mean(), rel=0.12)
        assert running_median_inefficiency(1) == 1.0

    def test_what_fitted_terms_take_away_is_given_back(self):
        rng = np.random.default_rng(5)
        terms = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, COLUMNS), 5))[0]
        noise = rng.normal(size=(300, COLUMNS))
        left = [long_run_variance(row - terms @ (terms.T @ row), 1, 6).mean() for row in noise]
        assert np.mean(left) == pytest.approx(1.0, rel=0.1)
