"""Damaged orders: no exception, the right description of the blaze, and no other order touched."""

import numpy as np
import pytest

from flatcore.blaze import fit_orders
from flatcore.diagnostics import diagnose
from flatcore.flat import make_flat
from flatcore.instrument import Blaze, Qc
from flatcore.qc import check_fiber
from flatcore.settings import BlazeSettings, FlatSettings
from flatcore.spectra import FiberSpectra, Reason, Rung
from tests.faults import COLUMNS, DAMAGED, FAULTS, NOISE_E, ORDERS, fibre, name_of, shifted

OTHERS = [order for order in range(ORDERS) if order != DAMAGED]


def made(e2ds):
    """Fits, flat and quality control of a fibre."""
    error = np.sqrt(np.clip(np.nan_to_num(e2ds), 0, 1e12) + NOISE_E**2)
    none = np.zeros(ORDERS)
    spectra = FiberSpectra(
        fiber="A",
        e2ds=e2ds,
        e2ds_error=error,
        e2dsll=np.zeros((ORDERS, COLUMNS), np.float32),
        e2dscc=np.ones((ORDERS, COLUMNS), np.uint8),
        windows=tuple((10 * order, 1) for order in range(ORDERS)),
        rejected=(0,) * ORDERS,
        snr=none,
        level_adu=none,
        saturated=none > 0,
        readnoise_e=NOISE_E,
        bad=np.zeros(e2ds.shape, bool),
        outlying=np.zeros(e2ds.shape, bool),
        off_detector=np.zeros(e2ds.shape, bool),
        coverage=np.ones(e2ds.shape),
    )
    fits = fit_orders(e2ds, Blaze(), BlazeSettings(), 2, errors=error)
    flat = make_flat(spectra, fits, FlatSettings())
    qc = check_fiber(flat, Qc(), diagnose(spectra, flat, 1))
    return fits, flat, qc


@pytest.fixture(scope="module")
def whole():
    """An undamaged fibre: its orders, its true blazes, and what is made of it."""
    e2ds, truth = fibre()
    return e2ds, truth, made(e2ds)


def damaged(e2ds, name):
    broken = e2ds.copy()
    broken[DAMAGED] = FAULTS[name].damage(e2ds[DAMAGED], np.random.default_rng(9))
    return broken


def test_there_are_many():
    assert len(FAULTS) >= 25


def test_an_undamaged_fibre(whole):
    _, truth, (fits, flat, qc) = whole
    assert [fit.rung for fit in fits] == [Rung.FULL] * ORDERS
    assert all(fit.loss == "linear" and not fit.reasons for fit in fits)
    assert qc.passed
    assert not any(qc.words)
    for fit, true in zip(fits, truth, strict=True):
        bright = true > 0.2 * true.max()
        np.testing.assert_allclose(fit.blaze[bright], true[bright], rtol=0.008)
    assert np.isfinite(flat.flat).mean() > 0.99


@pytest.fixture(scope="module", params=FAULTS)
def broken(request, whole):
    """A fault's name, and what is made of a fibre with it."""
    return request.param, made(damaged(whole[0], request.param))


def test_only_the_damaged_order_changes(whole, broken):
    _, _, (fits, flat, qc) = whole
    _, (broken_fits, broken_flat, broken_qc) = broken
    for order in OTHERS:
        assert broken_fits[order].rung == fits[order].rung
        for plane in ("blaze", "blaze_error", "parameters", "errors"):
            found, expected = (getattr(f[order], plane) for f in (broken_fits, fits))
            assert found.tobytes() == expected.tobytes()
    for plane in ("flat", "flat_error", "blaze", "e2ds", "reasons", "rms"):
        assert getattr(broken_flat, plane)[OTHERS].tobytes() == getattr(flat, plane)[OTHERS].tobytes()
    assert [broken_qc.orders[order] for order in OTHERS] == [qc.orders[order] for order in OTHERS]


def test_its_blaze_is_described_rightly(whole, broken):
    name, (fits, flat, qc) = broken
    fault, fit = FAULTS[name], fits[DAMAGED]
    assert name_of(fit) in fault.rungs, fit.reasons
    assert (fit.rung is Rung.NONE) == bool(fit.problem) == np.isnan(fit.blaze).all()
    if fault.blaze_within is not None:
        true = whole[1][DAMAGED] * fault.light
        bright = true > 0.2 * true.max()
        assert np.abs(fit.blaze[bright] / true[bright] - 1).max() < fault.blaze_within
    least, most = fault.usable
    assert least <= np.isfinite(flat.flat[DAMAGED]).mean() <= most
    # What is not the order's own plain sinc^2 is told in words, with the reason.
    plain = fit.rung is Rung.FULL and fit.loss == "linear"
    assert plain or (fit.reasons and qc.words[DAMAGED])


def test_it_is_flagged(broken):
    _, (fits, flat, qc) = broken
    reasons = flat.reasons[DAMAGED]
    for rung, reason in ((Rung.PREDICTED, Reason.PREDICTED), (Rung.SPLINE, Reason.SPLINE)):
        flagged = (reasons & np.int16(reason)) != 0
        assert flagged.all() if fits[DAMAGED].rung is rung else not flagged.any()
    masking = ~np.int16(Reason.PREDICTED | Reason.SPLINE | Reason.SATURATED | Reason.OFF_DETECTOR)
    # A pixel has no flat if and only if one of the masking reasons is there.
    np.testing.assert_array_equal(np.isnan(flat.flat[DAMAGED]), (reasons & masking) != 0)
    if fits[DAMAGED].rung is Rung.NONE:
        assert ((reasons & np.int16(Reason.NO_BLAZE)) != 0).all()
        assert qc.orders[DAMAGED] == "fail"
        assert not qc.passed


SETTINGS = (
    BlazeSettings(cubic=False),
    BlazeSettings(weights="noise"),
    BlazeSettings(loss="soft_l1"),
    BlazeSettings(loss="linear"),
    BlazeSettings(prediction="grating"),
    BlazeSettings(last_rung="full"),
)


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_no_setting_makes_a_fault_an_error(whole, number):
    """Every setting with every sixth fault: all faults once, all settings several times."""
    e2ds, settings = whole[0], SETTINGS[number]
    error = np.sqrt(np.clip(e2ds, 0, None) + NOISE_E**2)
    fits = fit_orders(e2ds, Blaze(), settings, 2, errors=error)
    for name in list(FAULTS)[number :: len(SETTINGS)]:
        found = fit_orders(damaged(e2ds, name), Blaze(), settings, 2, errors=error)
        assert [found[order].blaze.tobytes() for order in OTHERS] == [fits[order].blaze.tobytes() for order in OTHERS]
        assert found[DAMAGED].rung <= Rung.named(settings.last_rung) or found[DAMAGED].rung is Rung.NONE


@pytest.mark.parametrize("orders", [(1, 2, 3, 4), (9, 10, 11, 12), (0, 1, 2, 3, 4, 5), (4, 5, 6, 7, 8)])
def test_many_wrong_neighbours(whole, orders):
    """Half of the neighbours are wrong and look right: what an order gets is right, and told if it is not plain."""
    e2ds, truth, _ = whole
    moved = e2ds.copy()
    for order in orders:
        moved[order] = shifted(order, 120.0)
    fits, _, qc = made(moved)
    for order in set(range(ORDERS)) - set(orders):
        bright = truth[order] > 0.2 * truth[order].max()
        np.testing.assert_allclose(fits[order].blaze[bright], truth[order][bright], rtol=0.05)
        assert fits[order].rung is Rung.FULL or "stands out from its neighbours" in qc.words[order]


def test_no_description_allowed(whole):
    e2ds, _, _ = whole
    fits = fit_orders(e2ds, Blaze(), BlazeSettings(cubic=False, last_rung="full"))
    assert {fit.rung for fit in fits} == {Rung.NONE}
    assert "blaze.last_rung ends before the first" in fits[0].problem


def test_every_order_damaged_at_once(whole):
    """With nothing left to go by, every order is still judged by itself."""
    e2ds, _, _ = whole
    names = list(FAULTS)[:ORDERS]
    rng = np.random.default_rng(1)
    broken = np.stack([FAULTS[name].damage(row, rng) for name, row in zip(names, e2ds, strict=True)])
    fits, flat, qc = made(broken)
    assert len(fits) == len(qc.orders) == ORDERS
    assert np.isfinite(flat.flat).any(axis=1).sum() >= ORDERS - 3
