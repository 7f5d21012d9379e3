"""From frames alone to flats as good as with the true calibrations; and calibrations that are whole or not there."""

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial import chebyshev

from flatcore.bootstrap import BootstrapRequest, Names, bootstrap
from flatcore.bootstrap.badpixels import Bad
from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.table import CalibrationTable
from flatcore.errors import CalibrationError, InputError, OutputError, UsageError
from flatcore.fitsio import open_image, read_header, read_mask, read_pixels
from flatcore.locks import night_lock
from tests.cli.command import edit
from tests.nights import OBS_DIR, blaze_error, bootstrapped, flats_of, night_pair

KEYS = {
    ("DARKREF", ""), ("BADPIX", ""), ("BKGRDMAP", ""), ("LOC", "AB"), ("LOC", "C"), ("ORDER_PROFILE", "AB"),
    ("ORDER_PROFILE", "C"), ("SHAPEX", ""), ("SHAPEY", ""), ("SHAPEL", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bootstrapped night of SMALL with darks, and the result."""
    pair = night_pair(tmp_path_factory.mktemp("boot"), seed=41, darks=5)
    return pair, bootstrapped(pair)


@pytest.fixture
def fresh(made, tmp_path):
    """The frames alone, which a test may change."""
    shutil.copytree(made[0].bare / "tmp", tmp_path / "tmp")
    return tmp_path


def path_of(result, key, fiber=""):
    return next(one.path for one in result.made if (one.keyname, one.fiber) == (key, fiber))


def image_of(result, key, fiber=""):
    return read_pixels(open_image(path_of(result, key, fiber)))


class TestQuality:
    @pytest.mark.parametrize(
        ("instrument", "seed", "options"),
        [
            ("SMALL", 11, {"darks": 3}),
            ("SMALL", 97, {"frames": 4, "signal": 20_000.0}),
            ("TWINS", 5, {"darks": 3, "bad_pixels": 0.004}),
            ("TWINS", 23, {"frames": 3}),
        ],
    )
    def test_flats_are_as_good_as_with_the_true_calibrations(self, tmp_path, instrument, seed, options):
        # Without warp, detector columns are those of the truth.
        pair = night_pair(tmp_path, instrument, seed=seed, warp=0.0, **options)
        result = bootstrapped(pair)
        given, own = flats_of(pair.given, pair.instrument), flats_of(pair.bare, pair.instrument)
        assert set(given) == set(own)
        for name, reference in given.items():
            flat = own[name].flat
            assert own[name].qc.passed
            assert flat.blaze.shape == reference.flat.blaze.shape
            ratio = flat.rms / reference.flat.rms
            assert np.median(ratio) < 1.1, name
            assert ratio.max() < 1.2, name
            error = blaze_error(flat, pair.truth[f"blaze_{name}"])
            assert np.sqrt(np.nanmean(error**2)) < 0.001, name
            assert np.isfinite(flat.flat).mean() > np.isfinite(reference.flat.flat).mean() - 0.005
        assert result.registered

    def test_a_warped_night_passes_too(self, made):
        pair, _ = made
        given, own = flats_of(pair.given, pair.instrument), flats_of(pair.bare, pair.instrument)
        for name, reference in given.items():
            assert own[name].qc.passed
            assert np.median(own[name].flat.rms / reference.flat.rms) < 1.1

    def test_orders_are_straight(self, made):
        pair, result = made
        dymap = image_of(result, "SHAPEY")
        columns = dymap.shape[1]
        for fiber in ("A", "B", "C"):
            for centre in pair.truth[f"centre_{fiber}"]:
                trace = chebyshev.chebval(2 * np.arange(columns) / columns - 1, centre)
                middle = trace[columns // 2]
                row = int(middle)
                share = middle - row
                straight = (1 - share) * dymap[row] + share * dymap[row + 1]
                assert np.abs(trace - straight - middle).max() < 0.1, fiber

    def test_traces_are_those_of_the_truth(self, made):
        pair, result = made
        columns = pair.profile.detector.kept_shape[1]
        rows = image_of(result, "LOC", "AB")
        x = 2 * np.arange(columns) / columns - 1
        for which, fiber in ((slice(0, None, 2), "B"), (slice(1, None, 2), "A")):
            true = chebyshev.chebval(x, pair.truth[f"centre_{fiber}"].T)
            assert np.abs(rows[which] - true).max() < 0.15

    def test_bad_pixels_of_lit_pixels_are_found_and_few_others(self, made):
        pair, result = made
        bad = read_mask(open_image(path_of(result, "BADPIX"))) != 0
        true = pair.truth["bad"] | pair.truth["beyond"]
        lit = image_of(result, "ORDER_PROFILE", "AB") + image_of(result, "ORDER_PROFILE", "C") > 500
        assert (bad & true & lit).sum() / (true & lit).sum() > 0.98
        assert (bad & ~true).mean() < 2e-5

    def test_unlit_pixels_lie_between_the_orders(self, made):
        pair, result = made
        unlit = read_mask(open_image(path_of(result, "BKGRDMAP"))) != 0
        name = next((pair.given / "calib").glob("*_bmap.fits"))
        true = read_mask(open_image(name)) != 0
        assert 0.05 < unlit.mean() < 0.25
        assert (unlit & ~true).sum() / unlit.sum() < 0.1


class TestTilt:
    def test_lines_of_a_comb_frame_make_shapex(self, tmp_path):
        pair = night_pair(tmp_path, "TWINS", seed=6, warp=0.0, frames=3, darks=3)
        tilt = 0.15
        flat = sorted((pair.bare / "tmp" / OBS_DIR).glob("*f_pp.fits"))[0]
        comb = flat.with_name("comb.fits")
        shutil.copyfile(flat, comb)
        detector = pair.profile.detector
        rows, columns = detector.kept_shape
        u = 2 * np.arange(columns) / columns - 1
        centres = [pair.truth[f"centre_{fiber}"] for fiber in ("A", "B")]
        traces = chebyshev.chebval(u, np.concatenate(centres).T)
        away = np.arange(rows)[None, :, None] - traces[:, None, :]
        nearest = np.abs(away).argmin(axis=0)
        away = np.take_along_axis(away, nearest[None], axis=0)[0]
        lines = np.exp(6 * (np.cos(2 * np.pi * (np.arange(columns) - tilt * away) / 19) - 1))
        with fits.open(comb, mode="update") as hdus:
            hdus[0].header["DPRTYPE"] = "FP_FP"
            hdus[1].data[detector.rows[0] : detector.rows[1], :columns] *= lines.astype(np.float32)
        result = bootstrapped(pair, arcs=("comb.fits",), steps=("shape",))
        dxmap = image_of(result, "SHAPEX")
        measured = np.gradient(dxmap, axis=0)
        # Within the windows; half-way between orders the map jumps.
        inside = (np.abs(away) < 4)[:, 100:-100]
        assert np.median(measured[:, 100:-100][inside]) == pytest.approx(tilt, abs=0.005)
        assert np.percentile(np.abs(measured[:, 100:-100][inside] - tilt), 90) < 0.01
        assert read_header(path_of(result, "SHAPEX"))["TILTMIN"] == pytest.approx(tilt, abs=0.01)


class TestNonLinear:
    def test_frames_of_two_exposure_times_tell_a_nonlinear_pixel(self, fresh, made):
        frames = sorted((fresh / "tmp" / OBS_DIR).glob("*f_pp.fits"))
        short = []
        for frame in frames[:3]:
            path = frame.with_name(f"short_{frame.name}")
            shutil.copyfile(frame, path)
            rng = np.random.default_rng(len(short))
            with fits.open(path, mode="update") as hdus:
                # A quarter of the exposure: the same rate, twice the noise of it.
                hdus[0].header["EXPTIME"] = 15.0
                rate = hdus[1].data
                rate += rng.normal(0, np.sqrt(np.maximum(rate, 0) * 60 * 3) / 60).astype(rate.dtype)
            short.append(path)
        rows, columns = np.nonzero(fits.getdata(frames[0]) > 60)
        chosen = [(int(rows[i]), int(columns[i])) for i in np.linspace(1000, rows.size - 1000, 6).astype(int)]
        for frame in frames:
            with fits.open(frame, mode="update") as hdus:
                for place in chosen:
                    hdus[1].data[place] *= 0.65
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("badpix",)))
        bits = image_of(result, "BADPIX").astype(np.uint8)
        detector = made[0].profile.detector
        turned = [(detector.shape[0] - 1 - y - detector.rows[0], detector.shape[1] - 1 - x - detector.columns[0])
                  for y, x in chosen]  # fmt: skip
        assert all(bits[place] & Bad.NONLINEAR for place in turned)
        known = made[0].truth["bad"]
        assert np.count_nonzero((bits & Bad.NONLINEAR != 0) & ~known) <= len(chosen) + 2
        assert read_header(path_of(result, "BADPIX"))["BADN2"] >= len(chosen)


class TestFiles:
    def test_everything_a_run_needs_is_registered_together(self, made):
        pair, result = made
        assert {(one.keyname, one.fiber) for one in result.made} == KEYS
        records = CalibrationDatabase.open(pair.bare).records()
        assert {(record.keyname, record.fiber) for record in records} == KEYS
        assert {record.pid for record in records} == {result.pid}
        assert not list((pair.bare / "calib").glob(".*bootstrap*"))

    def test_headers_tell_where_a_file_comes_from(self, made):
        _, result = made
        for one in result.made:
            with fits.open(one.path, checksum=True) as hdus:
                header = hdus[0].header
                assert hdus[1].header["DATASUM"] and hdus[1].header["CHECKSUM"]
            assert header["KEYNAME"] == one.keyname
            assert header["DRSPID"] == result.pid
            assert header["BOOTOBS"] == OBS_DIR
            assert header["INF1001"].endswith("_pp.fits")
            assert header.get("FIBER", "") == one.fiber
        assert read_header(path_of(result, "DARKREF"))["INF1001"].startswith("2505000d")
        assert [read_header(path_of(result, "BADPIX"))[f"BADB{bit}"] for bit in range(6)] == [k.title for k in Bad]

    def test_again_is_nothing_to_do(self, made):
        pair, result = made
        before = {one.path: one.path.stat().st_mtime_ns for one in result.made}
        again = bootstrapped(pair)
        assert again.skipped
        assert {one.path: one.path.stat().st_mtime_ns for one in again.made} == before

    def test_other_settings_need_replace(self, fresh):
        first = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("unlit",)))
        other = {"steps": ("unlit",), "assignments": ("unlit.percent=20",)}
        with pytest.raises(InputError, match="--replace"):
            bootstrap(BootstrapRequest(OBS_DIR, fresh, **other))
        assert read_header(first.made[0].path)["BKGPERC"] == 5.0
        again = bootstrap(BootstrapRequest(OBS_DIR, fresh, replace=True, **other))
        assert again.made[0].path == first.made[0].path
        assert read_header(again.made[0].path)["BKGPERC"] == 20.0
        (record,) = CalibrationDatabase.open(fresh).records("BKGRDMAP")
        assert CalibrationDatabase.open(fresh).state_of(record) == "intact"

    def test_frames_of_the_same_names_in_another_night_make_other_files(self, fresh):
        shutil.copytree(fresh / "tmp" / OBS_DIR, fresh / "tmp" / "2020-09-01")
        first = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("unlit",)))
        copy = fresh / "kept.fits"
        shutil.copyfile(first.made[0].path, copy)
        second = bootstrap(BootstrapRequest("2020-09-01", fresh, steps=("unlit",), force=True, replace=True))
        assert second.made[0].path != first.made[0].path
        assert filecmp.cmp(first.made[0].path, copy, shallow=False)

    def test_a_file_of_another_origin_is_never_replaced(self, fresh):
        first = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("unlit",)))
        edit(first.made[0].path, BOOTOBS="1999-01-01")
        with pytest.raises(InputError, match="BOOTOBS = '1999-01-01'"):
            bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("unlit",), force=True, replace=True))

    def test_a_step_alone_makes_what_the_whole_makes(self, made, fresh):
        _, whole = made
        for step, key, fiber in (
            ("badpix", "BADPIX", ""),
            ("orderprofile", "ORDER_PROFILE", "C"),
            ("shape", "SHAPEY", ""),
        ):
            alone = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=(step,)))
            assert path_of(alone, key, fiber).name == path_of(whole, key, fiber).name
            np.testing.assert_array_equal(image_of(alone, key, fiber), image_of(whole, key, fiber))

    def test_a_dry_run_writes_nothing(self, fresh):
        before = sorted(fresh.rglob("*"))
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, register=False))
        assert len(result.made) == len(KEYS)
        assert not result.registered
        assert sorted(fresh.rglob("*")) == before


class TestInputs:
    def test_without_darks_the_dark_is_zero_and_told(self, fresh):
        for path in (fresh / "tmp" / OBS_DIR).glob("*d_pp.fits"):
            path.unlink()
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("darkref", "badpix")))
        assert any("taken as zero" in text for text in result.warnings)
        assert not image_of(result, "DARKREF").any()
        again = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("darkref", "badpix")))
        assert again.skipped

    def test_a_registered_dark_serves_a_night_without_darks(self, made, fresh):
        _, whole = made
        for path in (fresh / "tmp" / OBS_DIR).glob("*d_pp.fits"):
            path.unlink()
        dark = fresh / "dark_ref.fits"
        shutil.copyfile(path_of(whole, "DARKREF"), dark)
        CalibrationDatabase.open(fresh).add(dark)
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("badpix",)))
        assert any("dark_ref.fits of the calibration database serves" in text for text in result.warnings)
        np.testing.assert_array_equal(image_of(result, "BADPIX"), image_of(whole, "BADPIX"))

    def test_a_named_dark_is_used_and_registered(self, made, fresh):
        _, whole = made
        dark = path_of(whole, "DARKREF")
        named = {"DARKREF": (str(dark),)}
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, calibration_files=named, steps=("darkref", "unlit")))
        assert [one.keyname for one in result.made] == ["BKGRDMAP"]
        assert {record.keyname for record in CalibrationDatabase.open(fresh).records()} == {"DARKREF", "BKGRDMAP"}

    def test_traces_of_files_are_used(self, made, fresh):
        _, whole = made
        named = {"LOC": tuple(str(path_of(whole, "LOC", fiber)) for fiber in ("AB", "C"))}
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, calibration_files=named, steps=("shape",)))
        np.testing.assert_allclose(image_of(result, "SHAPEY"), image_of(whole, "SHAPEY"), atol=0.02)
        with pytest.raises(InputError, match="no file of fibre C"):
            one = {"LOC": named["LOC"][:1]}
            bootstrap(BootstrapRequest(OBS_DIR, fresh, calibration_files=one, steps=("orderprofile",)))

    def test_biases_and_darks_of_another_exposure_time(self, fresh):
        folder = fresh / "tmp" / OBS_DIR
        level = 300.0
        flats, darks = sorted(folder.glob("*f_pp.fits")), sorted(folder.glob("*d_pp.fits"))
        current = np.median([fits.getdata(path) for path in darks], axis=0)
        for path in (*flats, *darks):
            with fits.open(path, mode="update") as hdus:
                hdus[1].data += np.float32(level / 60.0)
        for number, path in enumerate(darks[:3]):
            bias = folder / f"bias{number}.fits"
            shutil.copyfile(path, bias)
            with fits.open(bias, mode="update") as hdus:
                hdus[1].data[:] = level / 0.5
                hdus[0].header["DPRTYPE"] = "BIAS"
                hdus[0].header["EXPTIME"] = 0.5
        result = bootstrap(BootstrapRequest(OBS_DIR, fresh, steps=("darkref",)))
        np.testing.assert_allclose(image_of(result, "DARKREF"), current + level / 60.0, atol=2e-3, rtol=1e-4)
        assert result.frames == {"flats": 5, "darks": 5, "biases": 3}
        assert read_header(path_of(result, "DARKREF"))["DARKFLAT"] == 60.0

    def test_biases_of_raw_counts_have_no_exposure_time(self, tmp_path):
        pair = night_pair(tmp_path, "TWINS", seed=5, warp=0.0, frames=3, darks=3)
        raw = tmp_path / "raw.toml"
        raw.write_text((tmp_path / "twins.toml").read_text().replace("[detector]", '[detector]\nunits = "adu"'))
        folder = pair.bare / "tmp" / OBS_DIR
        darks = sorted(folder.glob("*d_pp.fits"))
        current = np.median([fits.getdata(path) for path in darks], axis=0)
        for path in sorted(folder.glob("*_pp.fits")):
            with fits.open(path, mode="update") as hdus:
                hdus[1].data = hdus[1].data * np.float32(60) + np.float32(300)
        for number in range(3):
            bias = folder / f"bias{number}.fits"
            shutil.copyfile(darks[0], bias)
            with fits.open(bias, mode="update") as hdus:
                hdus[1].data[:] = 300
                hdus[0].header["DPRTYPE"] = "BIAS"
                hdus[0].header["EXPTIME"] = 0.0
        result = bootstrap(BootstrapRequest(OBS_DIR, pair.bare, instrument=raw))
        np.testing.assert_allclose(image_of(result, "DARKREF"), current + 300 / 60, atol=2e-3)
        own, given = flats_of(pair.bare, raw), flats_of(pair.given, pair.instrument)
        for name, reference in given.items():
            assert own[name].qc.passed
            assert np.median(own[name].flat.rms / reference.flat.rms) < 1.1

    def test_channels_lit_one_after_the_other(self, tmp_path):
        pair = night_pair(tmp_path / "one", seed=8, lamp="FLAT_DARK", frames=3, darks=3)
        other = night_pair(tmp_path / "two", seed=8, lamp="DARK_FLAT", frames=3)
        for path in (other.bare / "tmp" / OBS_DIR).glob("*f_pp.fits"):
            shutil.copyfile(path, pair.bare / "tmp" / OBS_DIR / f"c{path.name}")
        result = bootstrapped(pair)
        assert {(one.keyname, one.fiber) for one in result.made} == KEYS
        # Each fibre's profile is of its own light alone.
        assert read_header(path_of(result, "ORDER_PROFILE", "C"))["DPRTYPE"] == "DARK_FLAT"
        assert read_header(path_of(result, "LOC", "AB"))["DPRTYPE"] == "FLAT_DARK"

    def test_a_fibre_without_light_is_told(self, tmp_path):
        pair = night_pair(tmp_path, seed=8, lamp="FLAT_DARK", frames=3)
        result = bootstrapped(pair)
        assert ("LOC", "C") not in {(one.keyname, one.fiber) for one in result.made}
        assert any("fibre C gets no light" in text for text in result.warnings)

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"steps": ("darks",)}, UsageError, "expected some of darkref"),
            ({"assignments": ("badpix.ded=0.4",)}, UsageError, "badpix.ded"),
            ({"assignments": ("locate.tresh=4",)}, UsageError, "locate has"),
            ({"assignments": ("locate.degree=99",)}, UsageError, "degree"),
            ({"fiber_order": ("C", "A")}, UsageError, "--fiber-order C,A"),
            ({"names": Names(flats=("nothing*",))}, InputError, "nothing"),
            ({"names": Names(darks=("2510100f_pp.fits",))}, UsageError, "two of flat, dark and bias"),
            ({"arcs": ("2505000d_pp.fits",)}, InputError, "lines in"),
            ({"calibration_files": {"SHAPEX": ("x.fits",)}}, UsageError, "SHAPEX"),
        ],
    )
    def test_what_cannot_be_is_refused(self, fresh, options, error, words):
        with pytest.raises(error, match=words.replace("*", r"\*")):
            bootstrap(BootstrapRequest(OBS_DIR, fresh, **options))
        assert not list((fresh / "calib").glob("*.fits"))

    def test_frames_without_orders_are_refused(self, fresh):
        for path in (fresh / "tmp" / OBS_DIR).glob("*f_pp.fits"):
            with fits.open(path, mode="update") as hdus:
                hdus[1].data[:] = np.random.default_rng(1).normal(1, 0.1, hdus[1].data.shape)
        with pytest.raises(InputError, match=r"f_pp\.fits"):
            bootstrap(BootstrapRequest(OBS_DIR, fresh))
        assert not list((fresh / "calib").glob("*.fits"))


class TestWholeOrNothing:
    def test_a_database_that_fails_leaves_nothing(self, fresh, monkeypatch):
        def fail(self):
            raise OutputError("the disk is full")

        monkeypatch.setattr(CalibrationTable, "writing", fail)
        with pytest.raises(OutputError, match="full"):
            bootstrap(BootstrapRequest(OBS_DIR, fresh))
        assert [
            path for path in (fresh / "calib").iterdir() if path.suffix == ".fits" or "bootstrap" in path.name
        ] == []

    def test_a_killed_bootstrap_leaves_nothing_under_its_name(self, fresh):
        code = (
            "from pathlib import Path; import sys; from flatcore.bootstrap import *;"
            "bootstrap(BootstrapRequest(sys.argv[2], Path(sys.argv[1])))"
        )
        chance = np.random.default_rng(3)
        killed = 0
        for _ in range(6):
            child = subprocess.Popen([sys.executable, "-c", code, str(fresh), OBS_DIR], stderr=subprocess.DEVNULL)
            seen = time.monotonic()
            # From when it holds the night on, which is after seconds of imports.
            while not (fresh / "log").exists() and time.monotonic() - seen < 60:
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 2.5))
            os.kill(child.pid, signal.SIGKILL)
            killed += child.wait() != 0
            database = CalibrationDatabase.open(fresh)
            try:
                records = database.records()
            except CalibrationError as error:
                # Killed before its tables were there: an empty file is no database either.
                assert "no calibration database" in str(error)
                records = []
            assert {(r.keyname, r.fiber) for r in records} in (set(), KEYS)
            assert all(database.state_of(record) == "intact" for record in records)
            shutil.rmtree(fresh / "log", ignore_errors=True)
            if records:
                break
        assert killed
        bootstrap(BootstrapRequest(OBS_DIR, fresh, force=True))
        assert not list((fresh / "calib").glob(".*.bootstrap"))
        assert not list((fresh / "calib").glob(".*.tmp"))

    def test_another_run_of_the_night_is_waited_for(self, fresh):
        with night_lock(fresh / "red" / OBS_DIR, 0.0), pytest.raises(InputError, match="another run is at work"):
            bootstrap(BootstrapRequest(OBS_DIR, fresh, lock_timeout_s=0.0))
