"""The blaze fit: derivatives, recovery of known blazes, agreement with the twin, and data that has no blaze."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from flatcore.blaze import PARAMETERS, fit_blaze, fit_orders, sinc2, sinc2_jacobian
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import Rung
from tests.twins import blaze as twin

COLUMNS = 1080
X = np.arange(COLUMNS, dtype=float)
PROFILE = Blaze()
FREE, FROZEN = BlazeSettings(), BlazeSettings(cubic=False)
# As the twin does it, which fits the ends of an order too.
TWINS_FREE, TWINS_FROZEN = BlazeSettings(fit_ends=True), BlazeSettings(cubic=False, fit_ends=True)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Keep the linear algebra of these small fits from waiting for other processes' threads."""
    with threadpool_limits(1, user_api="blas"):
        yield


def parameters_of(seed, cubic=True):
    """A blaze as of an echelle order: its first zeros lie off the detector."""
    rng = np.random.default_rng(seed)
    amplitude, period = rng.uniform(5e3, 5e5), rng.uniform(2300, 3200)
    centre = rng.uniform(430, 650)
    quadratic, slope = rng.uniform(-1e-4, 1e-4), rng.uniform(-1e-4, 1e-4)
    return np.array([amplitude, period, centre, quadratic, rng.uniform(-1e-7, 1e-7) if cubic else 0.0, slope])


def noisy_order(seed, cubic=True, noise=0.01):
    """The true blaze, and the order: noisy, with gaps and some wild pixels."""
    truth = sinc2(X, parameters_of(seed, cubic))[0]
    rng = np.random.default_rng(seed + 1000)
    order = truth * rng.normal(1, noise, COLUMNS)
    order[rng.random(COLUMNS) < 0.01] *= 3
    order[rng.random(COLUMNS) < 0.02] = np.nan
    order[300:310] = np.nan
    return truth, order


class TestModel:
    def test_is_the_twins(self):
        parameters = [1e4, 2500.0, 510.0, 1e-4, -1e-7, 3e-4]
        for found, expected in zip(sinc2(X, np.array(parameters)), twin.sinc2(X, *parameters), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_at_the_centre_it_is_the_amplitude(self):
        assert [float(part[0]) for part in sinc2(np.array([510.0]), np.array([7.0, 900.0, 510.0, 0.1, 0.1, 0.1]))] == [
            7.0,
            7.0,
        ]

    def test_its_first_zero_is_half_a_period_from_the_centre(self):
        # theta = 2 pi d / P: twice what the public page prints.
        blaze, plain = sinc2(np.array([500.0 + 300.0, 500.0 + 150.0]), np.array([1.0, 600.0, 500.0, 0.0, 0.0, 1e-3]))
        assert plain[0] == pytest.approx(0.0, abs=1e-30)
        assert plain[1] == pytest.approx((2 / np.pi) ** 2)
        assert blaze[1] == pytest.approx((2 / np.pi) ** 2 * 1.15)

    @pytest.mark.parametrize("column", range(6), ids=PARAMETERS)
    @pytest.mark.parametrize(
        "parameters",
        [
            [1e4, 2500.0, 510.3, 1e-4, -1e-7, 3e-4],
            [1e4, 400.0, 510.3, -2e-4, 3e-7, -3e-4],
            [1.0, 2500.0, 0.0, 0.0, 0.0, 0.0],
            [3.0, 900.0, 510.0, 1e-4, 1e-7, 1e-4],
        ],
        ids=["typical", "many lobes", "plain", "centre on a column"],
    )
    def test_derivatives_are_finite_differences(self, parameters, column):
        parameters = np.array(parameters)
        scale = np.array([parameters[0], parameters[1], parameters[1], 1e-3, 1e-6, 1e-3])[column]
        step = np.zeros(6)
        step[column] = 1e-5 * scale
        above, below = sinc2(X, parameters + step)[0], sinc2(X, parameters - step)[0]
        expected = (above - below) / (2 * step[column])
        found = sinc2_jacobian(X, parameters)[:, column]
        assert abs(expected).max() > 0
        np.testing.assert_allclose(found, expected, atol=2e-7 * abs(expected).max())

    def test_derivatives_at_the_centre_and_close_to_it(self):
        parameters = np.array([5.0, 1000.0, 500.0, 1e-4, 1e-7, 2e-3])
        x = 500.0 + np.array([0.0, 1e-9, -1e-9, 1e-3, 0.0159, 0.01592, 1.0])
        found = sinc2_jacobian(x, parameters)
        np.testing.assert_allclose(found[0], [1.0, 0.0, -5.0 * 2e-3, 0.0, 0.0, 0.0], atol=1e-15)
        # Neighbouring points to either side of the switch to the series agree.
        np.testing.assert_allclose(found[4], found[5], rtol=5e-3, atol=1e-12)
        assert np.isfinite(found).all()


class TestRecovery:
    @pytest.mark.parametrize("settings", [FREE, FROZEN], ids=["cubic", "no cubic"])
    @pytest.mark.parametrize("seed", range(8))
    def test_of_noisy_orders(self, seed, settings):
        truth, order = noisy_order(seed, settings.cubic)
        fit = fit_blaze(order, PROFILE, settings)
        assert fit.problem == ""
        np.testing.assert_allclose(fit.blaze, truth, rtol=0.01)
        assert abs(fit.blaze / truth - 1)[25:-25].mean() < 0.002
        assert (fit.parameters[4] == 0) == (not settings.cubic)
        assert (fit.errors[4] == 0) == (not settings.cubic)

    @pytest.mark.parametrize("settings", [FREE, FROZEN], ids=["cubic", "no cubic"])
    @pytest.mark.parametrize("seed", range(4))
    def test_of_perfect_orders(self, seed, settings):
        truth = sinc2(X, parameters_of(seed, settings.cubic))[0]
        fit = fit_blaze(truth, Blaze(median_width=1), settings)
        np.testing.assert_allclose(fit.blaze, truth, rtol=1e-6)
        assert fit.fitted.all()

    def test_where_the_terms_stand_in_for_one_another(self):
        # This order's period and quadratic term run off together without end, and the blaze no longer moves.
        truth, order = noisy_order(35, noise=0.05)
        fit = fit_blaze(order, PROFILE, FREE)
        assert fit.problem == ""
        np.testing.assert_allclose(fit.blaze, truth, rtol=0.02)

    def test_errors_of_the_blaze_are_its_scatter(self):
        fits = []
        for seed in range(30):
            truth = sinc2(X, parameters_of(0, False))[0]
            order = truth * np.random.default_rng(seed).normal(1, 0.01, COLUMNS)
            fits.append(fit_blaze(order, PROFILE, FROZEN))
        inner = slice(100, 980)
        scatter = np.std([fit.blaze[inner] for fit in fits], axis=0).mean()
        claimed = np.mean([fit.blaze_error[inner] for fit in fits])
        assert 0.5 < claimed / scatter < 2.0

    def test_an_order_given_is_not_changed(self):
        _, order = noisy_order(1)
        before = order.copy()
        fit_blaze(order, PROFILE, FREE)
        np.testing.assert_array_equal(order, before)

    def test_what_was_fitted(self):
        _, order = noisy_order(2)
        fit = fit_blaze(order, PROFILE, FREE)
        p95 = np.nanpercentile(fit.filtered, 95)
        expected = (fit.filtered > 0.05 * p95) & (fit.filtered < 2 * p95)
        expected[:12] = expected[-12:] = False
        np.testing.assert_array_equal(fit.fitted, expected)
        assert fit.evaluations >= 2

    def test_columns_outside_the_range_are_not_fitted(self):
        truth, _ = noisy_order(3)
        order = truth.copy()
        order[:100] = 0.01 * truth.max()
        order[-40:] = 5 * truth.max()
        fit = fit_blaze(order, PROFILE, FREE)
        assert not fit.fitted[:80].any()
        assert not fit.fitted[-20:].any()
        np.testing.assert_allclose(fit.blaze[150:-80], truth[150:-80], rtol=0.02)
        wide = fit_blaze(order, PROFILE, BlazeSettings(low=0.0, high=10.0))
        assert wide.fitted[12:-12].all()


class TestTwin:
    @pytest.mark.parametrize("seed", range(6))
    def test_agrees_without_the_cubic_term(self, seed):
        _, order = noisy_order(seed, cubic=False)
        expected, fitted, _ = twin.fit_blaze(order, 25, 0.1, fit_cubic=False)
        fit = fit_blaze(order, PROFILE, TWINS_FROZEN)
        np.testing.assert_array_equal(fit.fitted, fitted)
        np.testing.assert_allclose(fit.blaze, expected, rtol=1e-4, equal_nan=True)

    @pytest.mark.parametrize(("width", "cut"), [(50, 0.1), (5, 0.3), (25, 0.6)])
    def test_agrees_for_other_widths_and_cuts(self, width, cut):
        _, order = noisy_order(7, cubic=False, noise=0.002)
        expected, fitted, _ = twin.fit_blaze(order, width, cut, fit_cubic=False)
        fit = fit_blaze(order, Blaze(median_width=width, cut=cut), TWINS_FROZEN)
        np.testing.assert_array_equal(fit.fitted, fitted)
        np.testing.assert_allclose(fit.blaze, expected, rtol=1e-4, equal_nan=True)
        assert np.isnan(fit.blaze).any() == (cut > 0.5)

    def test_agrees_with_the_cubic_term_free(self):
        # The twin's own fit stops earlier, the terms being next to degenerate; the blazes are still close.
        _, order = noisy_order(7, noise=0.002)
        expected, *_ = twin.fit_blaze(order, 25, 0.1, fit_cubic=True)
        np.testing.assert_allclose(fit_blaze(order, PROFILE, TWINS_FREE).blaze, expected, rtol=5e-3, equal_nan=True)

    def test_a_filter_of_one_column_does_nothing(self):
        _, order = noisy_order(7)
        np.testing.assert_array_equal(fit_blaze(order, Blaze(median_width=1), FREE).filtered, order)


class TestCut:
    TRUTH = np.array([1e4, 1300.0, 540.0, 0.0, 0.0, 5e-4])

    @pytest.mark.parametrize("cut", [0.0, 0.1, 0.5])
    def test_there_is_no_blaze_below_it(self, cut):
        truth, plain = sinc2(X, self.TRUTH)
        fit = fit_blaze(truth, Blaze(median_width=1, cut=cut), FROZEN)
        below = plain < cut * self.TRUTH[0]
        assert below.any() == (cut > 0)
        # The column at the very limit may fall to either side of it.
        assert (np.isnan(fit.blaze) != below).sum() <= 2
        np.testing.assert_array_equal(np.isnan(fit.blaze), np.isnan(fit.blaze_error))

    def test_it_is_tested_before_the_slope(self):
        truth, plain = sinc2(X, self.TRUTH)
        fit = fit_blaze(truth, Blaze(median_width=1, cut=0.5), FROZEN)
        by_slope = truth < 0.5 * self.TRUTH[0]
        assert (by_slope != (plain < 0.5 * self.TRUTH[0])).sum() > 20
        assert (np.isnan(fit.blaze) != by_slope).sum() > 20


def with_columns(background, columns, value):
    """An order of one value with another in some columns."""
    order = np.full(400, background, float)
    order[columns] = value
    return order


UNUSABLE = {
    "nothing": (np.full(400, np.nan), "no flux"),
    "zeros": (np.zeros(400), "no flux"),
    "negative": (np.full(400, -5.0), "no flux"),
    "infinite": (np.full(400, np.inf), "no flux"),
    "minus infinite": (np.full(400, -np.inf), "no flux"),
    "five finite columns": (with_columns(np.nan, slice(100, 105), 5.0), "no flux"),
    "no column": (np.zeros(0), "no flux"),
    "one column": (np.ones(1), "no flux"),
    "eleven columns": (np.ones(11), "no flux"),
}
STRANGE = {
    "constant": np.full(400, 7.0),
    "step": with_columns(1.0, slice(200, 400), 1000.0),
    "huge spike": with_columns(100.0, slice(200, 201), 1e30),
    "wide spike": with_columns(100.0, slice(190, 230), 1e30),
    "some infinities": with_columns(100.0, slice(190, 230), np.inf),
    "mostly infinities": with_columns(100.0, slice(19, 330), np.inf),
    "both infinities": np.where(np.arange(400) % 7, np.inf, -np.inf),
    "thirteen finite columns": with_columns(np.nan, slice(100, 113), 5.0),
    "twelve columns": np.ones(12),
    "ramp": np.arange(400.0),
    "falling": np.arange(400.0)[::-1],
    "valley": (np.arange(400.0) - 200) ** 2,
    "half gone": with_columns(np.nan, slice(200, 400), 50.0),
    "tiny numbers": np.full(400, 1e-30),
    "great numbers": sinc2(X, parameters_of(0))[0] * 1e30,
    "noise around nothing": np.random.default_rng(1).normal(0, 1, 400),
    "decades": 10 ** np.random.default_rng(2).uniform(-30, 30, 400),
}


class TestHopeless:
    @pytest.mark.parametrize("settings", [FREE, FROZEN], ids=["cubic", "no cubic"])
    @pytest.mark.parametrize("name", UNUSABLE)
    def test_no_blaze_and_a_reason(self, name, settings):
        order, reason = UNUSABLE[name]
        fit = fit_blaze(order, PROFILE, settings)
        assert fit.problem == reason
        assert fit.blaze.shape == fit.blaze_error.shape == fit.filtered.shape == fit.fitted.shape == order.shape
        assert np.isnan(fit.blaze).all()
        assert np.isnan(fit.blaze_error).all()
        assert np.isnan(fit.parameters).all()
        assert fit.evaluations == 0

    @pytest.mark.parametrize("settings", [FREE, FROZEN], ids=["cubic", "no cubic"])
    @pytest.mark.parametrize("width", [1, 25])
    @pytest.mark.parametrize("name", STRANGE)
    def test_a_blaze_or_a_reason_but_no_error(self, name, width, settings):
        order = STRANGE[name]
        fit = fit_blaze(order, Blaze(median_width=width), settings)
        assert fit.blaze.shape == fit.fitted.shape == order.shape
        assert np.isfinite(fit.parameters).all() == (fit.rung <= Rung.PREDICTED)
        assert np.isfinite(fit.blaze).any() == (fit.problem == "") == (fit.rung is not Rung.NONE)

    def test_too_few_columns_for_the_parameters(self):
        order = with_columns(np.nan, [10, 90, 170, 250, 330, 390], 5.0)
        fit = fit_blaze(order, Blaze(median_width=1), FREE)
        assert fit.reasons[0] == "full: only 6 columns to fit"
        assert fit.problem == "spline: only 6 columns to draw a spline through"
        few = fit_blaze(order[:90], Blaze(median_width=1), FREE)
        assert few.rung is Rung.NONE
        assert few.reasons[2] == "no-quadratic: only 1 columns to fit"
        assert few.problem == "spline: only 1 columns to draw a spline through"

    def test_a_constant_order_has_a_constant_blaze(self):
        fit = fit_blaze(np.full(400, 7.0), PROFILE, FREE)
        np.testing.assert_allclose(fit.blaze, 7.0, rtol=1e-3)


class TestOrders:
    def test_each_is_fitted_by_itself(self):
        orders = np.stack([noisy_order(seed)[1] for seed in range(3)] + [np.full(COLUMNS, np.nan)])
        fits = fit_orders(orders, PROFILE, FREE, threads=2)
        assert [fit.problem for fit in fits] == ["", "", "", "no flux"]
        for fit, order in zip(fits, orders, strict=True):
            np.testing.assert_array_equal(fit.blaze, fit_blaze(order, PROFILE, FREE).blaze)

    def test_the_number_of_threads_does_not_matter(self):
        orders = np.stack([noisy_order(seed)[1] for seed in range(5)])
        results = [fit_orders(orders, PROFILE, FREE, threads) for threads in (0, 1, 2, 7)]
        for fits in results[1:]:
            for fit, first in zip(fits, results[0], strict=True):
                for name in ("parameters", "errors", "blaze", "blaze_error", "filtered", "fitted"):
                    assert getattr(fit, name).tobytes() == getattr(first, name).tobytes()
                assert fit.evaluations == first.evaluations

    def test_of_no_orders(self):
        assert fit_orders(np.zeros((0, COLUMNS)), PROFILE, FREE) == ()
