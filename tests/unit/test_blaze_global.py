"""The model of all orders: what it is, what it is worth for faint orders, and that it leaves the others alone."""

import numpy as np
import pytest

from flatcore.blaze import fit_orders, sinc2
from flatcore.blaze.joint import JointModel
from flatcore.blaze.smooth import smooth_functions
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import Rung
from tests import faults
from tests.grating import COLUMNS, NUMBERS, ORDERS, X, apart, fibre

FAINT = (0, 5, 6, 13, 19)


def fitted(flux, model, errors=None, threads=2, **choices):
    return fit_orders(flux, Blaze(), BlazeSettings(model=model, **choices), threads, errors=errors)


def same(one, other):
    return np.array_equal(one.blaze, other.blaze, equal_nan=True) and one.rung is other.rung


class TestModel:
    def coefficients(self, model):
        rng = np.random.default_rng(2)
        values = rng.normal(0.0, 0.02, model.size)
        values[model.part(0).start], values[model.part(1).start], values[model.coupling] = 9.0, 1.0, 0.7
        return values

    def test_smooth_functions_are_orthogonal_and_ever_rougher(self):
        found = smooth_functions(15, 8)
        products = found.functions[:, 2:].T @ found.functions[:, 2:]
        np.testing.assert_allclose(products, 15 * np.eye(6), atol=1e-9)
        assert (np.diff(found.roughness[1:]) > 0).all()
        assert (found.roughness[:2] == 0).all()
        # Straight lines lie in the first two.
        line = 3.0 - 0.2 * np.arange(15)
        rest = line - found.functions[:, :2] @ np.linalg.lstsq(found.functions[:, :2], line, rcond=None)[0]
        np.testing.assert_allclose(rest, 0, atol=1e-12)
        assert smooth_functions(4, 24).functions.shape == (4, 4)

    def test_derivatives(self):
        model = JointModel(ORDERS, 2000.0)
        at = self.coefficients(model)
        _, slopes = model.with_derivatives(at)
        for place in range(model.size):
            step = np.zeros(model.size)
            step[place] = 1e-6
            change = (model.parameters(at + step) - model.parameters(at - step)) / 2e-6
            np.testing.assert_allclose(slopes[:, :, place], change, rtol=1e-5, atol=1e-6 * np.abs(change).max() + 1e-12)

    def test_rigid_orders_are_a_grating(self):
        """With the first two functions alone 1/P is linear in the order, and its zero is order number 0."""
        model = JointModel(ORDERS, 2000.0)
        at = np.zeros(model.size)
        inverse = NUMBERS / NUMBERS.mean()
        at[model.part(1)][:2] = np.linalg.lstsq(model.shape.functions[:, :2], inverse, rcond=None)[0]
        found = model.parameters(at)
        np.testing.assert_allclose(found[:, 1] * NUMBERS, 2000.0 * NUMBERS.mean(), rtol=1e-12)
        np.testing.assert_allclose(model.numbers(at), NUMBERS, rtol=1e-9)

    def test_the_lamp_tilts_the_orders(self):
        model = JointModel(ORDERS, 2000.0)
        at = np.zeros(model.size)
        at[model.part(1).start], at[model.coupling] = 1.0, 1.0
        at[model.part(0)][:2] = 9.0, (ORDERS - 1) / 2 * 0.05
        found = model.parameters(at)
        # The lamp changes by 5 % from order to order: neighbours are a free spectral range apart, half a period.
        np.testing.assert_allclose(np.diff(np.log(found[:, 0])), 0.05, rtol=1e-9)
        np.testing.assert_allclose(found[:, 5], 0.05 / 1000.0, rtol=1e-9)


@pytest.mark.parametrize("snr", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_faint_orders_are_far_nearer_to_the_truth(snr, seed):
    flux, errors, truth = fibre(dict.fromkeys(FAINT, snr), seed)
    alone, jointly = (fitted(flux, model, errors) for model in ("order", "faint-global"))
    own = np.array([apart(alone[i].blaze, truth[i]) for i in FAINT])
    found = np.array([apart(jointly[i].blaze, truth[i]) for i in FAINT])
    assert {jointly[i].rung for i in FAINT} == {Rung.GLOBAL}
    assert np.median(found) < 0.002
    assert found.max() < 0.006
    assert np.nanmedian(own) > 5 * np.median(found)
    # Those that are bright have the same blaze, to the bit.
    assert all(same(alone[i], jointly[i]) for i in range(ORDERS) if i not in FAINT)
    assert all("too faint alone" in jointly[i].reasons[0] for i in FAINT)
    assert all(jointly[i].helped for i in FAINT)


def test_all_orders_by_one_model():
    flux, errors, truth = fibre()
    alone, jointly = (fitted(flux, model, errors) for model in ("order", "global"))
    assert {fit.rung for fit in jointly} == {Rung.GLOBAL}
    assert not any(fit.reasons or fit.helped for fit in jointly)
    own = np.array([apart(fit.blaze, true) for fit, true in zip(alone, truth, strict=True)])
    found = np.array([apart(fit.blaze, true) for fit, true in zip(jointly, truth, strict=True)])
    assert np.median(found) < 0.6 * np.median(own)
    compared = [fit.compared for fit in jointly]
    # What is said of the comparison is what comparing says.
    for fit, one, mine in zip(jointly, compared, alone, strict=True):
        assert one.own_rung is mine.rung
        np.testing.assert_array_equal(one.own_blaze, mine.blaze)
        here = fit.fitted & np.isfinite(mine.blaze)
        ratio = one.blaze[here] / mine.blaze[here]
        assert one.rms == pytest.approx(np.sqrt(np.mean((ratio / np.median(ratio) - 1) ** 2)), rel=1e-9)
        np.testing.assert_allclose(one.blaze, sinc2(X, one.parameters)[0], rtol=1e-12)
    assert np.median([one.rms for one in compared]) < 0.001
    np.testing.assert_allclose([one.number for one in compared], NUMBERS, rtol=0.1)
    np.testing.assert_allclose([one.lamp / one.parameters[0] for one in compared], 1.0, atol=0.01)


def test_errors_are_those_of_the_blaze():
    """Level and all, for here the truth has one too; orders and neighbouring columns share what they are off."""
    pulls = []
    for seed in range(6):
        flux, errors, truth = fibre(dict.fromkeys(FAINT, 2.0), seed)
        jointly = fitted(flux, "faint-global", errors)
        pulls += [((jointly[i].blaze - truth[i]) / jointly[i].blaze_error)[:: COLUMNS // 20] for i in FAINT]
    pulls = np.concatenate(pulls)
    assert 0.5 < np.std(pulls[np.isfinite(pulls)]) < 1.4


def test_by_default_there_is_none():
    flux, errors, _ = fibre()
    assert all(fit.compared is None for fit in fit_orders(flux, Blaze(), BlazeSettings(), errors=errors))


def test_the_same_for_any_number_of_threads():
    flux, errors, _ = fibre({3: 2.0})
    one, three = (fitted(flux, "global", errors, threads) for threads in (1, 3))
    for left, right in zip(one, three, strict=True):
        np.testing.assert_array_equal(left.blaze, right.blaze)
        np.testing.assert_array_equal(left.blaze_error, right.blaze_error)


def test_weights_by_noise_change_it():
    flux, errors, truth = fibre()
    equal, noise = (fitted(flux, "global", errors, weights=weights) for weights in ("equal", "noise"))
    assert not np.array_equal(equal[4].blaze, noise[4].blaze)
    assert max(apart(fit.blaze, true) for fit, true in zip(noise, truth, strict=True)) < 0.003


def test_no_light_is_no_blaze():
    flux, errors, _ = fibre()
    flux[7] = np.random.default_rng(1).normal(0.0, 5.0, COLUMNS)
    alone, jointly = (fitted(flux, model, errors) for model in ("order", "global"))
    assert jointly[7].rung is Rung.NONE
    assert jointly[7].problem == alone[7].problem != ""
    assert jointly[7].reasons[0].startswith("global: ")
    assert np.isnan(jointly[7].blaze).all()
    assert not jointly[7].compared.takes_part
    assert {fit.rung for i, fit in enumerate(jointly) if i != 7} == {Rung.GLOBAL}


def test_a_damaged_order_does_not_spoil_the_others():
    flux, errors, truth = fibre()
    flux[8] *= np.where((X > 300) & (X < 620), 0.5, 1.0)
    jointly = fitted(flux, "global", errors)
    assert not jointly[8].compared.takes_part
    others = [apart(fit.blaze, true) for i, (fit, true) in enumerate(zip(jointly, truth, strict=True)) if i != 8]
    assert max(others) < 0.002


def test_an_order_that_no_own_sinc2_describes_has_the_models():
    flux, truth = faults.fibre()
    flux[faults.DAMAGED, 100:] = np.nan
    alone, jointly = (fitted(flux, model) for model in ("order", "faint-global"))
    assert alone[faults.DAMAGED].rung is Rung.PREDICTED
    found = jointly[faults.DAMAGED]
    assert found.rung is Rung.GLOBAL
    assert found.reasons == alone[faults.DAMAGED].reasons
    true = truth[faults.DAMAGED]
    assert apart(found.blaze, true) < 0.5 * apart(alone[faults.DAMAGED].blaze, true)
    assert apart(found.blaze, true) < 0.01


def test_too_few_orders():
    flux, errors, _ = fibre()
    alone, jointly = (fitted(flux[:4], model, errors[:4]) for model in ("order", "global"))
    assert all(same(one, other) for one, other in zip(alone, jointly, strict=True))
    assert jointly[0].reasons == ("global: 4 orders to fit, and 5 are needed",)
    assert jointly[0].compared is None


def test_a_fibre_of_faint_orders_alone():
    flux, errors, truth = fibre(dict.fromkeys(range(ORDERS), 1.5))
    alone, jointly = (fitted(flux, model, errors) for model in ("order", "faint-global"))
    own = [apart(fit.blaze, true) for fit, true in zip(alone, truth, strict=True)]
    found = [apart(fit.blaze, true) for fit, true in zip(jointly, truth, strict=True)]
    assert {fit.rung for fit in jointly} == {Rung.GLOBAL}
    assert np.median(found) < 0.5 * np.nanmedian(own)
    assert np.max(found) < 0.06
