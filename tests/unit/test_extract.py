"""Extraction of a fibre: rejection, signal to noise, saturation, and the choice of weights."""

import numpy as np
import pytest

from flatcore.extract import OnDetector, extract, middle_flux
from flatcore.instrument import Fiber
from flatcore.settings import ExtractSettings
from tests.twins import extract as twin
from tests.twins.recipe import signal_to_noise
from tests.twins.statistics import robust_sigma

SHAPE = (60, 240)
WINDOWS = ((12, 17), (38, 17))
READNOISE, GAIN = 5.0, 1.5


def fiber(half):
    return Fiber(channel=0, localisation="A", below=half, above=half)


def scene(flux=2000.0, seed=4):
    """Two orders of a Gaussian profile with photon and read noise, a cosmic ray and a dead column."""
    rng = np.random.default_rng(seed)
    y = np.arange(SHAPE[0])[:, None]
    profile = sum(np.exp(-0.5 * ((y - centre) / 2.5) ** 2) for centre in (20.2, 46.1)) * np.ones(SHAPE)
    clean = flux * profile
    image = rng.poisson(clean) + rng.normal(0, READNOISE, SHAPE)
    image[22, 50] += 60000.0
    image[12:30, 70] = np.nan
    return image.astype(np.float32), profile.astype(np.float32)


def run(image, profile, half=8.0, windows=WINDOWS, photon_variance=1.0, readnoise=READNOISE, given=True, **settings):
    return extract(
        "A",
        image,
        profile,
        windows,
        fiber(half),
        ExtractSettings(**settings),
        on_detector=OnDetector(image, profile) if given else None,
        readnoise_e=readnoise,
        gain=GAIN,
        photon_variance=photon_variance,
    )


def by_twin(image, profile, rejection=True, threshold=10.0):
    """E2DS, E2DSLL, E2DSCC and the rejected pixels of every order."""
    orders = []
    for first, count in WINDOWS:
        pixels, shape = (twin.window(array.astype(float), first, count) for array in (image, profile))
        orders.append(twin.extract_order(pixels, shape, rejection, threshold))
    return zip(*orders, strict=True)


class TestSpectra:
    def test_are_the_twins(self):
        image, profile = scene()
        found = run(image, profile)
        e2ds, stacked, kept, rejected = by_twin(image, profile)
        np.testing.assert_allclose(found.e2ds, e2ds, rtol=1e-9, equal_nan=True)
        np.testing.assert_allclose(found.e2dsll, np.vstack(stacked), rtol=1e-6, equal_nan=True)
        np.testing.assert_array_equal(found.e2dscc, np.vstack(kept))
        assert found.rejected == rejected
        assert (found.fiber, found.windows, found.readnoise_e) == ("A", WINDOWS, READNOISE)
        assert np.isnan(found.e2ds[0, 70])

    def test_measure_the_flux(self):
        image, profile = scene()
        found = run(image, profile)
        total = 2000.0 * 2.5 * np.sqrt(2 * np.pi)
        assert np.nanmean(found.e2ds) == pytest.approx(total, rel=0.01)

    def test_errors_are_the_scatter(self):
        spectra = [run(*scene(seed=seed)) for seed in range(20)]
        scatter = robust_sigma(np.concatenate([found.e2ds[1] for found in spectra]))
        claimed = np.median(np.concatenate([found.e2ds_error[1] for found in spectra]))
        assert claimed == pytest.approx(scatter, rel=0.1)

    def test_errors_of_a_combined_image_are_smaller(self):
        image, profile = scene()
        # Without rejection: which pixels are near its limit does not depend on the noise they are said to have.
        one, four = (run(image, profile, photon_variance=variance, rejection=1e9) for variance in (1.0, 0.25))
        np.testing.assert_array_equal(one.e2ds, four.e2ds)
        assert np.nanmedian(four.e2ds_error / one.e2ds_error) == pytest.approx(0.5, abs=0.03)

    def test_the_arrays_given_are_not_changed(self):
        image, profile = scene()
        before = image.copy(), profile.copy()
        run(image, profile)
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(profile, before[1])

    def test_shapes_must_agree(self):
        image, profile = scene()
        with pytest.raises(ValueError, match="shape"):
            run(image, profile[:, :-1].copy())


class TestRejection:
    def test_a_cosmic_ray_is_left_out(self):
        image, profile = scene()
        found = run(image, profile)
        assert found.e2dscc[22 - 12, 50] == 0
        assert found.e2ds[0, 50] == pytest.approx(np.nanmedian(found.e2ds[0]), rel=0.1)

    @pytest.mark.parametrize(("half", "rejects"), [(5.0, False), (5.5, True), (8.0, True), (2.0, False)])
    def test_a_narrow_window_has_none(self, half, rejects):
        image, profile = scene()
        found = run(image, profile, half=half)
        e2ds, *_, rejected = by_twin(image, profile, rejection=rejects)
        np.testing.assert_allclose(found.e2ds, e2ds, rtol=1e-9, equal_nan=True)
        assert found.rejected == rejected
        assert (found.e2dscc[22 - 12, 50] == 0) == rejects

    def test_what_is_narrow_is_a_setting(self):
        image, profile = scene()
        assert run(image, profile, narrow_window=16.0).e2dscc[10, 50] == 1
        assert run(image, profile, narrow_window=15.9).e2dscc[10, 50] == 0

    @pytest.mark.parametrize("threshold", [3.0, 10.0, 1e9])
    def test_the_distance_is_a_setting(self, threshold):
        image, profile = scene()
        found = run(image, profile, rejection=threshold)
        assert found.rejected == list(by_twin(image, profile, threshold=threshold))[3]
        np.testing.assert_array_equal(found.e2dscc[10, 50], int(threshold > 1e8))


class TestWeights:
    def test_horne_changes_the_result(self):
        image, profile = scene(flux=60.0)
        optimal, horne = (run(image, profile, method=method) for method in ("optimal", "horne"))
        good = np.isfinite(optimal.e2ds)
        assert (optimal.e2ds[good] != horne.e2ds[good]).mean() > 0.99
        np.testing.assert_allclose(np.nanmean(horne.e2ds), np.nanmean(optimal.e2ds), rtol=0.05)
        assert np.nanmedian(horne.e2ds_error) < np.nanmedian(optimal.e2ds_error)
        assert horne.e2dscc[10, 50] == 0

    def test_without_read_noise_no_weight_is_infinite(self):
        image, profile = scene(flux=60.0)
        profile[12:14] = 0.0
        image[:, 100:140] *= -1
        for method in ("optimal", "horne", "direct"):
            found = run(image, profile, method=method, readnoise=0.0)
            good = np.arange(SHAPE[1]) != 70
            assert np.isfinite(found.e2ds[:, good]).all() and np.isfinite(found.e2ds_error[:, good]).all()
            flux = 60.0 * 2.5 * np.sqrt(2 * np.pi)
            assert np.median(found.e2ds[:, :60]) == pytest.approx(flux, rel=0.05)
            assert np.median(found.e2ds[:, 100:140]) == pytest.approx(-flux, rel=0.05)

    def test_direct_needs_the_image_before_straightening(self):
        image, profile = scene()
        with pytest.raises(ValueError, match="before straightening"):
            run(image, profile, method="direct", given=False)

    def test_direct_of_a_straight_image_is_horne(self):
        image, profile = scene()
        horne, direct = (run(image, profile, method=method) for method in ("horne", "direct"))
        np.testing.assert_allclose(direct.e2ds, horne.e2ds, rtol=1e-9)
        np.testing.assert_allclose(direct.e2ds_error, horne.e2ds_error, rtol=1e-9)
        np.testing.assert_array_equal(direct.e2dscc, horne.e2dscc)
        np.testing.assert_array_equal(direct.bad, horne.bad)


class TestSignal:
    def test_to_noise(self):
        image, profile = scene()
        found = run(image, profile)
        flux = np.nansum(found.e2ds[:, 70:170], axis=1) / 100
        np.testing.assert_allclose(found.snr, flux / np.sqrt(flux + READNOISE**2 * 16), rtol=1e-12)
        np.testing.assert_allclose(
            found.snr, [signal_to_noise(order, READNOISE, 16) for order in found.e2ds], rtol=1e-12
        )

    def test_to_noise_of_an_order_off_the_detector(self):
        image, profile = scene()
        found = run(image, profile, windows=((80, 17),))
        assert np.isnan(found.e2ds).all()
        assert (found.snr[0], found.level_adu[0]) == (0.0, 0.0)
        assert not found.saturated[0]

    def test_of_a_window_of_one_row_there_is_none(self):
        # A single pixel lies on its own scaled profile: there is no distance to measure outliers by.
        image, profile = scene()
        found = run(image, profile, half=0.0, windows=((20, 1),))
        assert np.isnan(found.e2ds).all()
        assert np.isnan(found.snr).all()
        assert not found.saturated.any()

    def test_level(self):
        image, profile = scene()
        found = run(image, profile)
        np.testing.assert_allclose(found.level_adu, middle_flux(found.e2ds) / GAIN / 16, rtol=1e-12)

    def test_saturated_orders_are_flagged(self):
        image, profile = scene()
        image[WINDOWS[1][0] :] *= 3
        low, high = run(image, profile).level_adu
        assert low < high
        for limit, expected in ((high + 1, [False, False]), ((low + high) / 2, [False, True]), (low - 1, [True, True])):
            assert run(image, profile, saturation_adu=limit).saturated.tolist() == expected

    def test_the_level_of_the_limit_itself_passes(self):
        image, profile = scene()
        level = float(run(image, profile).level_adu.max())
        assert not run(image, profile, saturation_adu=level).saturated.any()


class TestMiddle:
    @pytest.mark.parametrize("columns", [240, 241, 4088])
    def test_columns(self, columns):
        e2ds = np.zeros((1, columns))
        e2ds[0, columns // 2 - 50 : columns // 2 + 50] = 7.0
        assert middle_flux(e2ds)[0] == pytest.approx(7.0, rel=1e-14)
        e2ds[0, columns // 2 - 51] = e2ds[0, columns // 2 + 50] = 1e9
        assert middle_flux(e2ds)[0] == pytest.approx(7.0, rel=1e-14)

    def test_nan_counts_as_nothing(self):
        e2ds = np.full((1, 200), 4.0)
        e2ds[0, 60:85] = np.nan
        assert middle_flux(e2ds)[0] == pytest.approx(3.0)

    def test_a_short_order(self):
        assert middle_flux(np.full((2, 40), 5.0)).tolist() == [2.0, 2.0]
