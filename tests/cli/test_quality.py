"""What ``flatcore run`` makes of damaged nights: every fibre delivered, and what is wrong said in words."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits

from flatcore.spectra import Reason
from tests.cli.command import OBS_DIR, frames_of, run

FIBERS = ("AB", "A", "B", "C")


def change(path, function):
    """Change a frame's pixels in place."""
    with fits.open(path, mode="update") as hdus:
        hdu = next(hdu for hdu in hdus if hdu.data is not None)
        hdu.data[...] = function(hdu.data.astype(float)).astype(hdu.data.dtype)


def outcome(night, capsys, *options, status=0):
    """JSON of a run, its warnings, and BLAZEPAR, mask and headers of each fibre."""
    assert run("run", OBS_DIR, "--data-root", night, "--json", *options) == status
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert set(result["images"][0]["fibers"]) == set(FIBERS)
    blazes = {p["fiber"]: p["path"] for p in result["products"] if p["kind"] == "FF_BLAZE"}
    tables = {}
    for fiber in FIBERS:
        with fits.open(blazes[fiber], checksum=True) as hdus:
            tables[fiber] = (hdus["BLAZEPAR"].data.copy(), hdus["MASK"].data.copy(), hdus[0].header.copy())
    return result, captured.err, tables


def check_of(result, fiber, name):
    return next(c for c in result["images"][0]["fibers"][fiber]["checks"] if c["name"] == name)


def test_a_good_night(night, capsys):
    result, err, tables = outcome(night, capsys)
    assert "warning" not in err
    for fiber in FIBERS:
        table, mask, header = tables[fiber]
        assert set(table["RUNG_NAME"]) == {"full"}
        assert set(table["VERDICT"]) == {"pass"}
        assert not any(table["WORDS"])
        assert mask.dtype == np.dtype(">i2")
        assert (table["SNR_RATIO"] > 0.2).all() and (table["SNR_RATIO"] < 1.2).all()
        assert header["QCC001N"] == "max_rms" and header["QCC001D"] is True
        names = [header[f"QCC{i:03d}N"] for i in range(1, 7)]
        assert names == ["max_rms", "published_rms", "blaze_rung", "usable", "snr_ratio", "frames"]
        orders = result["images"][0]["fibers"][fiber]["orders"]
        assert [order["rung"] for order in orders] == ["full"] * 9
        assert all(order["chi2"] > 0.5 for order in orders)
    assert [frame["words"] for frame in result["images"][0]["frames"]] == [""] * 4


def test_a_lamp_that_drifts_and_a_shutter_that_sticks(night, capsys):
    paths = frames_of(night)
    for i, path in enumerate(paths[:-1]):
        change(path, lambda pixels, i=i: pixels * (1 + 0.05 * i))
    change(paths[-1], lambda pixels: pixels * 0.001)
    result, err, _ = outcome(night, capsys)
    frames = result["images"][0]["frames"]
    assert "the shutter stuck, or the lamp was off" in frames[-1]["words"]
    assert frames[-1]["level"] < 0.01
    for fiber in FIBERS:
        check = check_of(result, fiber, "frames")
        assert not check["passed"] and not check["decisive"]
        assert re.search(r"the lamp drifted by \+(8|9|10)\.\d%", check["words"])
        assert "the shutter stuck" in err
        with fits.open(
            next(p["path"] for p in result["products"] if (p["kind"], p["fiber"]) == ("FF_FLAT", fiber))
        ) as hdus:
            assert list(hdus["FRAMES"].data["FILENAME"]) == [path.name for path in paths]
            assert "shutter" in hdus["FRAMES"].data["WORDS"][-1]
            words = dict(zip(hdus["CHECKS"].data["NAME"], hdus["CHECKS"].data["WORDS"], strict=True))
            assert words["frames"] == check["words"] and not words["max_rms"]


def test_what_decides_is_the_profiles(night, capsys):
    change(frames_of(night)[-1], lambda pixels: pixels * 0.001)
    decisive = '["max_rms", "frames"]'
    result, err, tables = outcome(night, capsys, "--set", f"qc.decisive={decisive}", status=4)
    assert not result["passed"]
    assert "fails quality control: frames" in err
    assert all(tables[fiber][2]["QCC_ALL"] is False for fiber in FIBERS)
    assert not list((night / "calib").glob("*_flat_*"))


def test_half_the_detector_dead(night, capsys):
    for path in frames_of(night):
        change(path, lambda pixels: np.where(np.arange(pixels.shape[1]) < pixels.shape[1] // 2, np.nan, pixels))
    result, _, tables = outcome(night, capsys)
    for fiber in FIBERS:
        table, mask, _ = tables[fiber]
        assert (table["USABLE"] > 0.35).all() and (table["USABLE"] < 0.6).all()
        assert ((mask & Reason.NO_DATA) != 0).mean() > 0.4
        assert result["images"][0]["fibers"][fiber]["passed"]


def test_orders_without_light(night, capsys):
    """A third of the rows goes dark: every fibre is still delivered, and the orders are named."""
    for path in frames_of(night):
        change(path, lambda pixels: np.where(np.arange(pixels.shape[0])[:, None] < pixels.shape[0] // 3, 0.0, pixels))
    _, err, tables = outcome(night, capsys, status=4)
    for fiber in FIBERS:
        table, mask, _ = tables[fiber]
        dark = table["RUNG_NAME"] == "none"
        assert 1 <= dark.sum() <= 5
        assert all(word.startswith("no blaze: no") for word in table["WORDS"][dark])
        assert ((mask[dark] & Reason.NO_BLAZE) != 0).all()
        assert set(table["VERDICT"][dark]) == {"fail"}
        assert (table["USABLE"][~dark] > 0.5).sum() >= 3
    assert "no blaze: no" in err


def test_saturated_pixels_are_marked(night, capsys):
    for path in frames_of(night):
        change(path, lambda pixels: np.where(np.arange(pixels.shape[1]) % 97 == 0, 1e6, pixels))
    _, _, tables = outcome(night, capsys)
    for fiber in FIBERS:
        _, mask, _ = tables[fiber]
        saturated = (mask & Reason.SATURATED) != 0
        assert 0.015 < saturated.mean() < 0.08
        # Every 97th column of the detector, moved by the night's transform, and its neighbours.
        runs = np.flatnonzero(np.diff(saturated[4].astype(int)) == 1)
        assert abs(np.median(np.diff(runs)) - 97) <= 1


@pytest.mark.parametrize("last", ["full", "spline"])
def test_how_far_the_ladder_goes_is_a_setting(night, capsys, last):
    for path in frames_of(night):
        change(path, lambda pixels: np.where(np.arange(pixels.shape[1]) < pixels.shape[1] // 2, 0.3 * pixels, pixels))
    _, _, tables = outcome(night, capsys, "--set", f"blaze.last_rung={last}", status=4 if last == "full" else 0)
    rungs = {str(name) for fiber in FIBERS for name in tables[fiber][0]["RUNG_NAME"]}
    assert ("none" in rungs) == (last == "full")
    assert ("spline" in rungs) == (last == "spline")
