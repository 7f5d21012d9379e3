"""From raw files that nobody has described to flats, by three commands."""

import json

import numpy as np
import pytest
from astropy.io import fits

from flatcore.simulate import SimulationOptions, simulate_night
from tests.cli.command import OBS_DIR, run
from tests.unit.test_assembly import turned
from tests.unit.test_survey import RAW_KEYWORDS, instrument

HALVES = [
    {"hdu": "A", "data": [[0, 640], [8, 552]], "overscan": [[0, 640], [552, 576]], "gain": 1.2, "at": [0, 0]},
    {"hdu": "B", "data": [[0, 640], [24, 568]], "overscan": [[0, 640], [0, 22]], "gain": 0.9, "at": [0, 544],
     "flip": "x"},
]  # fmt: skip
# As wide as most are against their spacing.
LIGHT = {"orders": 14, "fwhm": 6.0}


@pytest.mark.parametrize(
    "profile",
    [
        instrument(gain=2.3, simulate=LIGHT, rows=[0, 640], columns=[0, 1088]),
        instrument(
            gain=1.0, units="adu", dispersion="columns", amplifiers=turned(HALVES), rows=[0, 640], columns=[0, 1088],
            keywords=RAW_KEYWORDS, simulate=LIGHT,
        ),
    ],
    ids=["rates", "turned amplifiers"],
)  # fmt: skip
def test_from_nothing_to_flats(tmp_path, capsys, profile):
    night = simulate_night(tmp_path / "made", SimulationOptions(profile, seed=12, frames=4, darks=4, warp=0.3))
    root, toml = tmp_path / "data", tmp_path / "new.toml"
    (root / "tmp").mkdir(parents=True)
    night.frames[0].parent.rename(root / "tmp" / OBS_DIR)

    files = sorted((root / "tmp" / OBS_DIR).glob("*.fits"))
    assert run("init", *files, "--yes", "--quiet", "--output", toml) == 0
    assert run("bootstrap", OBS_DIR, "--data-root", root, "--instrument", toml, "--quiet") == 0
    capsys.readouterr()
    assert run("run", OBS_DIR, "--data-root", root, "--instrument", toml, "--json") == 0

    summary = json.loads(capsys.readouterr().out)
    assert summary["passed"]
    paths = {product["kind"]: product["path"] for product in summary["products"]}
    with np.load(night.truth) as arrays:
        truth = dict(arrays)
    blaze, flat = fits.getdata(paths["FF_BLAZE"], 1), fits.getdata(paths["FF_FLAT"], 1)
    assert blaze.shape == truth["blaze_A"].shape
    # Columns of the drafted profile are the detector's own: the night's transform moves them by some tenths of a pixel.
    ratio = blaze / truth["blaze_A"]
    ratio /= np.nanmedian(ratio, axis=1, keepdims=True)
    assert np.nanpercentile(np.abs(ratio - 1), 95) < 0.02
    scatter = np.diff(np.nanpercentile(flat / truth["response_A"], [15.87, 84.13], axis=1), axis=0)[0] / 2
    assert np.median(scatter) < 0.012
    header = fits.getheader(paths["FF_BLAZE"])
    assert (header["EXPTIME"], header["INSTRUME"]) == (60.0, "NEW")
    assert header["INF1001"] == night.frames[0].name
