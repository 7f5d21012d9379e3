"""Quality control: the largest scatter of the flat against its limit."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from flatcore.instrument import Qc
from flatcore.qc import check_fiber, check_rms, check_stability, order_verdicts
from flatcore.results import FiberChange, FiberDiagnostics, FrameCheck
from flatcore.spectra import Rung

NAN = float("nan")


@pytest.mark.parametrize(
    ("rms", "limits", "worst", "passed"),
    [
        ([0.01, 0.03, 0.02], Qc(max_rms=0.05), 0.03, True),
        ([0.01, 0.06, 0.02], Qc(max_rms=0.05), 0.06, False),
        ([0.01, 0.05], Qc(max_rms=0.05), 0.05, False),
        ([0.01, 0.06, 0.02], Qc(max_rms=0.05, skip_orders=(1,)), 0.02, True),
        ([0.01, 0.06, 0.07], Qc(max_rms=0.05, skip_orders=(1, 22, 48)), 0.07, False),
        ([0.01, NAN, 0.02], Qc(max_rms=0.05), NAN, False),
        ([0.01, NAN, 0.02], Qc(max_rms=0.05, skip_orders=(1,)), 0.02, True),
        ([NAN, NAN], Qc(max_rms=1.0), NAN, False),
        ([0.5, NAN], Qc(max_rms=0.05, skip_orders=(0, 1)), NAN, True),
        ([], Qc(), NAN, True),
        ([math.inf], Qc(), math.inf, False),
        ([0.9], Qc(max_rms=1.0), 0.9, True),
    ],
)
def test_of_a_fiber(rms, limits, worst, passed):
    check = check_rms(np.array(rms), limits)
    np.testing.assert_equal(check.value, worst)
    assert check.passed is passed
    assert check.name == "max_rms"


@pytest.mark.parametrize(
    ("limit", "text"), [(0.05, "max_rms < 0.05"), (1.0, "max_rms < 1"), (0.125, "max_rms < 0.125")]
)
def test_the_limit_is_told(limit, text):
    assert check_rms(np.array([0.01]), Qc(max_rms=limit)).limit == text


def test_of_each_order():
    rms = np.array([0.01, 0.05, NAN, 0.5, 0.04999, NAN])
    expected = ("pass", "fail", "fail", "skipped", "pass", "skipped")
    assert order_verdicts(rms, Qc(max_rms=0.05, skip_orders=(3, 5, 99))) == expected


def diagnostics_of(orders, **changes):
    """Unremarkable diagnostics."""
    usual = {
        "chi2": 1.5,
        "residual_rms": 0.005,
        "snr_measured": 200.0,
        "snr_photon": 400.0,
        "snr_ratio": 0.5,
        "fringe_amplitude": 0.001,
        "fringe_period": 20.0,
        "fringe_chance": 0.3,
    }
    return FiberDiagnostics(**{key: np.full(orders, changes.get(key, value)) for key, value in usual.items()})


def fit_of(rung=Rung.FULL, reasons=(), loss="linear"):
    return SimpleNamespace(
        rung=rung, reasons=tuple(reasons), loss=loss, problem=reasons[-1] if rung is Rung.NONE else ""
    )


def flat_of(rms, fits=None, scatter=0.01):
    rng = np.random.default_rng(2)
    return SimpleNamespace(
        fiber="AB",
        rms=np.array(rms),
        fits=fits or [fit_of() for _ in rms],
        flat=rng.normal(1, scatter, (len(rms), 500)),
    )


def check(flat, limits=Qc(), **others):  # noqa: B008 - frozen
    return check_fiber(flat, limits, others.pop("diagnostics", diagnostics_of(len(flat.rms))), **others)


def of(result, name):
    return next(check for check in result.checks if check.name == name)


class TestFiber:
    @pytest.mark.parametrize(("rms", "passed"), [([0.01, 0.02], True), ([0.01, 0.2], False)])
    def test_the_rms_decides(self, rms, passed):
        result = check(flat_of(rms))
        assert (result.fiber, result.passed) == ("AB", passed)
        assert of(result, "max_rms").passed == passed
        assert result.orders == ("pass", "pass" if passed else "fail")
        assert result.words == ("", "" if passed else "rms 0.2000 is not below 0.05")

    def test_an_order_that_is_skipped(self):
        result = check(flat_of([0.01, 9.0]), Qc(skip_orders=(1,)))
        assert result.passed
        assert result.orders == ("pass", "skipped")
        assert not any(result.words)

    def test_few_usable_columns(self):
        flat = flat_of([0.01, 0.01])
        flat.flat[1, :300] = np.nan
        found = of(check(flat), "usable")
        assert not found.passed
        assert found.value == pytest.approx(0.4)
        assert found.words == "columns with a flat of order 1: usable > 0.5"

    def test_nothing_is_said_of_a_good_fiber(self):
        result = check(flat_of([0.01, 0.01]))
        assert all(check.passed and not check.words for check in result.checks)
        names = ["max_rms", "published_rms", "blaze_rung", "usable", "snr_ratio"]
        assert [check.name for check in result.checks] == names
        assert [check.decisive for check in result.checks] == [True, False, False, False, False]

    def test_the_published_flat_is_looked_at(self):
        result = check(flat_of([0.01, 0.01], scatter=0.08))
        found = of(result, "published_rms")
        assert not found.passed
        assert 0.07 < found.value < 0.09
        assert found.words == "rms of the published flat of orders 0, 1: published_rms < 0.05"
        assert result.passed

    def test_the_profile_says_what_decides(self):
        limits = Qc(decisive=("max_rms", "published_rms"))
        assert not check(flat_of([0.01, 0.01], scatter=0.08), limits).passed
        assert check(flat_of([0.2]), Qc(decisive=())).passed

    def test_limit_of_the_published_flat(self):
        assert of(check(flat_of([0.01], scatter=0.08), Qc(max_rms=0.2)), "published_rms").passed
        assert not of(check(flat_of([0.01]), Qc(max_published_rms=0.005)), "published_rms").passed

    def test_a_blaze_that_is_not_the_orders_own(self):
        fits = [fit_of(), fit_of(Rung.SPLINE, ["full: misses it", "predicted: misses it"])]
        found = check(flat_of([0.01, 0.01], fits))
        assert not of(found, "blaze_rung").passed
        assert of(found, "blaze_rung").value == 5
        assert found.words[1] == "blaze a spline: full: misses it"
        assert found.passed

    def test_an_order_without_a_blaze(self):
        fits = [fit_of(), fit_of(Rung.NONE, ["no light"])]
        found = check(flat_of([0.01, NAN], fits))
        assert found.words[1] == "no blaze: no light"
        assert not found.passed

    def test_signal_against_the_photons(self):
        found = check(flat_of([0.01]), diagnostics=diagnostics_of(1, snr_ratio=0.05))
        assert not of(found, "snr_ratio").passed
        assert of(found, "snr_ratio").words == "S/N over the photons' of order 0: snr_ratio > 0.1"

    def test_fringes_are_told(self):
        told = diagnostics_of(1, fringe_amplitude=0.02, fringe_chance=1e-9)
        assert check(flat_of([0.01]), diagnostics=told).words == ("fringes of 2.0%, 20.0 pixels",)

    def test_many_orders_are_cut_short(self):
        found = of(check(flat_of([0.2] * 20)), "max_rms")
        assert found.words == "rms of the flat of orders 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: max_rms < 0.05"


class TestChange:
    def change(self, flat=0.001, blaze=0.001):
        return FiberChange("old_flat_AB.fits", 1.0, np.array([0.001, flat]), np.array([0.001, blaze]), np.ones(2))

    def test_small(self):
        found = check(flat_of([0.01, 0.01]), change=self.change())
        assert of(found, "flat_change").passed
        assert of(found, "blaze_change").passed

    @pytest.mark.parametrize("which", ["flat", "blaze"])
    def test_large(self, which):
        found = check(flat_of([0.01, 0.01]), change=self.change(**{which: 0.5}))
        failing = of(found, f"{which}_change")
        assert not failing.passed
        assert failing.value == 0.5
        words = f"change of the {which} since old_flat_AB.fits of order 1: {which}_change < 0.02"
        assert failing.words == words
        assert found.passed


class TestFrames:
    def frames(self, *levels):
        return tuple(FrameCheck(f"f{i}.fits", float(i), level, 0.0, "") for i, level in enumerate(levels))

    def test_steady(self):
        found = check_stability(self.frames(1.0, 1.001, 0.999), 0.001, Qc())
        assert found.passed
        assert found.value == pytest.approx(0.001)

    def test_what_is_wrong_with_a_frame_is_named(self):
        frames = (*self.frames(1.0, 1.0), FrameCheck("dark.fits", 3.0, 0.01, 0.0, "next to no light"))
        found = check_stability(frames, 0.0, Qc())
        assert not found.passed
        assert found.words == "dark.fits: next to no light"
        assert found.value == pytest.approx(0.99)

    def test_drift_is_named(self):
        found = check_stability(self.frames(0.97, 1.0, 1.03), 0.06, Qc())
        assert not found.passed
        assert found.words == "the lamp drifted by +6.0% from the first to the last frame"

    def test_without_a_lit_pixel(self):
        frames = (*self.frames(1.0, 1.0), FrameCheck("nan.fits", 2.0, NAN, 0.0, "no lit pixel has a value"))
        found = check_stability(frames, NAN, Qc())
        assert not found.passed
        assert np.isnan(found.value)
        assert found.words == "nan.fits: no lit pixel has a value"

    def test_it_may_decide(self):
        found = check(flat_of([0.01]), Qc(decisive=("frames",)), frames=self.frames(1.0, 1.2), drift=0.2)
        assert not found.passed
