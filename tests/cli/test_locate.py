"""``flatcore locate``: traces of a night, from the command line to the database."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial import chebyshev

from flatcore.caldb import CalibrationDatabase
from flatcore.fitsio import read_header
from flatcore.localisation import read_traces
from tests.cli.command import OBS_DIR, files_below, refused, run


@pytest.fixture
def bare(small_night, tmp_path):
    """The small night's frames without calibrations."""
    shutil.copytree(small_night / "tmp", tmp_path / "tmp")
    return tmp_path


def rows_of(path):
    """Rows of a LOC file's traces, by its keywords."""
    header, columns = fits.getheader(path), fits.getdata(path).shape[1]
    traces = read_traces(read_header(path), path)
    assert header["LONBO"] == len(traces)
    return chebyshev.chebval(2 * np.arange(columns) / columns - 1, traces.T)


def test_loc_files_are_made_and_registered(bare, small_night, capsys):
    assert run("locate", OBS_DIR, "--data-root", bare) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["fibre", "order", "strip", "row"]
    assert sum(line.startswith(("AB ", "C ")) for line in lines) >= 27
    made = {path.name[-7:-5].strip("_"): path for path in (bare / "calib").glob("*.fits")}
    assert set(made) == {"AB", "C"}
    known = CalibrationDatabase.open(small_night)
    for fiber, path in made.items():
        with fits.open(path, checksum=True) as hdus:
            assert hdus[0].header["DRSOUTID"] == "LOC_LOCO"
            assert hdus[0].header["FIBER"] == fiber
            assert {"CHECKSUM", "DATASUM"} <= set(hdus[0].header)
            np.testing.assert_allclose(hdus[1].data, rows_of(path), atol=1e-9)
            table = hdus["TRACES"].data
            assert len(table) == hdus[0].header["LONBO"]
            assert (np.diff(table["ROW"]) > 0).all()
            assert hdus[0].header["LODEGFWH"] == 2
            widths = [hdus[0].header[f"LOFW{3 * i:04d}"] for i in range(len(table))]
            np.testing.assert_allclose(widths, table["FWHM"], rtol=0.2)
        (record,) = known.records("LOC", fiber)
        truth = rows_of(known.path_of(record))
        assert truth.shape == rows_of(path).shape
        # The middle of the light is within the transform's refit of the true trace.
        assert np.abs(rows_of(path) - truth)[:, truth.shape[1] // 4 : -truth.shape[1] // 4].max() < 0.3
        assert [r.used for r in CalibrationDatabase.open(bare).records("LOC", fiber)] == [True]


def test_json_tells_every_trace(bare, capsys):
    assert run("locate", OBS_DIR, "--data-root", bare, "--dry-run", "--json", "--quiet") == 0
    summary = json.loads(capsys.readouterr().out)
    assert {one["fiber"] for one in summary["calibrations"]} == {"AB", "C"}
    trace = summary["calibrations"][0]["trace"][0]
    assert {"order", "strip", "row", "first", "last", "rms", "fwhm", "below", "above", "snr"} <= set(trace)
    assert not (bare / "calib").exists()


def test_a_figure_shows_every_trace(bare, capsys):
    assert run("locate", OBS_DIR, "--data-root", bare, "--plot", 2, "--json", "--quiet") == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [name.rsplit("/", 1)[1] for name in figures] == [f"{OBS_DIR}_locate_AB-C.png"]
    assert (bare / "plot" / OBS_DIR / f"{OBS_DIR}_locate_AB-C.png").stat().st_size > 50_000


def test_refusals(bare, capsys):
    said = refused(capsys, 2, "locate", OBS_DIR, "--data-root", bare, "--set", "locate.degree=0", "--quiet")
    assert "degree = 0: must be from 1 to 10" in said
    said = refused(capsys, 3, "locate", "2020-09-09", "--data-root", bare, "--quiet")
    assert "2020-09-09" in said
    assert files_below(bare / "tmp")
    assert not (bare / "calib").exists() or not list((bare / "calib").glob("*.fits"))
