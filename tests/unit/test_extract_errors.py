"""Errors of spectra, from the noise of a frame on: combining, straightening, extraction, and the choice of pixels."""

import numpy as np
import pytest

from flatcore.combine import combine_frames, relative_variance
from flatcore.extract import OnDetector, extract
from flatcore.images import Transform
from flatcore.instrument import Fiber
from flatcore.settings import ExtractSettings
from flatcore.straighten import straighten
from tests.twins import noise

FIBER = Fiber(channel=0, localisation="A", below=8, above=8)
SHAPE = (61, 400)


class TestCombining:
    @pytest.mark.parametrize("count", [3, 4, 5, 8])
    @pytest.mark.parametrize("electrons", [4.0, 40.0, 4000.0])
    @pytest.mark.parametrize("method", ["median", "mean", "clipped"])
    def test_variance_of_photon_noise_is_that_of_normal_noise(self, method, count, electrons):
        """Poisson numbers are skewed and whole; with the read noise on them the normal figure holds all the same."""
        rng = np.random.default_rng(count)
        shape, readnoise = (300, 400), 3.0
        frames = [rng.poisson(electrons, shape) + rng.normal(0, readnoise, shape) for _ in range(count)]
        combined = combine_frames([frame.astype(np.float32) for frame in frames], method, 5.0, 1.0, readnoise)
        expected = (electrons + readnoise**2) * relative_variance(method, count)
        assert combined.astype(float).var() == pytest.approx(expected, rel=0.03)

    @pytest.mark.parametrize("method", ["median", "mean", "clipped"])
    def test_a_lamp_that_drifts_by_a_percent_changes_nothing(self, method):
        rng = np.random.default_rng(2)
        levels = 5000.0 * np.array([0.99, 0.995, 1.0, 1.005, 1.01])
        frames = [rng.poisson(level, (300, 400)).astype(np.float32) for level in levels]
        combined = combine_frames(frames, method, 5.0, 1.0, 0.0).astype(float)
        # The median follows the frames it falls on, which are nearer the middle: a little less than its variance.
        expected = 5000.0 * relative_variance(method, 5)
        assert 0.9 * expected < combined.var() < 1.2 * expected


def moved(dx, slant):
    """A shift along the order, and a slant of the slit; every column keeps the same phase where it is 0."""
    y = np.indices(SHAPE)[0]
    nothing = np.zeros(SHAPE, np.float32)
    return Transform((dx, 0.3, 1.0, 0.0, 0.0, 1.0), (slant * (y - 30)).astype(np.float32), nothing)


class TestStraightening:
    @pytest.mark.parametrize("dx", [0.0, 0.2, 0.5])
    @pytest.mark.parametrize("slant", [0.0, 0.03])
    def test_smooths_what_is_summed_over_an_order(self, dx, slant):
        """Along the order noise is smoothed; across it what one row loses another gains."""
        transform = moved(dx, slant)
        image = np.random.default_rng(4).normal(0, 1, (200, *SHAPE)).astype(np.float32)
        sums = np.array([straighten(one, transform)[20:41, 5:-5].sum(axis=0) for one in image])
        expected = noise.smoothing(transform.linear, transform.dxmap, transform.dymap)[20:41, 5:-5].mean()
        # The rows at the window's edges share noise with those outside: two halves of 21 rows.
        assert sums.var() / 21 == pytest.approx(expected, rel=0.06)

    @pytest.mark.parametrize(("dx", "correlation"), [(0.0, 0.0), (0.25, 0.111), (0.5, 0.314)])
    def test_makes_neighbouring_columns_alike(self, dx, correlation):
        transform = moved(dx, 0.0)
        image = np.random.default_rng(5).normal(0, 1, (60, *SHAPE)).astype(np.float32)
        sums = np.array([straighten(one, transform)[20:41, 5:-5].sum(axis=0) for one in image])
        found = (sums[:, 1:] * sums[:, :-1]).mean() / sums.var()
        assert found == pytest.approx(correlation, abs=0.03)


@pytest.mark.parametrize("method", ["optimal", "horne", "direct"])
@pytest.mark.parametrize("dx", [0.0, 0.5])
@pytest.mark.parametrize("flux", [300.0, 30000.0])
def test_errors_are_the_scatter(method, dx, flux):
    """An order whose profile and light are known, straightened and extracted fifty times."""
    rng = np.random.default_rng(6)
    transform = moved(dx, 0.02)
    y = np.indices(SHAPE)[0]
    profile = np.exp(-0.5 * ((y - 30.4) / 2.5) ** 2).astype(np.float32)
    light = flux * profile / profile[:, 0].sum()
    straight_profile = straighten(profile, transform)

    def spectrum(image):
        return extract(
            "A", straighten(image, transform), straight_profile, [(22, 17)], FIBER, ExtractSettings(method=method),
            transform=transform, on_detector=OnDetector(image, profile), readnoise_e=4.0, gain=1.0,
        )  # fmt: skip

    found = [spectrum((rng.poisson(light) + rng.normal(0, 4.0, SHAPE)).astype(np.float32)) for _ in range(50)]
    columns = slice(5, -5)
    pulls = np.array([(one.e2ds[0] - flux) / one.e2ds_error[0] for one in found])[:, columns]
    # Where the default estimator rejects by plain distance, the error allows for more than there is.
    assert (pulls - pulls.mean(axis=0)).std() == pytest.approx(1.0, abs=0.08 if method == "optimal" else 0.05)
    assert abs(pulls.mean()) < 0.2
