"""Every option of the recipe's page changes the result as the page says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from flatcore import run_night
from tests.cli.command import OBS_DIR, Made, edit, files_below, frames_of, refused, rewrite, run

ELECTRONS_PER_UNIT = 0.999 * 60.0


@pytest.fixture(scope="module")
def usual(small_night):
    """E2DS of the small night without any option."""
    result = run_night(OBS_DIR, data_root=small_night, fiber="C", settings={"output": {"save": False}})
    return result.images[0].fibers["C"].spectra.e2ds


def calibration(root, suffix):
    (path,) = (root / "calib").glob(f"*_{suffix}.fits")
    return path


def same(found, expected):
    return np.array_equal(found, expected, equal_nan=True)


def test_darkcorr(night, capsys, usual):
    made = Made(capsys, night, "--darkcorr", "False")
    assert (np.nanmean(made.e2ds - usual)) > 0
    assert "CDBDARK" not in made.header()
    assert same(Made(capsys, night, "--darkcorr=True").e2ds, usual)


def test_badcorr(night, capsys, usual):
    made = Made(capsys, night, "--badcorr", "0")
    assert not same(made.e2ds, usual)
    assert "CDBBAD" not in made.header()


def test_backsub(night, capsys, usual):
    made = Made(capsys, night, "--backsub", "False")
    # What is not subtracted stays in every window.
    assert np.nanmedian(made.e2ds - usual) > 10


def test_resize_and_flipimage(night, capsys):
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--resize", "False")
    assert "SHAPEX has 600 x 1080 pixels, expected 640 x 1088" in said
    # Frames and dark already flipped: without a flip they give the same.
    straight = Made(capsys, night).e2ds
    for path in [*frames_of(night), calibration(night, "dark_ref")]:
        rewrite(path, path, lambda data: np.ascontiguousarray(data[::-1, ::-1]))
    dark = ("--darkfile", calibration(night, "dark_ref"))
    assert same(Made(capsys, night, "--flipimage", "None", *dark).e2ds, straight)
    assert not same(Made(capsys, night, "--flipimage", "x", *dark, statuses=(0, 4)).e2ds, straight)


def test_resize_off_with_calibrations_of_the_full_frame(night, capsys, usual):
    named = []
    for option, suffix, fill in (
        ("--badpixfile", "badpixel", 1),
        ("--shapex", "shapex", 0),
        ("--shapey", "shapey", 0),
        ("--orderpfile", "order_profile_C", 0),
    ):
        source = calibration(night, suffix)
        target = rewrite(
            source, night / f"full_{suffix}.fits", lambda d, f=fill: np.pad(d, ((20, 20), (4, 4)), constant_values=f)
        )
        named += [option, target]
    unlit = rewrite(calibration(night, "bmap"), calibration(night, "bmap"), lambda d: np.pad(d, ((20, 20), (4, 4))))
    assert unlit.is_file()
    made = Made(capsys, night, "--resize", "False", "--backsub", "False", *named, "--nosave", statuses=(0, 4))
    assert made.summary["settings"]["calibrate"]["resize"] is False
    assert len(made.summary["images"][0]["fibers"]["C"]["orders"]) == 9
    del usual


def test_fluxunits(night, capsys, usual):
    made = Made(capsys, night, "--fluxunits", "ADU/s")
    np.testing.assert_allclose(made.e2ds * ELECTRONS_PER_UNIT, usual, rtol=1e-12)
    assert made.header(hdu=1)["BUNIT"] == "adu / s"
    assert same(Made(capsys, night, "--fluxunits=e-").e2ds, usual)


def test_extract_method(night, capsys, usual):
    made = {method: Made(capsys, night, "--extract-method", method).e2ds for method in ("optimal", "horne", "direct")}
    assert same(made["optimal"], usual)
    for method in ("horne", "direct"):
        assert not same(made[method], usual)
        # Scattered light under the order weighs more where its wings do.
        assert np.nanmedian(made[method] / usual) == pytest.approx(1.0, abs=0.01)
    assert not same(made["horne"], made["direct"])


def test_combine(night, capsys):
    made = Made(capsys, night, "--combine", "False")
    assert [len(image["inputs"]) for image in made.summary["images"]] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("option", "suffix", "key", "change"),
    [
        ("--darkfile", "dark_ref", "DARKREF", lambda d: d + 1),
        ("--badpixfile", "badpixel", "BADPIX", lambda d: np.roll(d, 5, axis=1)),
        ("--shapex", "shapex", "SHAPEX", lambda d: d + 1.5),
        ("--shapexfile", "shapex", "SHAPEX", lambda d: d + 1.5),
        ("--shapey", "shapey", "SHAPEY", lambda d: d + 0.5),
        ("--shapeyfile", "shapey", "SHAPEY", lambda d: d + 0.5),
        ("--shapel", "shapel", "SHAPEL", lambda d: d + np.array([[0.0, 0.4, 0, 0, 0, 0]])),
        ("--shapelfile", "shapel", "SHAPEL", lambda d: d + np.array([[0.0, 0.4, 0, 0, 0, 0]])),
        ("--orderpfile", "order_profile_C", "ORDER_PROFILE", lambda d: d**2),
        ("--locofile", "loco_C", "LOC", None),
    ],
)
def test_calibration_files(night, capsys, usual, option, suffix, key, change):
    source = calibration(night, suffix)
    cards = {"LOCE0000": fits.getheader(source)["LOCE0000"] + 2} if key == "LOC" else {}
    # Named by path; then by name in the observation directory, which comes before the store's.
    elsewhere = rewrite(source, night / "other.fits", change, **cards)
    made = Made(capsys, night, option, elsewhere, statuses=(0, 4))
    assert not same(made.e2ds, usual)
    chosen = next(c for c in made.summary["calibrations"] if c["keyname"] == key)
    assert chosen["path"] == str(elsewhere) and chosen["reason"] == "named by the user"
    in_night = rewrite(source, night / "tmp" / OBS_DIR / source.name, change, **cards)
    again = Made(capsys, night, f"{option}={source.name}", statuses=(0, 4))
    assert same(again.e2ds, made.e2ds)
    in_night.unlink()
    assert same(Made(capsys, night, option, source.name).e2ds, usual)


def test_calibration_files_that_are_something_else(night, capsys):
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--darkfile", calibration(night, "badpixel"))
    assert "DRSOUTID = 'BADPIX' is BADPIX, expected a DARKREF file" in said
    said = refused(capsys, 3, "run", OBS_DIR, "--data-root", night, "--shapex", "nowhere.fits")
    assert "nowhere.fits: no such file, looked at" in said
    said = refused(
        capsys, 3, "run", OBS_DIR, "--data-root", night, "--fiber", "AB", "--locofile", calibration(night, "loco_C")
    )
    assert "FIBER = 'C', but the run needs LOC of AB" in said


def test_no_in_qc(night, capsys):
    edit(frames_of(night)[0], QCC_ALL=False)
    assert len(Made(capsys, night).summary["images"][0]["inputs"]) == 3
    assert len(Made(capsys, night, "--no_in_qc").summary["images"][0]["inputs"]) == 4


def test_too_many_frames(night, capsys):
    rewrite(frames_of(night)[1], frames_of(night)[1], lambda data: data * 1.3)
    made = Made(capsys, night, "--set", "input.max_frames=3")
    assert made.summary["images"][0]["inputs"] == [p.name for p in frames_of(night) if "101f" not in p.name]
    assert made.summary["left_out"][0]["path"].endswith("2510101f_pp.fits")
    assert "2510101f_pp.fits is left out: 4 frames, 3 at most: its level of" in made.said


def test_a_frame_of_another_night(night, capsys):
    other = night / "tmp" / "2020-09-01"
    other.mkdir()
    moved = frames_of(night)[3].rename(other / "2510103f_pp.fits")
    names = [path.name for path in frames_of(night)]
    made = Made(capsys, night, *names[:2], moved, moved)
    assert made.summary["images"][0]["inputs"] == [*names[:2], moved.name]


def test_force_indir_and_outdir(night, capsys, usual):
    (night / "tmp").rename(night / "preprocessed")
    made = Made(capsys, night, "--force_indir", "preprocessed", "--force_outdir", night / "elsewhere")
    assert same(made.e2ds, usual)
    assert made.path().parent == night / "elsewhere" / OBS_DIR
    assert not (night / "red").exists()


def test_names_of_the_run(night, capsys):
    made = Made(
        capsys, night, "--program", "nightly", "--shortname", "FF7", "--recipe_kind", "calib", "--parallel", "True",
        "--debug", "1",
    )  # fmt: skip
    header = made.header()
    assert (header["DRSPROG"], header["DRSSNAME"], header["DRSRKIND"], header["DRSPARAL"]) == (
        "nightly",
        "FF7",
        "calib",
        True,
    )
    lines = made.said.splitlines()
    assert lines and all(" | nightly | " in line for line in lines)
    assert any("combine: 0." in line for line in lines)
    log = night / "log" / f"{made.summary['pid']}.jsonl"
    messages = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(
        (m["program"], m["shortname"], m["recipe_kind"], m["parallel"]) == ("nightly", "FF7", "calib", True)
        for m in messages
    )
    assert {m.get("stage") for m in messages} >= {"combine", "calibrate", "extract", "blaze", "products"}


def test_debug_keeps_intermediate_arrays(night, capsys, usual):
    made = Made(capsys, night, "--debug", "1")
    assert not (night / "debug").exists()
    made = Made(capsys, night, "--debug=2")
    stem = made.summary["images"][0]["stem"]
    folder = night / "debug" / OBS_DIR
    names = {path.name for path in folder.iterdir()}
    assert names == {
        f"{stem}_combined.fits",
        f"{stem}_calibrated.fits",
        f"{stem}_straight.fits",
        f"{stem}_filtered_C.fits",
    }
    assert fits.getdata(folder / f"{stem}_combined.fits").shape == (640, 1088)
    assert fits.getdata(folder / f"{stem}_filtered_C.fits").shape == usual.shape


def test_ref(night, capsys):
    Made(capsys, night, "--ref")
    assert run("calib", "list", "--data-root", night, "--key", "FLAT", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["calibrations"]
    assert row["reference"] is True
    made = Made(capsys, night, "--ref", "--set", "qc.max_rms=0.0001", statuses=(4,), fiber="AB")
    assert "a reference (--ref) that fails quality control" in made.said and "fibre AB" in made.said
    assert made.summary["passed"] is False
    assert fits.getheader(next((night / "red" / OBS_DIR).glob("*_flat_AB.fits")))["QCC_ALL"] is False


def test_crunfile(night, capsys, usual):
    toml = night / "run.toml"
    toml.write_text('darkcorr = false\nfluxunits = "ADU/s"\nset = ["blaze.cut=0.3"]\n')
    made = Made(capsys, night, "--crunfile", toml)
    plain = Made(capsys, night, "--darkcorr", "False", "--fluxunits", "ADU/s", "--set", "blaze.cut=0.3")
    assert same(made.data(), plain.data()) and same(made.e2ds, plain.e2ds)
    ini = night / "run.ini"
    ini.write_text("[run]\nDARKCORR_NOT = None\ndarkcorr = False\nshortname = FFI\nbadpixfile = None\n")
    with_ini = Made(capsys, night, f"--crunfile={ini}")
    assert not same(with_ini.e2ds, usual) and with_ini.header()["DRSSNAME"] == "FFI"
    # What is given on the command line wins.
    assert same(Made(capsys, night, "--crunfile", ini, "--darkcorr", "True").e2ds, usual)
    toml.write_text("darkcor = false\n")
    assert "unknown option darkcor; did you mean darkcorr?" in refused(
        capsys, 2, "run", OBS_DIR, "--data-root", night, "--crunfile", toml
    )
    toml.write_text("= nothing")
    assert "neither TOML" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--crunfile", toml)
    assert "no such file" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--crunfile", night / "no")
    toml.write_text("fluxunits = 'photons'\n")
    assert "photons" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--crunfile", toml)


def test_nosave_writes_nothing_anywhere(night, capsys, usual):
    everything = sorted(str(path) for path in night.rglob("*"))
    made = Made(capsys, night, "--nosave", "--plot", "2", "--report", "--debug", "2")
    assert made.summary["products"] == []
    assert sorted(str(path) for path in night.rglob("*")) == everything
    del usual


def test_listing(night, capsys):
    for day in range(1, 21):
        (night / "tmp" / f"2020-09-{day:02d}").mkdir()
    assert run("run", "--listing", "--data-root", night) == 0
    out = capsys.readouterr().out
    assert OBS_DIR in out and "2020-09-14" in out and "2020-09-15" not in out and "15 of 21" in out
    assert run("run", "--listingall", "--data-root", night) == 0
    assert "2020-09-20" in capsys.readouterr().out
    (night / "tmp" / OBS_DIR / "broken.fits").write_text("nothing")
    assert run("run", OBS_DIR, "--listing", "--data-root", night) == 0
    out = capsys.readouterr().out
    for path in frames_of(night):
        assert path.name in out
    assert (
        "exposure [s]" in out
        and "FLAT_FLAT" in out
        and "60.0" in out
        and "2020-08-31 21:" in out
        and "unreadable" in out
    )
    assert "no such directory" in refused(capsys, 3, "run", "nowhere", "--listing", "--data-root", night)


def test_help_in_three_sizes(capsys):
    assert run("run", "--help") == 0
    usual_help = capsys.readouterr().out
    assert "--darkcorr" in usual_help and "--recipe_kind" not in usual_help and "Calibration files" in usual_help
    assert run("run", "--xhelp") == 0
    everything = capsys.readouterr().out
    for option in ("--recipe_kind", "--force_indir", "--idebug", "--crunfile", "--ref", "--debug"):
        assert option in everything
    assert run("run", "--info") == 0
    short = capsys.readouterr().out
    assert short.startswith("Usage: flatcore run") and "--shapel" in short and len(short) < 1200
    assert run("run", "--version") == 0
    assert "0.1.0" in capsys.readouterr().out


def test_obs_dir_is_asked_for(night, capsys):
    assert "OBS_DIR" in refused(capsys, 2, "run", "--data-root", night)


@pytest.mark.parametrize("value", ["True", "False", "1", "0"])
def test_booleans(night, capsys, value):
    made = Made(capsys, night, "--database", value, "--badcorr", value)
    assert made.summary["settings"]["output"]["database"] is (value in ("True", "1"))
    assert made.summary["settings"]["calibrate"]["badpix"] is (value in ("True", "1"))


def test_a_boolean_that_is_none(night, capsys):
    assert "maybe" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--badcorr", "maybe")


def test_idebug_ends_in_a_debugger_with_the_result(night):
    code = (
        "import sys\nsys.modules['IPython'] = None\nfrom flatcore.cli import main\n"
        f"main(['run', '{OBS_DIR}', '--data-root', r'{night}', '--fiber', 'C', '--quiet', '--nosave', '--idebug'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="p result.obs_dir, len(result.images)\nc\n", text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert f"('{OBS_DIR}', 1)" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_plot(night, capsys):
    made = Made(capsys, night, "--plot", "0")
    assert made.summary["figures"] == [] and not (night / "plot").exists()
    made = Made(capsys, night, "--plot=2")
    names = {path.name for path in (night / "plot" / OBS_DIR).iterdir()}
    assert names and all(name.endswith(".png") for name in names)
    for figure in ("SUM_FLAT_ORDER_FIT_EDGES", "SUM_FLAT_BLAZE_ORDER", "FLAT_BLAZE_ORDER2", "FLAT_ORDER_FIT_EDGES2"):
        assert any(figure in name for name in names)
    assert len(made.summary["figures"]) == len(names)
    # An interactive figure among parallel runs would wait for nobody.
    assert Made(capsys, night, "--plot", "1", "--parallel", "True").summary["figures"] == []
    assert "5" in refused(capsys, 2, "run", OBS_DIR, "--data-root", night, "--plot", "5")


def test_report(night, capsys):
    made = Made(capsys, night)
    assert made.summary["pages"] == [] and not (night / "report").exists()
    made = Made(capsys, night, "--report")
    (page,) = made.summary["pages"]
    assert page == str(night / "report" / OBS_DIR / f"{made.summary['images'][0]['stem']}.html")
    assert made.summary["pid"] in Path(page).read_text()


def test_files_below_ignores_only_logs_and_locks(night, capsys):
    before = files_below(night)
    Made(capsys, night)
    added = set(files_below(night)) - set(before)
    assert {name.split("/")[0] for name in added} == {"red", "calib"}


def test_database_url(night, capsys, monkeypatch):
    store = night / "elsewhere.db"
    url = f"sqlite:///{store}"
    shutil.move(night / "calib" / "flatcore.db", store)
    refused(capsys, 3, "run", OBS_DIR, "--data-root", night)
    made = Made(capsys, night, "--database-url", url)
    monkeypatch.setenv("FLATCORE_DATABASE", url)
    assert Made(capsys, night, "--skip-existing").summary["pid"] == made.summary["pid"]
    assert not (night / "calib" / "flatcore.db").exists()
