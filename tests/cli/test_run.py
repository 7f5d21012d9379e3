"""``flatcore run`` as a user meets it: output, exit status, and what is said when something is wrong."""

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from flatcore import _core, run_night
from tests.cli.command import OBS_DIR, edit, files_below, frames_of, refused, run


def test_products_table_and_database(night, capsys):
    assert run("run", OBS_DIR, "--data-root", night) == 0
    out = capsys.readouterr().out
    assert "SMALL 2020-08-31: 4 frames" in out
    for fiber in ("AB", "A", "B", "C"):
        assert f"│ {fiber} " in out
    assert "pass" in out and "16 products in" in out
    names = {path.name.split("_pp_")[1] for path in (night / "red" / OBS_DIR).iterdir()}
    kinds = ("flat", "blaze", "e2dsll", "shapel_orderps")
    assert names == {f"{kind}_{fiber}.fits" for kind in kinds for fiber in ("AB", "A", "B", "C")}
    with sqlite3.connect(night / "calib" / "flatcore.db") as connection:
        rows = connection.execute(
            "select KEYNAME, FIBER from calibrations where KEYNAME in ('FLAT', 'BLAZE')"
        ).fetchall()
    connection.close()
    assert sorted(rows) == sorted((key, fiber) for key in ("FLAT", "BLAZE") for fiber in ("AB", "A", "B", "C"))


def test_json_is_all_there_is_on_standard_output(night, capsys):
    assert run("run", OBS_DIR, "--data-root", night, "--json", "--fiber", "AB", "--set", "input.min_frames=9") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["passed"] is True
    assert [order["verdict"] for order in result["images"][0]["fibers"]["AB"]["orders"]] == ["pass"] * 9
    assert {product["kind"] for product in result["products"]} == {
        "FF_FLAT",
        "FF_BLAZE",
        "EXT_E2DS_LL",
        "ORDERP_STRAIGHT",
    }
    assert {"combine", "calibrate", "straighten", "extract", "blaze", "flat", "products"} <= set(result["seconds"])
    assert len(result["calibrations"]) == 8
    assert "fewer than the 9" in captured.err


def test_quiet_says_nothing(night, capsys):
    assert run("run", OBS_DIR, "--data-root", night, "--quiet", "--fiber", "C") == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_data_root_from_the_environment(night, monkeypatch, capsys):
    monkeypatch.setenv("FLATCORE_DATA", str(night))
    assert run("run", OBS_DIR, "--fiber", "C") == 0
    assert "C" in capsys.readouterr().out


def test_nosave_and_database_false_write_nothing_there(night):
    before = files_below(night)
    assert run("run", OBS_DIR, "--data-root", night, "--nosave", "--quiet") == 0
    assert files_below(night) == before
    assert run("run", OBS_DIR, "--data-root", night, "--database", "False", "--fiber", "C", "--quiet") == 0
    with sqlite3.connect(night / "calib" / "flatcore.db") as connection:
        count = connection.execute("select count(*) from calibrations where KEYNAME = 'FLAT'").fetchone()[0]
    connection.close()
    assert count == 0


def test_each_frame_on_its_own(night, capsys):
    status = run("run", OBS_DIR, "--data-root", night, "--combine", "False", "--fiber", "C", "--json")
    result = json.loads(capsys.readouterr().out)
    assert status == 0
    stems = [frame.name.removesuffix(".fits") for frame in frames_of(night)]
    assert [image["stem"] for image in result["images"]] == stems
    assert all((night / "red" / OBS_DIR / f"{stem}_flat_C.fits").is_file() for stem in stems)


def test_options_change_the_result(night, capsys):
    def blaze(*options):
        assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--json", *options) == 0
        result = json.loads(capsys.readouterr().out)
        path = next(p["path"] for p in result["products"] if p["kind"] == "FF_BLAZE")
        return fits.getdata(path, 1), fits.getdata(path, "BLAZEPAR"), fits.getheader(path)

    median, parameters, _ = blaze()
    assert (parameters["CUBIC"] != 0).all()
    mean, _, _ = blaze("--combine-method", "mean")
    assert not np.array_equal(median, mean, equal_nan=True)
    _, parameters, _ = blaze("--preset", "apero")
    assert (parameters["CUBIC"] == 0).all()
    free, parameters, _ = blaze("--preset", "apero", "--set", "blaze.cubic=True", "--set", "blaze.fit_ends=False")
    assert (parameters["CUBIC"] != 0).all()
    np.testing.assert_array_equal(free, mean)
    cut, _, header = blaze("--set", "blaze.cut=0.6")
    assert np.isnan(cut).sum() > np.isnan(median).sum() and header["BLAZSCUT"] == 0.6
    ends, _, _ = blaze("--set", "blaze.fit_ends=True")
    assert not np.array_equal(ends, median, equal_nan=True)
    undarked, _, _ = blaze("--set", "calibrate.dark=False")
    assert not np.array_equal(undarked, median, equal_nan=True)
    rates, _, _ = blaze("--set", "extract.fluxunits=ADU/s")
    np.testing.assert_allclose(rates * 0.999 * 60.0, median, rtol=1e-12, equal_nan=True)


def test_files_by_name_and_glob(night, capsys):
    names = [frames_of(night)[0].name, "251010[12]f_pp.fits", frames_of(night)[0].name]
    assert run("run", OBS_DIR, *names, "--data-root", night, "--fiber", "C", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"][0]["inputs"] == [path.name for path in frames_of(night)[:3]]


def pixels_of(folder):
    """The image data of every product, as bytes."""
    pixels = []
    for path in sorted(folder.iterdir()):
        with fits.open(path) as hdus:
            pixels += [hdu.data.tobytes() for hdu in hdus if hdu.is_image and hdu.data is not None]
    return pixels


def test_the_result_does_not_depend_on_threads(night, capsys):
    red = night / "red" / OBS_DIR
    found = []
    for threads in (1, 2, 5):
        assert run("run", OBS_DIR, "--data-root", night, "--threads", threads, "--quiet") == 0
        found.append(pixels_of(red))
        shutil.rmtree(red)
    assert len(found[0]) == 52
    assert found[0] == found[1] == found[2]


def test_failed_quality_control(night, capsys):
    status = run("run", OBS_DIR, "--data-root", night, "--set", "qc.max_rms=0.0001")
    captured = capsys.readouterr()
    assert status == 4
    assert "fail" in captured.out
    assert "fibre AB fails quality control: max_rms" in captured.err
    product = next((night / "red" / OBS_DIR).glob("*_flat_AB.fits"))
    header = fits.getheader(product)
    assert header["QCC_ALL"] is False and header["QCC001P"] == 0 and header["QCC001N"] == "max_rms"
    with sqlite3.connect(night / "calib" / "flatcore.db") as connection:
        count = connection.execute("select count(*) from calibrations where KEYNAME in ('FLAT', 'BLAZE')").fetchone()[0]
    connection.close()
    assert count == 0


def test_no_such_night_and_no_files(night, capsys):
    said = refused(capsys, 3, "run", "2020-01-01", "--data-root", night)
    assert "2020-01-01: no such observation directory" in said and OBS_DIR in said
    said = refused(capsys, 3, "run", OBS_DIR, "nothing*.fits", "--data-root", night)
    assert "nothing*.fits: no such file" in said
    for path in frames_of(night):
        path.unlink()
    assert "no preprocessed flat" in refused(capsys, 3, "run", OBS_DIR, "--data-root", night)


def test_mixed_kinds(night, capsys):
    edit(frames_of(night)[1], DPRTYPE="DARK_FLAT")
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "2510101f_pp.fits: DPRTYPE = 'DARK_FLAT', but 2510100f_pp.fits has 'FLAT_FLAT'" in said


def test_wrong_shape(night, capsys):
    path = frames_of(night)[2]
    with fits.open(path) as hdus:
        header, data = hdus[0].header.copy(), hdus[1].data[:-1].copy()
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(data)]).writeto(path, overwrite=True)
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "2510102f_pp.fits: NAXIS2 x NAXIS1 = 639 x 1088, expected 640 x 1088" in said


@pytest.mark.parametrize("keyword", ["EXPTIME", "RDNOISE", "MJDMID", "DPRTYPE", "SATURATE", "FRMTIME"])
def test_missing_keyword(night, capsys, keyword):
    edit(frames_of(night)[0], **{keyword: None})
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert f"2510100f_pp.fits: header keyword {keyword} is missing" in said


def test_different_exposure_times(night, capsys):
    edit(frames_of(night)[3], EXPTIME=61.0)
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "2510103f_pp.fits: EXPTIME = 61.0, but 2510100f_pp.fits has 60.0" in said


def test_truncated_and_foreign_files(night, capsys):
    path = frames_of(night)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "2510101f_pp.fits: truncated" in said
    path.write_text("this is not FITS")
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "2510101f_pp.fits: not a FITS file" in said
    assert not (night / "red").exists()


def test_missing_and_old_calibrations(night, capsys):
    with sqlite3.connect(night / "calib" / "flatcore.db") as connection:
        connection.execute("delete from calibrations where KEYNAME = 'LOC' and FIBER = 'C'")
        connection.execute("update calibrations set UNIXTIME = UNIXTIME - 86400 * 30 where KEYNAME = 'BADPIX'")
    connection.close()
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "no BADPIX calibration" in said and "2020-08-31T21:" in said and "30" in said
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--set", "calibration.max_age_days=60")
    assert "no LOC calibration" in said and "fibre C" in said and "flatcore calib add" in said


def test_no_calibration_database(night, capsys):
    (night / "calib" / "flatcore.db").unlink()
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "no calibration database" in said
    assert not (night / "calib" / "flatcore.db").exists()


def test_calibration_of_the_wrong_shape(night, capsys):
    path = next((night / "calib").glob("*_shapex.fits"))
    with fits.open(path) as hdus:
        header, data = hdus[0].header.copy(), hdus[1].data[:, :-2].copy()
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(data)]).writeto(path, overwrite=True)
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert f"{path.name}: SHAPEX has 600 x 1078 pixels, expected 600 x 1080" in said


def test_unknown_names(night, capsys):
    said = refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--fiber", "Z")
    assert "--fiber Z: unknown; SMALL has AB, A, B, C" in said
    said = refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--set", "blaze.cutt=0.2")
    assert "blaze.cutt" in said and "did you mean blaze.cut?" in said
    said = refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--set", "blaze.cut=2")
    assert "blaze.cut" in said and "2" in said
    assert "--preset best: unknown" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--preset", "best")
    assert "no such file" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--instrument", "SPIRO")
    assert "No such option" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--fibre", "AB")
    assert "--data-root" in refused(capsys, 2, "run", OBS_DIR)


def test_fiber_without_light(night, capsys):
    for path in frames_of(night):
        edit(path, DPRTYPE="FLAT_DARK")
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--fiber", "C")
    assert "--fiber C: gets no light in FLAT_DARK frames" in said
    assert run("run", OBS_DIR, "--data-root", night) == 0
    captured = capsys.readouterr()
    assert "fibre C gets no light in FLAT_DARK frames and is left out" in captured.err
    assert not list((night / "red" / OBS_DIR).glob("*_flat_C.fits"))


def test_frames_that_failed_their_quality_control(night, capsys):
    edit(frames_of(night)[0], QCC_ALL=False)
    assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"][0]["inputs"] == [p.name for p in frames_of(night)[1:]]
    assert "2510100f_pp.fits is left out: QCC_ALL is false" in captured.err
    for path in frames_of(night):
        edit(path, QCC_ALL=False)
    assert "QCC_ALL is false" in refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert run("run", OBS_DIR, "--data-root", night, "--quiet", "--fiber", "C", "--set", "input.require_qc=False") == 0


def test_unwritable_folder_leaves_nothing(night, capsys):
    (night / "red").write_text("in the way")
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    assert "cannot be written" in said and str(night / "red") in said


@pytest.mark.parametrize("limit", [100_000, 300_000, 2_000_000])
def test_full_disk_leaves_nothing(night, limit):
    """A limit on the size of files stands for a disk that fills while products are written."""
    before = files_below(night)
    command = [sys.executable, "-m", "flatcore", "run", OBS_DIR, "--data-root", str(night), "--quiet"]

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command,
        preexec_fn=little_room,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert files_below(night) == before


def test_help_names_every_command_and_shows_examples(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    for name in ("run", "calib", "simulate"):
        assert name in out
        assert run(name, "--help") == 0
        assert "Example" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("flatcore 0.")


def test_help_imports_nothing_heavy():
    heavy = ("numpy", "scipy", "astropy", "sqlalchemy", "pydantic", "matplotlib")
    code = (
        "import sys\nfrom flatcore.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_internal_errors_say_so(night, capsys, monkeypatch):
    monkeypatch.setattr("flatcore.night.find_frames", lambda *_: 1 / 0)
    assert run("run", OBS_DIR, "--data-root", night) == 1
    assert "internal error" in capsys.readouterr().err


def test_simulate_writes_a_night_that_runs(tmp_path, capsys):
    assert run("simulate", tmp_path / "sky", "--frames", 3, "--seed", 5, "--obs-dir", "2021-03-04") == 0
    out = capsys.readouterr().out
    assert "3 frames of SMALL" in out and "registered" in out
    assert run("run", "2021-03-04", "--data-root", tmp_path / "sky", "--fiber", "AB", "--quiet") == 0
    header = fits.getheader(next((tmp_path / "sky" / "red" / "2021-03-04").glob("*_blaze_AB.fits")))
    assert 59277.8 < header["MJDMID"] < 59278.1


def test_simulate_does_not_mix_two_nights(tmp_path, capsys):
    assert run("simulate", tmp_path, "--frames", 1, "--quiet") == 0
    assert "holds a night already" in refused(capsys, 3, "simulate", tmp_path, "--seed", 5, "--quiet")
    assert run("simulate", tmp_path, "--frames", 1, "--seed", 5, "--obs-dir", "2020-09-10", "--quiet") == 0


def test_simulate_refuses_what_it_cannot_do(tmp_path, capsys):
    assert "signal" in refused(capsys, 2, "simulate", tmp_path, "--signal", "-5", "--quiet")
    assert "SPIRO" in refused(capsys, 2, "simulate", tmp_path, "--instrument", "SPIRO", "--quiet")


def test_frames_of_one_name_from_two_nights(night, capsys):
    other = night / "tmp" / "2020-09-01"
    shutil.copytree(night / "tmp" / OBS_DIR, other)
    names = [frames_of(night)[0], other / frames_of(night)[0].name]
    said = refused(capsys, 3, "run", OBS_DIR, *names, "--data-root", night, "--combine", "False")
    assert "without combining, their products would be the same files" in said


def test_flats_of_another_night_with_the_same_name_stay_registered(night, capsys):
    assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--quiet") == 0
    other = night / "tmp" / "2020-09-01"
    shutil.copytree(night / "tmp" / OBS_DIR, other)
    for path in other.iterdir():
        edit(path, MJDMID=fits.getheader(path)["MJDMID"] + 1)
    capsys.readouterr()
    assert run("run", "2020-09-01", "--data-root", night, "--fiber", "C", "--quiet") == 0
    assert "not registered, since another night's calibrations have these names" in capsys.readouterr().err
    assert run("calib", "list", "--data-root", night, "--key", "FLAT", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["calibrations"]
    assert row["humantime"].startswith("2020-08-31")


@pytest.mark.parametrize("name", ["/absolute", "..", "../tmp/2020-08-31", "", "."])
def test_obs_dir_is_a_folder_below_tmp(night, capsys, name):
    assert "expected the name of a folder" in refused(capsys, 2, "run", name, "--data-root", night)


def test_a_closing_slash_and_a_relative_root(night, capsys, monkeypatch):
    monkeypatch.chdir(night.parent)
    assert run("run", f"{OBS_DIR}/", "--data-root", night.name, "--fiber", "C", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["obs_dir"] == OBS_DIR
    assert all(product["path"].startswith(str(night)) for product in result["products"])


def test_a_link_to_a_frame_is_no_second_frame(night, capsys):
    (night / "tmp" / OBS_DIR / "alink_pp.fits").symlink_to(frames_of(night)[0])
    assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--json", "--nosave") == 0
    assert len(json.loads(capsys.readouterr().out)["images"][0]["inputs"]) == 4


def test_headers_that_fits_cannot_hold(night, capsys):
    path = frames_of(night)[0]
    edit(path, QCC001N="of the frame", QCC099N="another")
    raw = path.read_bytes().replace(b"OBJECT  = 'Calibration'", b"TEMPX   = NaN          ", 1)
    path.write_bytes(raw)
    path.rename(path.with_name("flät_pp.fits"))
    assert run("run", OBS_DIR, "--data-root", night, "--fiber", "C", "--quiet") == 0
    capsys.readouterr()
    header = fits.getheader(next((night / "red" / OBS_DIR).glob("*_blaze_C.fits")))
    assert header["QCC001N"] == "max_rms" and "QCC099N" not in header and "TEMPX" not in header
    assert any("\\xe4" in str(header[f"INF1{i:03d}"]) for i in range(1, 5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shortname", "été"), "run.shortname"),
        (("--set", "background.box=5000"), "background.box = 5000 must be below"),
        (("--threads", "5000"), "5000"),
        (("--listing", "--json"), "--json"),
    ],
)
def test_values_that_cannot_be(night, capsys, options, said):
    assert said in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, *options)


def test_frames_without_a_value(night, capsys):
    for path in frames_of(night):
        with fits.open(path, mode="update") as hdus:
            hdus[1].data[:] = np.nan
    assert run("run", OBS_DIR, "--data-root", night) == 4
    captured = capsys.readouterr()
    assert "no blaze: no flux" in captured.err and "none" in captured.out
    header = fits.getheader(next((night / "red" / OBS_DIR).glob("*_blaze_AB.fits")))
    assert header["EFFRON"] == "NaN" and header["QCC_ALL"] is False


def test_threads_of_one_run_are_not_the_next_ones(small_night):
    def threads(count):
        run_night(OBS_DIR, data_root=small_night, fiber="C", threads=count, settings={"output": {"save": False}})
        return _core.threads()

    assert threads(1) == 1
    assert threads(None) == os.cpu_count()
