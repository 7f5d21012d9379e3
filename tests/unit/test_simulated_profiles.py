"""Simulated nights follow the profile: its orders, light, exposure and darks, and raw files as it has them."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from flatcore.errors import UsageError
from flatcore.instrument import Simulated, load_profile, profile_with
from flatcore.recipe import run_night
from flatcore.simulate import SimulationOptions, simulate_night
from flatcore.simulate.layout import lay_out
from flatcore.simulate.scene import make_scene
from flatcore.simulate.streams import Stream, generator
from tests.cli.command import run
from tests.conftest import register
from tests.unit.test_survey import instrument


def layout_of(**simulate):
    return lay_out(instrument(simulate=simulate), generator(0, Stream.GEOMETRY))


def test_a_table_of_defaults_is_no_table():
    plain = load_profile("SMALL")
    told = profile_with(plain, {"simulate": {}}, "here")
    assert told.simulate == Simulated()
    one, other = (make_scene(SimulationOptions(profile, seed=4)) for profile in (plain, told))
    np.testing.assert_array_equal(one.lit_light(), other.lit_light())


def test_orders_and_their_spacing():
    layout = layout_of(orders=10, spread=2.0, sag=12.0)
    rows = np.array([strip.row for strip in layout.strips])
    assert layout.orders == len(rows) == 10
    spacing = np.diff(rows)
    assert spacing[-1] / spacing[0] == pytest.approx(2.0, rel=0.15)
    assert np.all(np.diff(spacing) > -1.5)


def test_width_and_shape_of_the_light():
    layout = layout_of(fwhm=5.5, sharpness=10.0)
    assert {(strip.width, strip.sharpness) for strip in layout.strips} == {((5.5,), 10.0)}


def test_fibers_apart():
    profile = profile_with(load_profile("NIRPS_HA"), {"simulate": {"separation": 14.0, "orders": 40}}, "here")
    layout = lay_out(profile, generator(0, Stream.GEOMETRY))
    a, b = ([s.row for s in layout.strips if s.localisation == name] for name in "AB")
    np.testing.assert_allclose(np.subtract(b, a), 14.0)


def test_too_many_orders():
    with pytest.raises(UsageError, match="do not hold 50 orders of"):
        layout_of(orders=50)
    with pytest.raises(UsageError, match="do not hold 24 orders"):
        layout_of(orders=24, spread=4.0)


@pytest.mark.parametrize("tilt", [-6.0, 4.0])
def test_a_slanted_slit(tilt):
    """A column of the straight frame lies along the slit on the detector."""
    profile = instrument(simulate={"tilt": tilt})
    transform = make_scene(SimulationOptions(profile, warp=0.0)).transform
    x, _ = transform.source(np.array([500.0, 500.0]), np.array([250.0, 350.0]))
    assert np.degrees(np.arctan2(x[1] - x[0], 100.0)) == pytest.approx(tilt, abs=0.01)


# Light three pixels wide is hardly sampled: interpolating it costs some of the response.
@pytest.mark.parametrize(
    ("changes", "largest"),
    [({"tilt": 4.0, "sharpness": 10.0, "fwhm": 12.0}, 0.012), ({"fwhm": 3.0, "spread": 1.5}, 0.02)],
)
def test_the_recipe_finds_the_truth(tmp_path, changes, largest):
    profile = instrument(units="adu", dispersion="columns", bias=200.0, simulate=changes | {"exptime": 20.0})
    night = simulate_night(tmp_path, SimulationOptions(profile, seed=9, frames=4))
    register(tmp_path, tmp_path / "calib")
    path = tmp_path / "instrument.toml"
    path.write_text(
        'name = "NEW"\n[detector]\nshape = [640, 1088]\nrows = [20, 620]\ncolumns = [4, 1084]\n'
        f'gain = {profile.detector.gain}\nsaturation = 60000.0\nframe_time = "EXPTIME"\nunits = "adu"\n'
        'dispersion = "columns"\nbias = 200.0\n'
        '[fibers.A]\nchannel = 0\nlocalisation = "A"\nbelow = 8\nabove = 8\n[background]\nscattered_amplitude = 47\n'
    )
    result = run_night("2020-08-31", data_root=tmp_path, instrument=path, settings={"output": {"save": False}})
    flat = result.images[0].fibers["A"].flat
    with np.load(night.truth) as arrays:
        truth = dict(arrays)
    assert result.images[0].header["EXPTIME"] == 20.0
    ratio = flat.blaze / truth["blaze_A"]
    ratio /= np.nanmedian(ratio, axis=1, keepdims=True)
    assert np.nanpercentile(np.abs(ratio - 1), 95) < 0.015
    # The pixel response is found, but for the photon noise of four frames.
    scatter = np.diff(np.nanpercentile(flat.flat / truth["response_A"], [15.87, 84.13], axis=1), axis=0)[0] / 2
    assert np.all(scatter < largest)


class TestDarks:
    def test_they_are_what_the_dark_calibration_says(self, tmp_path):
        profile = instrument(simulate={"dark": 0.5, "readnoise": 2.0})
        night = simulate_night(tmp_path, SimulationOptions(profile, frames=1, darks=4, dark_exptime_s=300.0))
        assert [path.name for path in night.darks] == [f"{2505000 + i}d_pp.fits" for i in range(4)]
        frames = np.array([fits.getdata(path) for path in night.darks])
        header = fits.getheader(night.darks[0])
        assert (header["DPRTYPE"], header["EXPTIME"]) == ("DARK_DARK", 300.0)
        (reference,) = (fits.getdata(path) for path in night.calibrations if "dark_ref" in path.name)
        median = np.median(frames, axis=0)
        assert np.median(median) == pytest.approx(np.median(reference), rel=0.02)
        assert np.corrcoef(np.log1p(np.abs(median)).ravel(), np.log1p(np.abs(reference)).ravel())[0, 1] > 0.95
        times = [fits.getheader(path)["MJDMID"] for path in night.darks]
        assert np.all(np.diff(times) * 86400 > 300.0)
        assert times[-1] < fits.getheader(night.frames[0])["MJDATE"]

    def test_they_change_nothing_else(self, tmp_path):
        options = SimulationOptions(instrument(), frames=1)
        one, other = simulate_night(tmp_path / "a", options), simulate_night(tmp_path / "b", replace(options, darks=2))
        for path, there in zip((*one.frames, *one.calibrations), (*other.frames, *other.calibrations), strict=True):
            assert path.read_bytes() == there.read_bytes()
        assert (len(one.darks), len(other.darks)) == (0, 2)

    def test_of_no_exposure(self):
        with pytest.raises(UsageError, match="dark_exptime = 0 must be a positive number of seconds"):
            SimulationOptions(instrument(), dark_exptime_s=0)

    def test_on_the_command_line(self, tmp_path, capsys):
        assert run("simulate", tmp_path, "--frames", "1", "--darks", "2", "--dark-exptime", "120") == 0
        assert "1 frames and 2 darks of SMALL" in capsys.readouterr().out
        darks = sorted((tmp_path / "tmp" / "2020-08-31").glob("*d_pp.fits"))
        assert [fits.getheader(path)["EXPTIME"] for path in darks] == [120.0, 120.0]


def test_raw_files_are_as_the_profile_has_them(tmp_path):
    amplifiers = [
        {"hdu": "RED", "data": [[0, 640], [0, 544]], "overscan": [[0, 640], [544, 560]], "at": [0, 0]},
        {"hdu": "BLUE", "data": [[0, 640], [0, 544]], "overscan": [[0, 640], [544, 560]], "at": [0, 544], "flip": "x"},
    ]
    profile = instrument(units="adu", amplifiers=amplifiers, simulate={"bias": 800.0, "readnoise": 4.0})
    night = simulate_night(tmp_path, SimulationOptions(profile, frames=1))
    with fits.open(night.frames[0]) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "RED", "BLUE"]
        assert hdus[0].data is None
        assert hdus["BLUE"].header["DETSEC"] == "[1088:545,1:640]"
        assert hdus["RED"].header["BIASSEC"] == "[545:560,1:640]"
        for i, name in enumerate(("RED", "BLUE")):
            assert hdus[name].data.dtype == np.uint16
            overscan = hdus[name].data[:, 544:].astype(float)
            assert overscan.mean() == pytest.approx(800 * (1 + 0.03 * i) + 2 * 2 / np.pi, abs=0.3)
            assert overscan.std(axis=1).mean() == pytest.approx(4.0 / profile.detector.gain, rel=0.1)


def test_a_number_cannot_be_written_as_a_date(tmp_path):
    profile = instrument(keywords={"EXPTIME": {"keyword": "DATE-OBS"}})
    with pytest.raises(UsageError, match=r"keywords\.EXPTIME takes a number from DATE-OBS"):
        simulate_night(tmp_path, SimulationOptions(profile, frames=1))
