"""From many frames to one: values, names, header and variance."""

import hashlib
import math

import numpy as np
import pytest
from astropy.io import fits

from flatcore.combine import combine, combine_frames, combined_header, median_variance, product_stem, relative_variance
from flatcore.errors import InputError
from flatcore.fitsio import open_image
from flatcore.images import Exposure
from flatcore.settings import CombineSettings
from tests.twins import combine as twin

EXPOSURE = Exposure(exptime_s=60.0, frame_time_s=5.5, readnoise_e=12.0, gain=1.5, saturation_adu=6e4)


def write_frames(folder, images, /, **cards):
    """Open frames of these images, a minute apart; a card may be a list with a value for each."""
    opened = []
    for i, image in enumerate(images):
        primary = fits.PrimaryHDU()
        primary.header.update({"MJDMID": 59000.0 + i, "MJDEND": 59000.5 + i, "EXPTIME": 60.0, "RDNOISE": 12.0})
        for key, value in cards.items():
            primary.header[key] = value[i] if isinstance(value, list) else value
        path = folder / f"{9 - i}_pp.fits"
        fits.HDUList([primary, fits.ImageHDU(image)]).writeto(path)
        opened.append(open_image(path))
    return opened


def noisy_frames(count=5, shape=(20, 30)):
    """Frames with photon noise, gaps and cosmic rays."""
    rng = np.random.default_rng(count)
    frames = rng.normal(500, 3, (count, *shape)).astype(np.float32)
    frames[rng.random(frames.shape) < 0.02] = np.nan
    frames[rng.random(frames.shape) < 0.01] += 5000
    frames[:, 2, 3] = np.nan
    return frames


class TestValues:
    @pytest.mark.parametrize("method", ["median", "mean", "clipped"])
    def test_of_files_are_the_twins(self, tmp_path, method):
        frames = noisy_frames()
        settings = CombineSettings(method=method, clip_sigma=4.0)
        found = combine(write_frames(tmp_path, frames), EXPOSURE, settings)
        expected = twin.combine_frames(frames, method, 4.0, 1.5 * 60, 12.0 / (1.5 * 60))
        np.testing.assert_allclose(found.image, expected, rtol=2e-7, equal_nan=True)
        assert np.isnan(found.image[2, 3])

    def test_the_methods_differ_where_there_is_a_cosmic_ray(self):
        frames = noisy_frames()
        results = {method: combine_frames(frames, method, 5.0, 90.0, 0.1) for method in ("median", "mean", "clipped")}
        assert np.nanmax(results["mean"]) > 1000
        assert np.nanmax(results["median"]) < 600
        assert np.nanmax(results["clipped"]) < 600
        assert not np.array_equal(results["median"], results["clipped"], equal_nan=True)

    def test_files_and_arrays_give_the_same(self, tmp_path):
        frames = noisy_frames(4)
        found = combine(write_frames(tmp_path, frames), EXPOSURE, CombineSettings())
        np.testing.assert_array_equal(found.image, combine_frames(frames))

    def test_arrays_of_any_type(self):
        frames = [np.full((3, 4), value) for value in (1, 2, 9)]
        result = combine_frames(frames)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, np.full((3, 4), 2.0))

    def test_arrays_given_are_not_changed(self):
        frames = noisy_frames()
        before = frames.copy()
        combine_frames(frames, "clipped")
        np.testing.assert_array_equal(frames, before)

    def test_one_frame_is_itself(self, tmp_path):
        frames = noisy_frames(1)
        found = combine(write_frames(tmp_path, frames), EXPOSURE, CombineSettings())
        np.testing.assert_array_equal(found.image, frames[0])
        assert found.photon_variance == 1.0
        assert found.stem == "9_pp"

    @pytest.mark.parametrize(
        ("frames", "method", "message"),
        [
            ([], "median", "number of frames"),
            ([np.zeros((2, 3)), np.zeros((3, 2))], "median", "shape"),
            ([np.zeros((2, 3))], "mode", "median, mean or clipped"),
        ],
    )
    def test_refused(self, frames, method, message):
        with pytest.raises(ValueError, match=message):
            combine_frames(frames, method)

    def test_a_file_that_is_gone(self, tmp_path):
        opened = write_frames(tmp_path, noisy_frames(3))
        opened[1].path.unlink()
        with pytest.raises(InputError, match=str(opened[1].path)):
            combine(opened, EXPOSURE, CombineSettings())

    def test_what_goes_with_the_image(self, tmp_path):
        found = combine(write_frames(tmp_path, noisy_frames(5)), EXPOSURE, CombineSettings(method="mean"))
        assert found.inputs == ("9_pp.fits", "8_pp.fits", "7_pp.fits", "6_pp.fits", "5_pp.fits")
        assert found.mjd_mid == found.header["MJDMID"] == 59002.0
        assert found.exposure is EXPOSURE
        assert found.photon_variance == 0.2
        assert found.stem == product_stem(found.inputs)


class TestHeader:
    def test_times_and_inputs(self, tmp_path):
        images = np.zeros((3, 2, 2), np.float32)
        cards = {"MJDMID": [3.0, 1.0, 2.6], "MJDEND": [1.0, 7.0, 2.0], "EXPTIME": [60.0, 61.0, 62.0]}
        frames = write_frames(tmp_path, images, OBJECT=["first", "second", "third"], **cards)
        header = combined_header(frames)
        assert header["MJDMID"] == pytest.approx(2.2, abs=1e-15)
        assert header["MJDEND"] == 7.0
        assert header["EXPTIME"] == 61.0
        assert header["RDNOISE"] == 12.0
        assert header["OBJECT"] == "first"
        # Listed by name, whatever the order in time.
        assert [header[f"INF100{i}"] for i in (1, 2, 3)] == ["7_pp.fits", "8_pp.fits", "9_pp.fits"]
        assert "INF1004" not in header

    def test_the_readnoise_is_the_first_frames(self, tmp_path):
        frames = write_frames(tmp_path, np.zeros((2, 2, 2), np.float32), RDNOISE=[10.0, 20.0])
        assert combined_header(frames)["RDNOISE"] == 10.0

    def test_the_mean_keeps_the_last_digits_of_mjd(self, tmp_path):
        times = [59000.123456789, 59000.123456791, 59000.123456793]
        frames = write_frames(tmp_path, np.zeros((3, 2, 2), np.float32), MJDMID=times)
        assert combined_header(frames)["MJDMID"] == math.fsum(times) / 3

    def test_the_list_of_inputs_replaces_an_older_one(self, tmp_path):
        older = {f"INF100{i}": f"raw{i}.fits" for i in range(1, 6)}
        header = combined_header(write_frames(tmp_path, np.zeros((2, 2, 2), np.float32), **older))
        assert dict(header["INF1*"]) == {"INF1001": "8_pp.fits", "INF1002": "9_pp.fits"}

    def test_without_mjdend_there_is_none(self, tmp_path):
        frames = write_frames(tmp_path, np.zeros((2, 2, 2), np.float32))
        for frame in frames:
            del frame.header["MJDEND"]
        assert "MJDEND" not in combined_header(frames)

    def test_a_missing_time(self, tmp_path):
        frames = write_frames(tmp_path, np.zeros((2, 2, 2), np.float32))
        del frames[1].header["MJDMID"]
        with pytest.raises(InputError, match=rf"^{frames[1].path}: header keyword MJDMID is missing"):
            combined_header(frames)

    def test_the_frames_headers_are_not_changed(self, tmp_path):
        frames = write_frames(tmp_path, np.zeros((2, 2, 2), np.float32))
        before = frames[0].header.tostring()
        combined_header(frames)
        assert frames[0].header.tostring() == before


class TestStem:
    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("2510100f_pp.fits", "2510100f_pp"),
            ("2510100f_pp.fits.gz", "2510100f_pp"),
            ("2510100f_pp.fits.fz", "2510100f_pp"),
            ("a.b.fits", "a.b"),
            ("odd.dat", "odd.dat"),
        ],
    )
    def test_of_one_frame_is_its_own(self, name, stem):
        assert product_stem([name]) == stem

    def test_of_several_is_a_hash_of_the_sorted_names(self):
        names = ["b_pp.fits", "a_pp.fits", "c_pp.fits"]
        digest = hashlib.blake2b(b"a_pp.fits b_pp.fits c_pp.fits", digest_size=5).hexdigest()
        assert product_stem(names) == f"{digest.upper()}_pp"

    def test_known_value(self):
        # printf 'a_pp.fits b_pp.fits' | b2sum --length 40
        assert product_stem(["a_pp.fits", "b_pp.fits"]) == "A23FBD3303_pp"

    def test_suffixes_count_among_several(self):
        assert product_stem(["a.fits", "b.fits"]) != product_stem(["a.fits", "b.fits.gz"])


class TestVariance:
    @pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 11, 30])
    def test_of_the_median_by_monte_carlo(self, count):
        draws = np.random.default_rng(count).normal(size=(40000, count))
        measured = np.median(draws, axis=1).var()
        # The variance of a variance of n normal values is 2/n of its square; four deviations.
        assert median_variance(count) == pytest.approx(measured, rel=4 * math.sqrt(2 / 40000))

    def test_of_the_median_in_closed_form(self):
        assert median_variance(1) == 1.0
        assert median_variance(2) == pytest.approx(0.5, rel=1e-9)
        # Order statistics of three normal values: 1 - sqrt(3) / pi.
        assert median_variance(3) == pytest.approx(1 - math.sqrt(3) / math.pi, rel=1e-9)

    @pytest.mark.parametrize(
        ("count", "variance"),
        [
            # By numerical integration on a grid of 400001 points.
            (4, 0.298199618),
            (10, 0.138326436),
            (50, 0.030552835),
            (98, 0.015799527),
            (99, 0.015797718),
            (100, 0.015487936),
            (101, 0.015486232),
            (400, 0.003913031),
        ],
    )
    def test_of_the_median_of_many(self, count, variance):
        assert median_variance(count) == pytest.approx(variance, rel=1e-5 if count < 100 else 1e-4)

    def test_the_median_never_beats_the_mean(self):
        assert all(median_variance(count) >= 1 / count - 1e-12 for count in (1, 2, 3, 4, 7, 10, 31, 99, 100, 101, 1000))

    @pytest.mark.parametrize("method", ["mean", "clipped"])
    def test_of_means(self, method):
        assert relative_variance(method, 8) == 0.125

    def test_of_a_median(self):
        assert relative_variance("median", 5) == median_variance(5)
