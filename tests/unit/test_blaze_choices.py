"""Settings of the blaze that change which columns are fitted, how they weigh, and how far down the ladder goes."""

import numpy as np
import pytest

from flatcore.blaze import fit_blaze, fit_orders, sinc2
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import Rung
from tests.faults import DAMAGED, FAULTS, fibre

COLUMNS = 1080
X = np.arange(COLUMNS, dtype=float)
TRUTH = sinc2(X, np.array([5e4, 1900.0, 530.0, 2e-5, 0.0, 5e-5]))[0]


def order(seed=1):
    return np.random.default_rng(seed).poisson(TRUTH).astype(float)


class TestEnds:
    def test_they_are_left_out(self):
        fit = fit_blaze(order(), Blaze(), BlazeSettings())
        np.testing.assert_array_equal(np.flatnonzero(~fit.fitted), [*range(12), *range(COLUMNS - 12, COLUMNS)])
        assert fit_blaze(order(), Blaze(), BlazeSettings(fit_ends=True)).fitted.all()

    def test_without_a_filter_there_are_none(self):
        assert fit_blaze(order(), Blaze(median_width=1), BlazeSettings()).fitted.all()

    def test_a_one_sided_median_would_move_the_blaze(self):
        bias = {
            ends: np.abs(fit_blaze(TRUTH, Blaze(), BlazeSettings(fit_ends=ends)).blaze / TRUTH - 1).max()
            for ends in (False, True)
        }
        assert bias[True] > 5 * bias[False]
        assert bias[False] < 1e-3


class TestOffTheDetector:
    def flux(self):
        """Rows are lost over the last quarter, and the flux falls."""
        share = np.interp(X, [800, 1000], [1.0, 0.4])
        return order() * share, share < 0.99

    def test_lost_columns_and_what_the_filter_reaches_are_not_fitted(self):
        flux, lost = self.flux()
        fit = fit_blaze(flux, Blaze(), BlazeSettings(), lost=lost)
        first = int(np.flatnonzero(lost)[0])
        np.testing.assert_array_equal(np.flatnonzero(fit.fitted), np.arange(12, first - 12))
        np.testing.assert_allclose(fit.blaze, TRUTH, rtol=0.05)
        np.testing.assert_allclose(fit.blaze[: first + 50], TRUTH[: first + 50], rtol=0.01)

    def test_unless_that_is_asked_for(self):
        flux, lost = self.flux()
        fit = fit_blaze(flux, Blaze(), BlazeSettings(fit_ends=True), lost=lost)
        assert fit.fitted.all()
        assert np.abs(fit.blaze / TRUTH - 1).max() > 0.2


def test_weights_by_noise_change_the_fit():
    flux, error = order(), np.sqrt(TRUTH)
    equal, noise = (fit_blaze(flux, Blaze(), BlazeSettings(weights=w), error=error) for w in ("equal", "noise"))
    assert noise.rung is Rung.FULL
    assert not np.array_equal(equal.blaze, noise.blaze)
    np.testing.assert_allclose(noise.blaze, TRUTH, rtol=0.01)
    # Without errors there is nothing to weigh by.
    np.testing.assert_array_equal(fit_blaze(flux, Blaze(), BlazeSettings(weights="noise")).blaze, equal.blaze)


def test_weights_by_noise_serve_the_faint_columns():
    """Over many orders the faint ends scatter less about the truth."""

    def scatter(weights):
        found = [fit_blaze(order(s), Blaze(), BlazeSettings(weights=weights), error=np.sqrt(TRUTH)) for s in range(30)]
        return np.std([fit.blaze[:40] / TRUTH[:40] for fit in found])

    assert scatter("noise") < scatter("equal")


def test_a_robust_loss_serves_an_order_with_dips():
    dips = order() * (1 - 0.5 * np.exp(-0.5 * ((X - 700) / 20) ** 2))
    plain, robust, auto = (fit_blaze(dips, Blaze(), BlazeSettings(loss=loss)) for loss in ("linear", "soft_l1", "auto"))
    errors = [np.abs(fit.blaze / TRUTH - 1).max() for fit in (plain, robust, auto)]
    assert errors[1] < 0.01 < errors[0]
    assert (auto.loss, robust.loss, plain.loss != "soft_l1" or plain.rung is Rung.SPLINE) == (
        "soft_l1",
        "soft_l1",
        True,
    )
    np.testing.assert_array_equal(auto.blaze, robust.blaze)


def test_the_ladder_ends_where_it_is_told_to():
    e2ds, _ = fibre()
    e2ds[DAMAGED] = FAULTS["step"].damage(e2ds[DAMAGED], np.random.default_rng(1))
    found = {
        last: fit_orders(e2ds, Blaze(), BlazeSettings(last_rung=last), 2)[DAMAGED].rung
        for last in ("full", "predicted", "spline")
    }
    assert found == {"full": Rung.NONE, "predicted": Rung.NONE, "spline": Rung.SPLINE}


@pytest.mark.parametrize("prediction", ["polynomial", "grating"])
def test_both_predictions_serve(prediction):
    e2ds, truth = fibre()
    e2ds[DAMAGED, 100:] = np.nan
    fit = fit_orders(e2ds, Blaze(), BlazeSettings(prediction=prediction), 2)[DAMAGED]
    bright = truth[DAMAGED] > 0.3 * truth[DAMAGED].max()
    ratio = fit.blaze[bright] / truth[DAMAGED][bright]
    assert fit.rung is Rung.PREDICTED
    assert np.ptp(ratio) < 0.6
    other = "grating" if prediction == "polynomial" else "polynomial"
    assert not np.array_equal(
        fit.blaze, fit_orders(e2ds, Blaze(), BlazeSettings(prediction=other), 2)[DAMAGED].blaze, equal_nan=True
    )


def test_limits_of_the_profile():
    e2ds, _ = fibre()
    strict = fit_orders(e2ds, Blaze(max_misfit=1e-9, max_departure=1e-9), BlazeSettings(), 2)
    usual = fit_orders(e2ds, Blaze(), BlazeSettings(), 2)
    assert {fit.rung for fit in usual} == {Rung.FULL}
    # Noise alone moves the misfit by more than that, and is allowed for.
    assert {fit.rung for fit in strict} == {Rung.FULL}
    e2ds[DAMAGED] = FAULTS["absorption_bands"].damage(e2ds[DAMAGED], np.random.default_rng(1))
    assert fit_orders(e2ds, Blaze(), BlazeSettings(), 2)[DAMAGED].loss == "soft_l1"
    generous = Blaze(max_far=1.0, max_misfit=1.0, max_departure=1.0)
    assert fit_orders(e2ds, generous, BlazeSettings(), 2)[DAMAGED].loss == "linear"
