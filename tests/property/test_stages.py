"""The stages held to their invariants on data of any kind: gaps, infinities, single pixels and wild values."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from flatcore.blaze import fit_blaze, sinc2, sinc2_jacobian
from flatcore.calibrate import calibrate
from flatcore.combine import combine_frames, median_variance, product_stem
from flatcore.extract import OnDetector, extract
from flatcore.fitsio import read_doubles, read_image
from flatcore.flat import make_flat
from flatcore.images import Exposure
from flatcore.instrument import Background, Blaze, Detector, Fiber, Qc, load_profile
from flatcore.localisation import move_traces, order_windows, straight_rows
from flatcore.qc import check_rms, order_verdicts
from flatcore.settings import BlazeSettings, CalibrateSettings, ExtractSettings, FlatSettings, parse_assignment, resolve
from flatcore.spectra import FiberSpectra, Reason, Rung
from tests.twins import calibrate as calibrate_twin
from tests.twins import combine as combine_twin
from tests.twins.extract import order_rows

few = settings(max_examples=25, deadline=None)
some = settings(max_examples=60, deadline=None)

METHODS = st.sampled_from(["median", "mean", "clipped"])
fluxes = st.floats(-1e6, 1e6, width=32)
anything = st.one_of(fluxes, st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
SPIROU = load_profile("SPIROU")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Keep the linear algebra of these small fits from waiting for other processes' threads."""
    with threadpool_limits(1, user_api="blas"):
        yield


def stacks(elements=anything, counts=(1, 6), shape=(3, 4)):
    """A few small frames."""
    return st.integers(*counts).flatmap(lambda n: hnp.arrays(np.float32, (n, *shape), elements=elements))


class TestCombine:
    @some
    @given(stacks(), METHODS)
    def test_is_the_twin(self, frames, method):
        expected = combine_twin.combine_frames(frames, method, 5.0, 60.0, 0.2)
        found = combine_frames(list(frames), method, 5.0, 60.0, 0.2)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0.1, equal_nan=True)

    @some
    @given(stacks(), st.randoms(use_true_random=False))
    def test_the_order_of_frames_does_not_matter(self, frames, random):
        order = random.sample(range(len(frames)), len(frames))
        np.testing.assert_array_equal(combine_frames(list(frames)), combine_frames(list(frames[order])))

    @some
    @given(stacks(), METHODS)
    def test_lies_among_the_finite_values(self, frames, method):
        found = combine_frames(list(frames), method)
        finite = np.isfinite(frames)
        np.testing.assert_array_equal(np.isfinite(found), finite.any(axis=0))
        low = np.where(finite, frames, np.inf).min(axis=0)
        high = np.where(finite, frames, -np.inf).max(axis=0)
        valued = finite.any(axis=0)
        found, low, high = found[valued], low[valued], high[valued]
        room = 1e-6 * np.maximum(abs(low), abs(high))
        assert (found >= low - room).all()
        assert (found <= high + room).all()

    @some
    @given(hnp.arrays(np.float32, (3, 4), elements=fluxes), st.integers(1, 7), METHODS)
    def test_of_copies_is_the_frame(self, frame, count, method):
        np.testing.assert_allclose(combine_frames([frame] * count, method), frame, rtol=1e-6)

    @some
    @given(st.lists(st.text("abcxyz0123456789_.", min_size=1), min_size=2, max_size=6), st.randoms())
    def test_the_stem_depends_on_the_set_of_names_only(self, names, random):
        stem = product_stem(names)
        assert stem == product_stem(random.sample(names, len(names)))
        assert stem == hashlib.blake2b(" ".join(sorted(names)).encode(), digest_size=5).hexdigest().upper() + "_pp"

    @few
    @given(st.integers(1, 3000))
    def test_variance_of_the_median(self, count):
        """Never below the mean's, never above half as much again and a bit, and less with two frames more."""
        variance = median_variance(count)
        assert 1 / count * (1 - 1e-9) <= variance < 1.571 / count
        assert median_variance(count + 2) < variance


class TestPixels:
    @some
    @given(
        st.sampled_from(["u1", "i2", "u2", "i4", "u4", "f4", "f8"]).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
        ),
        st.booleans(),
    )
    def test_survive_a_file(self, pixels, in_extension):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.fits"
            hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels)] if in_extension else [fits.PrimaryHDU(pixels)]
            fits.HDUList(hdus).writeto(path)
            with np.errstate(over="ignore", invalid="ignore"):
                expected = pixels.astype(np.float32)
            np.testing.assert_array_equal(read_image(path)[1], expected)
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(read_doubles(path), pixels.astype(float))


class TestCalibrate:
    EXPOSURE = Exposure(exptime_s=10.0, frame_time_s=2.0, readnoise_e=8.0, gain=1.5, saturation_adu=2e5)
    OFF = CalibrateSettings(
        bounds=False, dark=False, flip="none", resize=False, badpix=False, background=False, hotpixels=False
    )

    @some
    @given(
        hnp.arrays(np.float32, (12, 15), elements=anything),
        st.sampled_from(["none", "x", "y", "both"]),
        st.integers(0, 5),
        st.integers(7, 12),
        st.booleans(),
    )
    def test_bounds_flip_and_crop_are_the_twins(self, image, flip, first, last, bounds):
        detector = Detector(shape=(12, 15), flip=flip, rows=(first, last), columns=(2, 14), gain=1.5)
        chosen = self.OFF.model_copy(update={"flip": None, "resize": True, "bounds": bounds})
        unlit = np.ones((last - first, 12), np.uint8)
        found = calibrate(image, self.EXPOSURE, detector, Background(), chosen, unlit=unlit).image
        low, high = (-60.0, 1e5) if bounds else (-np.inf, np.inf)
        expected = calibrate_twin.to_electrons(image, low, high, None, flip, 15.0, (first, last), (2, 14), None)
        np.testing.assert_allclose(found, expected, rtol=1e-6, equal_nan=True)

    @some
    @given(hnp.arrays(np.float32, (16, 18), elements=st.floats(-1e4, 1e4, width=32)), st.floats(-1e3, 1e3))
    def test_a_level_added_everywhere_goes_with_the_background(self, image, level):
        detector = Detector(shape=(16, 18), rows=(0, 16), columns=(0, 18), gain=1.5)
        chosen = self.OFF.model_copy(update={"background": True})
        unlit = np.ones((16, 18), np.uint8)
        arguments = self.EXPOSURE, detector, Background(box=4), chosen
        plain = calibrate(image, *arguments, unlit=unlit).image
        raised = calibrate(image + np.float32(level), *arguments, unlit=unlit).image
        np.testing.assert_allclose(raised, plain, atol=1.0)


class TestLocalisation:
    @some
    @given(st.floats(-100, 4000), st.floats(0, 40), st.floats(0, 40))
    def test_windows_are_the_twins(self, centre, below, above):
        fiber = Fiber(channel=0, localisation="A", below=below, above=above)
        (window,) = order_windows(np.array([centre]), fiber)
        assert window == order_rows(centre, below, above)
        first, count = window
        assert abs(first - (centre - below)) <= 0.5
        assert abs(first + count - 1 - (centre + above)) <= 0.5

    @some
    @given(
        hnp.arrays(float, (3, 4), elements=st.floats(-20, 20)), st.floats(-5, 5), st.sampled_from([64, 65, 1080, 4088])
    )
    def test_a_shift_of_rows_moves_rows_by_itself(self, traces, shift, columns):
        moved = move_traces(traces, (0.0, shift, 1.0, 0.0, 0.0, 1.0), columns)
        before, after = straight_rows(traces, columns), straight_rows(moved, columns)
        np.testing.assert_allclose(after, before - shift, atol=1e-8)


class TestExtract:
    FIBER = Fiber(channel=0, localisation="A", below=6, above=6)

    @some
    @given(
        hnp.arrays(np.float32, (14, 9), elements=anything),
        hnp.arrays(np.float32, (14, 9), elements=st.one_of(st.floats(0, 1e3, width=32), st.just(np.nan))),
        st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 15)), min_size=1, max_size=3),
        st.sampled_from(["optimal", "horne", "direct"]),
    )
    def test_whatever_the_pixels_the_planes_agree(self, image, profile, windows, method):
        chosen = ExtractSettings(method=method)
        with np.errstate(all="ignore"):
            found = extract(
                "A", image, profile, windows, self.FIBER, chosen,
                on_detector=OnDetector(image, profile), readnoise_e=5.0, gain=1.0,
            )  # fmt: skip
        rows = sum(count for _, count in windows)
        assert found.e2dsll.shape == found.e2dscc.shape == (rows, 9)
        assert found.rejected == tuple(
            int((plane == 0).sum()) for plane in np.split(found.e2dscc, np.cumsum([count for _, count in windows])[:-1])
        )
        start = 0
        for order, (first, count) in enumerate(windows):
            kept = found.e2dscc[start : start + count] != 0
            stacked = found.e2dsll[start : start + count]
            start += count
            assert np.isnan(stacked[~kept]).all()
            assert np.isnan(found.e2ds[order][~kept.any(axis=0)]).all()
            off = np.array([not 0 <= first + k < 14 for k in range(count)])
            assert not kept[off].any()

    @some
    @given(st.floats(10, 1e4), hnp.arrays(np.float32, (13,), elements=st.floats(0.5, 10, width=32)))
    def test_the_flux_of_a_scaled_profile_is_its_scale(self, flux, shape):
        # A little noise: without any, there is no distance to measure outliers by.
        noise = np.random.default_rng(1).normal(0, 1e-3, (13, 40))
        image = flux * (shape / shape.sum())[:, None] + noise
        profile = np.repeat(shape[:, None], 40, axis=1)
        found = extract(
            "A",
            image.astype(np.float32),
            profile.astype(np.float32),
            [(0, 13)],
            self.FIBER,
            ExtractSettings(rejection=1e6),
            readnoise_e=1.0,
            gain=1.0,
        )
        np.testing.assert_allclose(found.e2ds, flux, rtol=0.01)


ORDERS = st.integers(0, 120).flatmap(
    lambda size: hnp.arrays(float, size, elements=st.one_of(anything, st.floats(-1e37, 1e37), st.just(1e4)))
)


class TestBlaze:
    @few
    @given(ORDERS, st.integers(1, 60), st.floats(0, 0.99), st.booleans())
    @example(np.full(40, np.nan), 25, 0.1, True)
    @example(np.r_[np.full(20, 1e-30), np.full(20, 1e30)], 1, 0.1, True)
    def test_never_raises(self, order, width, cut, cubic):
        fit = fit_blaze(order, Blaze(median_width=width, cut=cut), BlazeSettings(cubic=cubic))
        assert fit.blaze.shape == fit.blaze_error.shape == fit.filtered.shape == fit.fitted.shape == order.shape
        assert (fit.rung is Rung.NONE) == (fit.problem != "")
        # A spline is a blaze without the parameters of a sinc^2.
        assert np.isfinite(fit.parameters).all() == (fit.rung <= Rung.PREDICTED)
        assert np.isfinite(fit.filtered[fit.fitted]).all()
        if fit.problem:
            assert np.isnan(fit.blaze).all()
        elif fit.rung is Rung.SPLINE:
            assert np.isfinite(fit.blaze).any()
        else:
            assert fit.parameters[0] >= 0
            assert fit.parameters[1] > 0
            assert 0 <= fit.parameters[2] <= order.size - 1
            assert cubic or fit.parameters[4] == 0

    @few
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 2.0, 1024.0, 2.0**40]))
    def test_scales_with_the_flux(self, seed, scale):
        rng = np.random.default_rng(seed)
        x = np.arange(400.0)
        order = sinc2(x, np.array([1e4, 950.0, rng.uniform(150, 250), 0.0, 0.0, 1e-4]))[0] * rng.normal(1, 0.005, 400)
        first, second = (fit_blaze(factor * order, Blaze(), BlazeSettings(cubic=False)) for factor in (1.0, scale))
        assert first.problem == second.problem == ""
        np.testing.assert_allclose(second.blaze, scale * first.blaze, rtol=1e-6)

    @some
    @given(
        st.tuples(
            st.floats(1, 1e5),
            st.floats(300, 5000),
            st.floats(0, 399),
            st.floats(-1e-4, 1e-4),
            st.floats(-1e-7, 1e-7),
            st.floats(-1e-3, 1e-3),
        )
    )
    def test_derivatives(self, values):
        x, parameters = np.arange(400.0), np.array(values)
        found = sinc2_jacobian(x, parameters)
        steps = 1e-5 * np.array([parameters[0], parameters[1], parameters[1], 1e-3, 1e-6, 1e-3])
        for column, step in enumerate(steps):
            move = np.zeros(6)
            move[column] = step
            expected = (sinc2(x, parameters + move)[0] - sinc2(x, parameters - move)[0]) / (2 * step)
            room = 1e-5 * abs(expected).max() + 1e-9 * parameters[0] / step
            np.testing.assert_allclose(found[:, column], expected, atol=room)


class TestFlat:
    @few
    @given(
        hnp.arrays(float, (2, 60), elements=st.one_of(st.floats(0.5, 2.0), st.just(np.nan), st.floats(-1e6, 1e6))),
        st.booleans(),
    )
    def test_blaze_times_flat_is_e2ds(self, response, slow):
        x = np.arange(60.0)
        blaze = sinc2(x, np.array([1e4, 150.0, 30.0, 0.0, 0.0, 0.0]))[0]
        fits_of = tuple(fit_blaze(order, Blaze(), BlazeSettings()) for order in (blaze, blaze * 2))
        spectra = FiberSpectra(
            fiber="A",
            e2ds=blaze * response,
            e2ds_error=np.ones((2, 60)),
            e2dsll=np.zeros((2, 60), np.float32),
            e2dscc=np.ones((2, 60), np.uint8),
            windows=((0, 1), (1, 1)),
            rejected=(0, 0),
            snr=np.zeros(2),
            level_adu=np.zeros(2),
            saturated=np.zeros(2, bool),
            readnoise_e=1.0,
            bad=np.zeros((2, 60), bool),
            outlying=np.zeros((2, 60), bool),
            off_detector=np.zeros((2, 60), bool),
            coverage=np.ones((2, 60)),
        )
        flat = make_flat(spectra, fits_of, FlatSettings(divide_slow_part=slow))
        valued = np.isfinite(flat.e2ds)
        masked = (flat.reasons & np.int16(Reason.OUTLIER_SIGMA | Reason.OUTLIER_LIMIT)) != 0
        assert not (valued & masked).any()
        assert np.isnan(flat.blaze[masked]).all()
        if not slow:
            np.testing.assert_allclose((flat.blaze * flat.flat)[valued], flat.e2ds[valued], rtol=1e-15)
            assert (abs(flat.flat[valued] - 1) <= 0.2).all()


class TestQc:
    @some
    @given(
        hnp.arrays(float, st.integers(0, 8), elements=st.one_of(st.floats(0, 2), st.just(np.nan))),
        st.floats(0.01, 1),
        st.sets(st.integers(0, 9)),
    )
    def test_a_fiber_passes_where_no_order_fails(self, rms, limit, skipped):
        limits = Qc(max_rms=limit, skip_orders=tuple(skipped))
        verdicts = order_verdicts(rms, limits)
        assert check_rms(rms, limits).passed == ("fail" not in verdicts)
        assert [verdict == "skipped" for verdict in verdicts] == [order in skipped for order in range(rms.size)]


class TestAssignments:
    @some
    @given(st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False)))
    def test_values_survive_their_text(self, value):
        found = parse_assignment(f"a.b={value}")["a"]["b"]
        assert found == value
        assert isinstance(found, bool) == isinstance(value, bool)

    @some
    @given(st.floats(0, 0.99), st.floats(0, 500))
    def test_of_profile_values(self, cut, below):
        profile, _ = resolve(SPIROU, assignments=[f"blaze.cut={cut}", f"fibers.A.below={below}"])
        assert (profile.blaze.cut, profile.fibers["A"].below) == (cut, below)
        assert profile.fibers["AB"] == SPIROU.fibers["AB"]
