"""What products hold, and how they are written and used again."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from flatcore import _core, conclude, run_night
from flatcore.errors import OutputError

OBS_DIR = "2020-08-31"


@pytest.fixture(scope="module")
def result(small_night, tmp_path_factory):
    """A finished night with all five products, and its data root."""
    root = tmp_path_factory.mktemp("products") / "night"
    shutil.copytree(small_night, root)
    night = run_night(OBS_DIR, data_root=root, settings={"output": {"background": True}}, keep_images=True)
    return night, root


def product(night, kind, fiber="AB"):
    return next(p.path for p in night.products if (p.kind, p.fiber) == (kind, fiber))


def test_hdus_in_their_order(result):
    night, _ = result
    names = {
        "FF_FLAT": ["FLAT", "ERROR", "MASK", "QC", "CHECKS", "FRAMES", "SETTINGS", "INPUTS"],
        "FF_BLAZE": [
            "BLAZE",
            "ERROR",
            "MASK",
            "E2DS",
            "E2DSERR",
            "BLAZEPAR",
            "QC",
            "CHECKS",
            "FRAMES",
            "SETTINGS",
            "INPUTS",
        ],
        "EXT_E2DS_LL": ["E2DSLL", "E2DSCC", "E2DS", "E2DSERR", "QC", "WINDOWS", "SETTINGS", "INPUTS"],
        "ORDERP_STRAIGHT": ["ORDERP", "SETTINGS", "INPUTS"],
    }
    for kind, expected in names.items():
        with fits.open(product(night, kind), checksum=True) as hdus:
            assert hdus[0].header["NAXIS"] == 0
            assert hdus[0].header["DRSOUTID"] == kind
            assert [hdu.name for hdu in hdus[1:]] == expected
            assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
    with fits.open(product(night, "DEBUG_BACK", "")) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == [
            "CORRECTED", "ORIGINAL", "LOCALCORR", "MASKED", "LOCAL", "GLOBAL", "CELLS", "SETTINGS", "INPUTS",
        ]  # fmt: skip


def test_astropy_verifies_every_hdu_and_the_hash_is_that_of_the_file(result):
    night, _ = result
    assert len(night.products) == 17
    for made in night.products:
        assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
        assert made.path.stat().st_nlink == 1
        # Astropy warns where a checksum is wrong, and a warning fails the test.
        with fits.open(made.path, checksum=True) as hdus:
            hdus.verify("exception")
            assert [(hdu.verify_checksum(), hdu.verify_datasum()) for hdu in hdus] == [(1, 1)] * len(hdus)


def test_images_are_the_results(result):
    night, _ = result
    for name, fiber in night.images[0].fibers.items():
        with fits.open(product(night, "FF_BLAZE", name)) as blaze, fits.open(product(night, "FF_FLAT", name)) as flat:
            np.testing.assert_array_equal(blaze["BLAZE"].data, fiber.flat.blaze)
            np.testing.assert_array_equal(flat["FLAT"].data, fiber.flat.flat)
            np.testing.assert_array_equal(flat["MASK"].data, fiber.flat.reasons)
            whole = blaze["BLAZE"].data * flat["FLAT"].data
            finite = np.isfinite(whole)
            np.testing.assert_allclose(whole[finite], blaze["E2DS"].data[finite], rtol=1e-12)
        with fits.open(product(night, "EXT_E2DS_LL", name)) as hdus:
            stacked, kept, spectrum = (hdus[i].data for i in (1, 2, 3))
            first = hdus["WINDOWS"].data["ROWS"][0]
            np.testing.assert_allclose(np.nansum(stacked[:first], axis=0, dtype=float), spectrum[0], rtol=1e-6)
            np.testing.assert_array_equal(kept == 0, np.isnan(stacked))


def test_keywords(result):
    night, root = result
    header = fits.getheader(product(night, "FF_BLAZE", "C"))
    frames = sorted(path.name for path in (root / "tmp" / OBS_DIR).iterdir())
    assert [header[f"INF1{i:03d}"] for i in range(1, 5)] == frames
    assert header["FIBER"] == "C" and header["QCC_ALL"] is True
    assert header["RDNOISE"] == 12.0 and header["EXPTIME"] == 60.0
    assert header["QCC001N"] == "max_rms" and header["QCC001P"] == 1 and header["QCC001V"] < 0.05
    assert header["CDBLOCO"].endswith("_loco_C.fits") and header["CDTLOCO"] == pytest.approx(59092.7, abs=0.1)
    for keyword in ("DARK", "BAD", "BACK", "ORDP", "SHAPL", "SHAPX", "SHAPY"):
        assert header[f"CDB{keyword}"].endswith(".fits")
    fiber = night.images[0].fibers["C"]
    for order in range(9):
        assert header[f"EXTSN{order:03d}"] == pytest.approx(fiber.spectra.snr[order])
        assert header[f"FFRMS{order:03d}"] == pytest.approx(fiber.flat.rms[order])
    assert (header["EXTR1"], header["EXTR2"]) == (7.0, 7.0)
    image = fits.getheader(product(night, "FF_BLAZE", "C"), 1)
    assert (image["EXTSTART"], image["EXTEND"]) == (0, 1080)
    assert header["BLAZSCUT"] == 0.1 and header["BLAZBPTL"] == 95.0
    assert header["EXTSMAX"] < header["EXTSATQC"] and header["EXTSAT"] is False
    assert {"VERSION", "DRSPID", "DRSPDATE", "DRSVDATE"} <= set(header)


def test_tables(result):
    night, _ = result
    fiber = night.images[0].fibers["A"]
    with fits.open(product(night, "FF_BLAZE", "A")) as hdus:
        parameters, qc = hdus["BLAZEPAR"].data, hdus["QC"].data
        np.testing.assert_array_equal(parameters["PERIOD"], [fit.parameters[1] for fit in fiber.flat.fits])
        assert list(parameters["PROBLEM"]) == [""] * 9
        assert list(qc["VERDICT"]) == ["pass"] * 9
        np.testing.assert_array_equal(qc["REJECTED"], fiber.spectra.rejected)
        settings = dict(zip(hdus["SETTINGS"].data["NAME"], hdus["SETTINGS"].data["VALUE"], strict=True))
        assert settings["settings.combine.method"] == '"median"' and settings["detector.gain"] == "0.999"
        inputs = hdus["INPUTS"].data
        assert list(inputs["KEYNAME"][:4]) == ["FRAME"] * 4
        assert {"DARKREF", "LOC", "SHAPEL"} <= set(inputs["KEYNAME"])
        assert all(len(h) == 64 for h in inputs["SHA256"][4:])


def test_background_planes(result):
    night, _ = result
    with fits.open(product(night, "DEBUG_BACK", "")) as hdus:
        planes = {hdu.name: hdu.data for hdu in hdus[1:] if hdu.is_image}
    np.testing.assert_array_equal(planes["CORRECTED"], planes["ORIGINAL"] - planes["GLOBAL"])
    np.testing.assert_array_equal(planes["LOCALCORR"], planes["ORIGINAL"] - planes["LOCAL"])
    lit = np.isnan(planes["MASKED"]) & np.isfinite(planes["LOCALCORR"])
    assert 0.3 < lit.mean() < 0.95
    assert planes["CELLS"].shape == (4, 8)


def test_a_straightened_profile_is_read_again_only_if_it_is_of_the_same_files(result, monkeypatch):
    night, root = result
    calls = []
    real = __import__("flatcore.measure", fromlist=["straighten"]).straighten

    def counted(image, transform):
        calls.append(image.shape)
        return real(image, transform)

    monkeypatch.setattr("flatcore.measure.straighten", counted)
    again = run_night(OBS_DIR, data_root=root)
    assert len(calls) == 1
    assert {p.kind for p in again.products} == {"FF_FLAT", "FF_BLAZE", "EXT_E2DS_LL"}
    for name in ("AB", "C"):
        np.testing.assert_array_equal(again.images[0].fibers[name].flat.flat, night.images[0].fibers[name].flat.flat)
    path = product(night, "ORDERP_STRAIGHT", "C")
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["CDBHASH"] = "of other files"
    calls.clear()
    third = run_night(OBS_DIR, data_root=root)
    assert len(calls) == 2
    assert [p.fiber for p in third.products if p.kind == "ORDERP_STRAIGHT"] == ["C"]


def test_one_failing_product_leaves_none(small_night, tmp_path, monkeypatch):
    root = tmp_path / "night"
    shutil.copytree(small_night, root)
    real = _core.write_fits

    def full(path, hdus):
        if "_blaze_C" in path:
            raise OSError(28, "No space left on device")
        return real(path, hdus)

    monkeypatch.setattr(_core, "write_fits", full)
    with pytest.raises(OutputError, match=r"_blaze_C\.fits: cannot be written: .*No space left on device"):
        run_night(OBS_DIR, data_root=root)
    assert [path.name for path in (root / "red").rglob("*.*")] == [f".{OBS_DIR}.lock"]


def test_a_run_that_saves_nothing_spends_no_time_on_products(night):
    made = run_night(OBS_DIR, data_root=night, fiber="C", settings={"output": {"save": False, "background": True}})
    assert made.products == () and "products" not in made.seconds
    assert not list((night / "red").rglob("*.fits"))


def test_an_interrupt_between_fibres_leaves_no_product(small_night, tmp_path, monkeypatch):
    root = tmp_path / "night"
    shutil.copytree(small_night, root)
    real, done = conclude.check_fiber, []

    def interrupted(flat, *others, **named):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(flat)
        return real(flat, *others, **named)

    monkeypatch.setattr(conclude, "check_fiber", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_night(OBS_DIR, data_root=root)
    assert [path.name for path in (root / "red").rglob("*.*")] == [f".{OBS_DIR}.lock"]


def test_a_run_does_not_import_what_only_tables_of_astropy_need(night):
    code = "import sys, flatcore; flatcore.run_night(*sys.argv[1:2], data_root=sys.argv[2]); print(*sys.modules)"
    command = [sys.executable, "-c", code, OBS_DIR, str(night)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "flatcore.recipe" in done.stdout.split()
    assert "astropy.table" not in done.stdout.split()
