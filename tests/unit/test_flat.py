"""The flat: E2DS over blaze, its masks with their reasons, its scatter, and its slow part."""

import numpy as np
import pytest

from flatcore.flat import make_flat
from flatcore.settings import FlatSettings
from flatcore.spectra import BlazeFit, FiberSpectra, Reason, Rung
from tests.twins import blaze as twin

COLUMNS, ROWS = 800, 40
WINDOWS = ((2, 5), (12, 5), (36, 5))


def spectra_of(e2ds, windows=WINDOWS):
    """Extracted orders in which every pixel was kept."""
    rows = sum(count for _, count in windows)
    nothing = np.zeros(len(e2ds))
    return FiberSpectra(
        fiber="AB",
        e2ds=e2ds,
        e2ds_error=np.sqrt(np.abs(e2ds)),
        e2dsll=np.zeros((rows, COLUMNS), np.float32),
        e2dscc=np.ones((rows, COLUMNS), np.uint8),
        windows=tuple(windows),
        rejected=(0,) * len(e2ds),
        snr=nothing,
        level_adu=nothing,
        saturated=nothing > 0,
        readnoise_e=5.0,
        bad=np.zeros(e2ds.shape, bool),
        outlying=np.zeros(e2ds.shape, bool),
        off_detector=np.zeros(e2ds.shape, bool),
        coverage=np.ones(e2ds.shape),
    )


def fit_of(blaze, problem="", fitted=None, rung=Rung.FULL):
    """A blaze as if it had been fitted; NaN is under the cut where there is one."""
    fitted = np.isfinite(blaze) if fitted is None else fitted
    return BlazeFit(
        rung=Rung.NONE if problem else rung,
        loss="linear",
        parameters=np.ones(6),
        errors=np.ones(6),
        blaze=blaze,
        blaze_error=0.01 * blaze,
        filtered=blaze.copy(),
        fitted=fitted,
        low=np.isnan(blaze) & (problem == ""),
        misfit=0.001,
        departure=0.01,
        reasons=(problem,) if problem else (),
        evaluations=10,
    )


def night(seed=1, scatter=0.005):
    """Three orders of one blaze, which is cut at the ends, with noise."""
    x = np.arange(COLUMNS)
    blaze = 1e4 * np.sinc((x - 400) / 480) ** 2
    e2ds = blaze * np.random.default_rng(seed).normal(1, scatter, (3, COLUMNS))
    blaze[blaze < 1e3] = np.nan
    return e2ds, [fit_of(blaze.copy()) for _ in range(3)]


def run(e2ds, fits, windows=WINDOWS, **settings):
    return make_flat(spectra_of(e2ds, windows), fits, FlatSettings(**settings))


def has(flat, reason):
    return (flat.reasons & np.int16(reason)) != 0


class TestResponse:
    def test_blaze_times_flat_is_e2ds(self):
        e2ds, fits = night()
        flat = run(e2ds, fits)
        valued = np.isfinite(flat.e2ds)
        np.testing.assert_allclose((flat.blaze * flat.flat)[valued], e2ds[valued], rtol=1e-15)
        np.testing.assert_array_equal(flat.e2ds[valued], e2ds[valued])
        assert valued.mean() > 0.8

    def test_the_planes_have_their_values_together(self):
        e2ds, fits = night()
        e2ds[0, 400] *= 2
        flat = run(e2ds, fits)
        for plane in (flat.flat, flat.e2ds, flat.flat_error, flat.blaze_error):
            np.testing.assert_array_equal(np.isnan(plane), np.isnan(flat.blaze))

    @pytest.mark.parametrize("order", range(3))
    def test_is_the_twins(self, order):
        e2ds, fits = night(seed=5)
        e2ds[order, [200, 210]] *= [1.5, 0.93]
        flat = run(e2ds, fits)
        expected = twin.make_flat(e2ds[order], fits[order].blaze, fits[order].fitted)
        for found, plane in zip((flat.flat, flat.blaze, flat.e2ds), expected, strict=False):
            np.testing.assert_array_equal(found[order], plane)
        assert flat.rms[order] == pytest.approx(expected[3], rel=1e-12)

    def test_errors(self):
        e2ds, fits = night()
        flat = run(e2ds, fits)
        expected = np.sqrt(e2ds) / np.stack([fit.blaze for fit in fits])
        np.testing.assert_allclose(flat.flat_error, expected, rtol=1e-12)
        np.testing.assert_array_equal(flat.blaze_error, [fit.blaze_error for fit in fits])

    def test_where_nothing_was_extracted_the_blaze_stays(self):
        e2ds, fits = night()
        e2ds[1, 300] = np.nan
        flat = run(e2ds, fits)
        assert np.isnan(flat.flat[1, 300])
        assert flat.blaze[1, 300] == fits[1].blaze[300]
        assert flat.reasons[1, 300] == Reason.NO_DATA

    def test_what_was_given_is_not_changed(self):
        e2ds, fits = night()
        e2ds[0, 400] *= 2
        before = e2ds.copy(), fits[0].blaze.copy(), fits[0].blaze_error.copy()
        run(e2ds, fits, divide_slow_part=True)
        for array, copy in zip((e2ds, fits[0].blaze, fits[0].blaze_error), before, strict=True):
            np.testing.assert_array_equal(array, copy)


class TestMasks:
    def test_ten_sigma(self):
        e2ds, fits = night()
        e2ds[0, 400] = fits[0].blaze[400] * 1.1
        flat = run(e2ds, fits)
        sigma = flat.rms_before[0]
        assert 0.004 < sigma < 0.006
        wild = np.abs(e2ds[0] / fits[0].blaze - 1) > 10 * sigma
        np.testing.assert_array_equal(np.flatnonzero(wild), [400])
        np.testing.assert_array_equal(has(flat, Reason.OUTLIER_SIGMA)[0], wild)
        assert not has(flat, Reason.OUTLIER_LIMIT).any()
        assert np.isnan([flat.flat[0, 400], flat.blaze[0, 400], flat.e2ds[0, 400]]).all()

    @pytest.mark.parametrize(("value", "masked"), [(1.19, False), (1.21, True), (0.81, False), (0.79, True)])
    def test_the_limit_of_a_fifth(self, value, masked):
        e2ds, fits = night(scatter=0.05)
        e2ds[2, 400] = fits[2].blaze[400] * value
        flat = run(e2ds, fits)
        assert has(flat, Reason.OUTLIER_LIMIT)[2, 400] == masked
        assert np.isnan(flat.flat[2, 400]) == masked
        assert not has(flat, Reason.OUTLIER_SIGMA)[2, 400]

    def test_both(self):
        e2ds, fits = night()
        e2ds[1, 400] *= 1.5
        assert run(e2ds, fits).reasons[1, 400] == Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT

    def test_both_are_settings(self):
        e2ds, fits = night()
        e2ds[0, 400] = fits[0].blaze[400] * 1.3
        assert run(e2ds, fits, sigma_cut=100.0, limit=0.5).reasons[0, 400] == 0
        assert run(e2ds, fits, sigma_cut=100.0, limit=0.25).reasons[0, 400] == Reason.OUTLIER_LIMIT
        assert run(e2ds, fits, sigma_cut=20.0, limit=0.5).reasons[0, 400] == Reason.OUTLIER_SIGMA

    def test_scatter_is_taken_from_the_fitted_columns_before_and_after(self):
        e2ds, fits = night(scatter=0.05)
        fitted = np.isfinite(fits[0].blaze)
        fitted[300:] = False
        fits[0] = fit_of(fits[0].blaze, fitted=fitted)
        e2ds[0, 100:150] *= 1.6
        flat = run(e2ds, fits)
        assert flat.rms_before[0] == pytest.approx(
            twin.robust_sigma(e2ds[0, fitted] / fits[0].blaze[fitted]), rel=1e-12
        )
        assert flat.rms[0] == pytest.approx(twin.robust_sigma(flat.flat[0, fitted]), rel=1e-12)
        assert flat.rms[0] < flat.rms_before[0]


class TestReasons:
    def test_of_a_good_pixel_there_is_none(self):
        e2ds, fits = night()
        flat = run(e2ds, fits)
        assert (flat.reasons[:2, 300:500] == 0).all()

    def test_under_the_cut(self):
        e2ds, fits = night()
        flat = run(e2ds, fits)
        low = np.isnan(fits[0].blaze)
        np.testing.assert_array_equal(has(flat, Reason.LOW_BLAZE)[0], low)
        assert np.isnan(flat.e2ds[0, low]).all()
        assert low.sum() > 20

    @pytest.mark.parametrize(
        ("plane", "reason"),
        [("bad", Reason.BAD_PIXEL), ("outlying", Reason.REJECTED), ("off_detector", Reason.OFF_DETECTOR)],
    )
    def test_what_the_window_lacks(self, plane, reason):
        e2ds, fits = night()
        spectra = spectra_of(e2ds)
        getattr(spectra, plane)[1, 420] = True
        flat = make_flat(spectra, fits, FlatSettings())
        np.testing.assert_array_equal(np.argwhere(has(flat, reason)), [[1, 420]])
        assert flat.reasons[1, 420] == reason
        assert np.isfinite(flat.flat[1, 420])

    def test_saturated_pixels(self):
        e2ds, fits = night()
        saturated = np.zeros(e2ds.shape, bool)
        saturated[2, 333] = True
        flat = make_flat(spectra_of(e2ds), fits, FlatSettings(), saturated)
        np.testing.assert_array_equal(np.argwhere(has(flat, Reason.SATURATED)), [[2, 333]])

    @pytest.mark.parametrize(("rung", "reason"), [(Rung.PREDICTED, Reason.PREDICTED), (Rung.SPLINE, Reason.SPLINE)])
    def test_a_blaze_that_is_not_the_orders_own(self, rung, reason):
        e2ds, fits = night()
        fits[1] = fit_of(fits[1].blaze, rung=rung)
        flat = run(e2ds, fits)
        assert has(flat, reason)[1].all()
        assert not has(flat, reason)[[0, 2]].any()

    def test_columns_without_a_blaze_that_are_not_under_the_cut(self):
        e2ds, fits = night()
        fits[1].low[:] = False
        flat = run(e2ds, fits)
        np.testing.assert_array_equal(has(flat, Reason.NO_BLAZE)[1], np.isnan(fits[1].blaze))
        assert not has(flat, Reason.LOW_BLAZE)[1].any()

    def test_each_bit_is_its_own(self):
        assert [reason.value for reason in Reason] == [2**bit for bit in range(11)]


class TestNoFit:
    def test_an_order_without_a_fit_disturbs_no_other(self):
        e2ds, fits = night()
        whole = run(e2ds, fits)
        none = np.full(COLUMNS, np.nan)
        fits[1] = fit_of(none, "no flux", np.zeros(COLUMNS, bool))
        flat = run(e2ds, fits)
        for name in ("e2ds", "blaze", "blaze_error", "flat", "flat_error", "reasons", "rms_before", "rms"):
            found, expected = getattr(flat, name), getattr(whole, name)
            np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
        for plane in (flat.e2ds, flat.blaze, flat.flat, flat.flat_error):
            assert np.isnan(plane[1]).all()
        assert np.isnan([flat.rms_before[1], flat.rms[1]]).all()
        assert (flat.reasons[1] == Reason.NO_BLAZE).all()
        assert flat.fits[1].problem == "no flux"

    def test_of_all_orders(self):
        e2ds, _ = night()
        fits = [fit_of(np.full(COLUMNS, np.nan), "no flux", np.zeros(COLUMNS, bool)) for _ in e2ds]
        flat = run(e2ds, fits, divide_slow_part=True)
        assert np.isnan(flat.flat).all()
        assert np.isnan(flat.rms).all()


class TestSlowPart:
    def test_is_divided_out_after_masks_and_scatter(self):
        e2ds, fits = night()
        x = np.arange(COLUMNS)
        e2ds *= 1 + 0.05 * np.sin(x / 120)
        e2ds[0, 400] *= 1.5
        kept, divided = run(e2ds, fits), run(e2ds, fits, divide_slow_part=True, slow_width=101)
        for order in range(3):
            expected = kept.flat[order] / twin.low_pass(kept.flat[order], 101)
            np.testing.assert_allclose(divided.flat[order], expected, rtol=1e-12)
        np.testing.assert_array_equal(divided.rms, kept.rms)
        np.testing.assert_array_equal(divided.blaze, kept.blaze)
        np.testing.assert_array_equal(divided.reasons, kept.reasons)
        assert np.nanstd(divided.flat) < 0.3 * np.nanstd(kept.flat)

    def test_its_width_is_a_setting(self):
        e2ds, fits = night()
        narrow, wide = (run(e2ds, fits, divide_slow_part=True, slow_width=width).flat for width in (21, 501))
        assert not np.array_equal(narrow, wide, equal_nan=True)

    def test_stays_where_it_is_not_asked_for(self):
        e2ds, fits = night()
        np.testing.assert_array_equal(run(e2ds, fits, slow_width=21).flat, run(e2ds, fits).flat)
