"""What FITS files tell of an instrument never seen: held to simulated nights of which everything is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from flatcore.errors import InputError, UsageError
from flatcore.instrument import load_profile, profile_with
from flatcore.recipe import run_night
from flatcore.simulate import SimulationOptions, simulate_night
from flatcore.survey import Answers, survey
from flatcore.survey.files import RawImage
from flatcore.survey.keywords import find_exposure, find_kind, find_times
from flatcore.survey.orientation import find_dispersion, measure_strips
from flatcore.survey.sections import find_amplifiers, parse_section
from flatcore.survey.transfer import dark_noise, photon_transfer
from tests.conftest import register, shared
from tests.unit.test_assembly import KEYWORDS, QUARTERS, SMALL, turned

ONE_FIBER = {"A": {"channel": 0, "localisation": "A", "below": 8.0, "above": 8.0}}


def instrument(name="NEW", keywords=None, simulate=None, **detector):
    """A profile with one wide fibre on the detector of SMALL."""
    changes = {
        "name": name,
        "header": {"INSTRUME": name},
        "detector": {"frame_time": "EXPTIME", "saturation": 60000.0, "flip": "none"} | detector,
        "keywords": keywords or {},
        "simulate": {"readnoise": 6.0, "fwhm": 9.0} | (simulate or {}),
    }
    profile = profile_with(SMALL, changes, "here")
    fibers = type(profile).model_validate(profile.model_dump() | {"fibers": ONE_FIBER}).fibers
    return profile.model_copy(update={"fibers": fibers})


def night_of(root, profile, **options):
    """Flats and darks of a night, as one list of files."""
    night = simulate_night(root, SimulationOptions(profile, seed=33, **({"frames": 4, "darks": 3} | options)))
    return [*night.darks, *night.frames]


RAW_KEYWORDS = KEYWORDS | {
    "INSTRUME": "INSTRUM",
    "EXPTIME": "ITIME",
    "MJDATE": {"keyword": "DATE-OBS", "time": "UT"},
    "DPRTYPE": {"keyword": "OBSTYPE", "values": {"quartz lamp": "FLAT_FLAT", "dark": "DARK_DARK"}},
}


class TestNights:
    """Gain within 2 %, read noise within 10 %, all else exactly."""

    def held(self, found, profile, gains=None):
        detector, drafted = profile.detector, found.profile.detector
        assert drafted.shape == detector.shape
        assert drafted.dispersion == detector.dispersion
        assert drafted.units == detector.units
        assert drafted.frame_time == "EXPTIME"
        if gains is None:
            assert drafted.gain == pytest.approx(detector.gain, rel=0.02)
        for i, gain in enumerate(gains or ()):
            assert drafted.amplifiers[i].gain == pytest.approx(gain, rel=0.02)
            for key in ("hdu", "data", "overscan", "at", "flip"):
                assert getattr(drafted.amplifiers[i], key) == getattr(detector.amplifiers[i], key), (i, key)
        assert found.answers.readnoise_e == pytest.approx(6.0, rel=0.1)
        assert (len(found.frames.flats), len(found.frames.darks), len(found.frames.biases)) == (4, 3, 0)

    def test_rates(self, tmp_path):
        profile = instrument(gain=2.3)
        found = survey(night_of(tmp_path, profile))
        self.held(found, profile)
        assert found.profile.keywords == {}
        assert found.profile.name == "NEW"
        assert (found.profile.detector.saturation, found.answers.saturation_adu) == ("SATURATE", 60000.0)
        assert any("without BUNIT" in doubt for doubt in found.doubts)

    def test_counts_along_columns_with_a_bias(self, tmp_path):
        profile = instrument(gain=0.7, units="adu", dispersion="columns", bias=300.0, keywords=RAW_KEYWORDS)
        found = survey(night_of(tmp_path, profile))
        self.held(found, profile)
        assert found.profile.detector.bias == pytest.approx(300.0, abs=2.0)
        drafted = found.profile.keywords
        assert drafted["EXPTIME"].keyword == "ITIME"
        assert drafted["INSTRUME"].keyword == "INSTRUM"
        assert (drafted["MJDMID"].keyword, drafted["MJDMID"].time, drafted["MJDMID"].exposures) == (
            "DATE-OBS",
            "UT",
            0.5,
        )
        assert drafted["RDNOISE"].value == pytest.approx(6.0, rel=0.1)
        assert drafted["DPRTYPE"].values == {"quartz lamp": "FLAT_FLAT", "dark": "DARK_DARK"}

    @pytest.mark.parametrize("dispersion", ["rows", "columns"])
    def test_amplifiers_with_overscan(self, tmp_path, dispersion):
        gains = [1.1, 0.95, 0.8, 1.4]
        overscans = [None, None, None, [[0, 320], [1104, 1120]]]
        quarters = []
        for one, gain, overscan in zip(QUARTERS, gains, overscans, strict=True):
            table = {key: value for key, value in one.items() if key != "bias"} | {"gain": gain}
            quarters.append(table | ({"overscan": overscan} if overscan else {}))
        amplifiers = quarters if dispersion == "rows" else turned(quarters)
        profile = instrument(units="adu", dispersion=dispersion, amplifiers=amplifiers)
        found = survey(night_of(tmp_path, profile))
        # Headers tell amplifiers in the order of the HDUs.
        order = sorted(range(4), key=lambda i: {"LOW": 1}.get(quarters[i]["hdu"], quarters[i]["hdu"]))
        told = profile_with(
            profile, {"detector": {"amplifiers": [amplifiers[i] for i in order]}}, "in the order of the HDUs"
        )
        self.held(found, told, [gains[i] for i in order])

    def test_a_drafted_profile_gives_flats(self, tmp_path):
        """The flats are those of the profile by which the night was made."""
        profile = instrument(units="adu", bias=300.0, keywords=RAW_KEYWORDS, rows=[0, 640], columns=[0, 1088])
        found = survey(night_of(tmp_path, profile), answers=Answers(window=8.0))
        register(tmp_path, tmp_path / "calib")
        path = tmp_path / "drafted.toml"
        path.write_text(found.text)
        night = run_night("2020-08-31", data_root=tmp_path, instrument=path, settings={"output": {"save": False}})
        with np.load(tmp_path / "truth" / "2020-08-31.npz") as arrays:
            truth = dict(arrays)
        flat = night.images[0].fibers["A"].flat
        assert night.images[0].inputs == tuple(path.name for path in found.frames.flats)
        assert np.nanmax(flat.rms) < 0.02
        ratio = flat.blaze / truth["blaze_A"]
        ratio /= np.nanmedian(ratio, axis=1, keepdims=True)
        assert np.nanpercentile(np.abs(ratio - 1), 95) < 0.02


def test_the_real_night():
    """Three flats of the laboratory camera: its header says 0.49 e-/ADU."""
    files = sorted(shared("data", "lhd_zyla", "tmp", "2019-03-14").glob("*.fits"))
    found = survey(files)
    detector = found.profile.detector
    assert (detector.shape, detector.dispersion, detector.units) == ((2160, 2560), "rows", "adu/s")
    # The camera joins two amplifications near 4000 ADU, above which its noise is larger.
    assert detector.gain == pytest.approx(0.49, rel=0.07)
    assert found.answers.readnoise_e == 2.6
    assert 17 <= found.answers.window <= 23
    assert found.doubts == ()


class TestTransfer:
    SHAPE = (400, 500)

    def frames(self, gain, readnoise_e, count, seed=1, shift=0.0, drift=0.0):
        rng = np.random.default_rng(seed)
        y, x = np.indices(self.SHAPE)
        made = []
        for i in range(count):
            light = 20000 * np.exp(-0.5 * (((y + shift * i) % 40 - 20) / 5.0) ** 2) * np.sinc((x - 250) / 600) ** 2
            electrons = rng.poisson(light * (1 + drift * i) + 5) + rng.normal(0, readnoise_e, self.SHAPE)
            made.append((electrons / gain).astype(np.float32))
        return made

    @pytest.mark.parametrize(("gain", "readnoise_e"), [(0.4, 3.0), (1.0, 10.0), (5.0, 20.0)])
    @pytest.mark.parametrize("seed", [3, 4])
    def test_gain_and_read_noise(self, gain, readnoise_e, seed):
        found = photon_transfer(self.frames(gain, readnoise_e, 4, seed))
        assert found.pairs == 2
        assert found.gain == pytest.approx(gain, rel=0.02)
        assert found.readnoise_e == pytest.approx(readnoise_e, rel=0.1)

    def test_a_drifting_lamp_and_a_small_shift(self):
        found = photon_transfer(self.frames(1.0, 5.0, 2, shift=0.03, drift=0.02))
        assert found.gain == pytest.approx(1.0, rel=0.02)

    def test_cosmic_rays_hot_and_saturated_pixels(self):
        frames = self.frames(1.0, 5.0, 2)
        rng = np.random.default_rng(8)
        for frame in frames:
            frame[rng.integers(0, 400, 300), rng.integers(0, 500, 300)] += 3000
        rows, columns = rng.integers(0, 400, 200), rng.integers(0, 500, 200)
        for frame in frames:
            frame[rows, columns] = 65000
        assert photon_transfer(frames).gain == pytest.approx(1.0, rel=0.02)

    def test_pixels_without_value(self):
        frames = self.frames(1.0, 5.0, 2)
        frames[0][:100] = np.nan
        assert photon_transfer(frames).gain == pytest.approx(1.0, rel=0.02)

    def test_a_single_frame_tells_nothing(self):
        assert photon_transfer(self.frames(1.0, 5.0, 1)) is None

    def test_frames_of_one_level_tell_nothing(self):
        rng = np.random.default_rng(2)
        assert photon_transfer([rng.normal(0, 3, (60, 60)).astype(np.float32) for _ in range(2)]) is None

    def test_noise_of_darks(self):
        rng = np.random.default_rng(4)
        darks = [rng.normal(100, 4, self.SHAPE).astype(np.float32) for _ in range(3)]
        darks[1][:5, :5] += 5000
        assert dark_noise(darks) == pytest.approx(4.0, rel=0.01)
        assert np.isnan(dark_noise(darks[:1]))


class TestSections:
    @pytest.mark.parametrize(
        ("text", "region", "turned_y", "turned_x"),
        [
            ("[1:1024,1:2048]", ((0, 2048), (0, 1024)), False, False),
            (" [ 33 : 50 , 7 : 9 ] ", ((6, 9), (32, 50)), False, False),
            ("[50:33,9:7]", ((6, 9), (32, 50)), True, True),
        ],
    )
    def test_told(self, text, region, turned_y, turned_x):
        section = parse_section(text)
        assert (section.region, section.turned_y, section.turned_x) == (region, turned_y, turned_x)

    @pytest.mark.parametrize("text", ["", "none", "[0:5,1:3]", "[1:5]", 7])
    def test_not_told(self, text):
        assert parse_section(text) is None


class TestAmplifiers:
    def image(self, shape=(100, 150), hdu=1, name="", **cards):
        header = fits.Header()
        for keyword, value in cards.items():
            header[keyword.replace("__", " ")] = value
        return RawImage(hdu, name, header, shape, True)

    def test_none_told(self):
        assert find_amplifiers([self.image()]) is None
        assert find_amplifiers([self.image(DATASEC="[1:150,1:100]")]) is None

    def test_what_data_leave_beside_them(self):
        (one,), shape = find_amplifiers([self.image(DATASEC="[11:130,1:100]")])
        assert (one.data, one.overscan, shape) == (((0, 100), (10, 130)), ((0, 100), (132, 150)), (100, 120))
        (one,), _ = find_amplifiers([self.image(DATASEC="[21:150,1:100]")])
        assert one.overscan == ((0, 100), (0, 18))
        (one,), _ = find_amplifiers([self.image(DATASEC="[6:150,1:100]")])
        assert one.overscan is None

    def test_binned_mosaic_of_turned_chips(self):
        images = [
            self.image(hdu=i, name=name, DATASEC="[1:100,1:100]", BIASSEC="[110:150,1:100]", DETSEC=place, GAIN=2.0)
            for i, (name, place) in enumerate([("A", "[1:200,1:200]"), ("B", "[440:241,200:1]")], start=1)
        ]
        (a, b), shape = find_amplifiers(images)
        assert (a.hdu, a.at, a.flip, a.header_gain) == ("A", (0, 0), "none", 2.0)
        assert (b.hdu, b.at, b.flip) == ("B", (0, 120), "both")
        assert shape == (100, 220)

    def test_a_section_outside_its_image_is_no_section(self):
        assert find_amplifiers([self.image(DATASEC="[1:151,1:100]", BIASSEC="[1:5,1:100]")]) is None

    def test_an_output_of_eso(self):
        card = "HIERARCH__ESO__DET__OUT4__"
        told = {f"{card}NX": 100, f"{card}PRSCX": 20, f"{card}OVSCX": 30, f"{card}CONAD": 1.8}
        (one,), shape = find_amplifiers([self.image(**told)])
        assert (one.data, one.overscan) == (((0, 100), (20, 120)), ((0, 100), (122, 150)))
        assert (one.header_gain, shape) == (1.8, (100, 100))
        assert find_amplifiers([self.image(shape=(100, 151), **told)]) is None


class TestKeywords:
    def test_milliseconds_by_the_comment(self):
        header = fits.Header()
        header["ELAPTIME"] = (2500, "[ms] elapsed")
        found = find_exposure(header)
        assert (found.value, found.source) == (2.5, {"keyword": "ELAPTIME", "factor": 0.001})

    @pytest.mark.parametrize(
        ("cards", "source"),
        [
            ({"MJDMID": 5e4}, None),
            ({"MJD-OBS": 5e4}, {"keyword": "MJD-OBS", "exposures": 0.5}),
            ({"JD": 2459093.5}, {"keyword": "JD", "offset": -2400000.5, "exposures": 0.5}),
            ({"DATE-OBS": "2020-08-31T20:00:00"}, {"keyword": "DATE-OBS", "exposures": 0.5}),
            ({"DATE-OBS": "2020-08-31", "UT": "20:00:00"}, {"keyword": "DATE-OBS", "time": "UT", "exposures": 0.5}),
        ],
    )
    def test_times(self, cards, source):
        assert find_times(fits.Header(cards))["MJDMID"].source == source

    def test_no_time(self):
        assert find_times(fits.Header({"DATE-OBS": "2020-08-31"})) == {}

    def test_the_kind_that_tells_flats_from_darks(self):
        flat = fits.Header({"OBJECT": "calibration", "IMAGETYP": "comp", "LAMP": "on [1]"})
        dark = fits.Header({"OBJECT": "calibration", "IMAGETYP": "dark", "LAMP": "off"})
        found = find_kind([flat, flat], [dark], [], "FLAT_DARK")
        assert found.source == {
            "keyword": "IMAGETYP", "values": {"comp": "FLAT_DARK", "dark": "DARK_DARK"}, "otherwise": "OTHER"
        }  # fmt: skip
        del flat["IMAGETYP"]
        assert find_kind([flat], [dark], [], "FLAT_FLAT").source["values"] == {
            "on ?1?": "FLAT_FLAT",
            "off": "DARK_DARK",
        }

    def test_a_word_tells_where_there_is_no_dark(self):
        assert find_kind([fits.Header({"OBJECT": "Quartz"})], [], [], "FLAT_FLAT").source["keyword"] == "OBJECT"
        assert find_kind([fits.Header({"OBJECT": "calib"})], [], [], "FLAT_FLAT") is None


class TestOrientation:
    @pytest.mark.parametrize("slope", [-0.1, 0.0, 0.15])
    @pytest.mark.parametrize("along", ["rows", "columns"])
    def test_along(self, slope, along):
        y, x = np.indices((300, 400))
        rng = np.random.default_rng(1)
        image = (1000 * (np.abs((y - slope * x) % 30 - 15) < 4) + rng.normal(0, 50, y.shape)).astype(np.float32)
        image[::37, ::41] = np.nan
        dispersion, ratio = find_dispersion(image if along == "rows" else image.T)
        assert dispersion == along
        assert ratio > 1.5

    def test_strips(self):
        y = np.indices((300, 400))[0]
        image = (500 * np.exp(-0.5 * ((y % 30 - 15) / 3.0) ** 2)).astype(np.float32)
        image[88:92] = np.nan
        strips = measure_strips(image)
        assert strips.count == 10
        assert strips.spacing == pytest.approx(30, abs=1)
        assert strips.width == pytest.approx(2.355 * 3, rel=0.05)

    def test_no_light(self):
        assert measure_strips(np.zeros((50, 60), np.float32)).count == 0


class TestRefused:
    def written(self, path, image=None, **cards):
        image = np.zeros((64, 80), np.float32) if image is None else image
        fits.PrimaryHDU(image, header=fits.Header(cards)).writeto(path)
        return path

    def lit(self):
        image = np.zeros((64, 80), np.float32)
        image[20:30] = 1000
        return image

    def test_no_file(self):
        with pytest.raises(UsageError, match="no file was given"):
            survey([])

    def test_no_exposure_time(self, tmp_path):
        path = self.written(tmp_path / "a.fits", self.lit(), INSTRUME="X")
        with pytest.raises(InputError, match=rf"^{path}: no exposure time, looked for EXPTIME, "):
            survey([path])

    def test_no_light(self, tmp_path):
        path = self.written(tmp_path / "a.fits", INSTRUME="X", EXPTIME=1.0)
        with pytest.raises(InputError, match=r"^a\.fits: no frame has light"):
            survey([path])

    def test_files_of_different_images(self, tmp_path):
        one = self.written(tmp_path / "a.fits", self.lit(), INSTRUME="X", EXPTIME=1.0)
        other = self.written(tmp_path / "b.fits", self.lit()[:50], INSTRUME="X", EXPTIME=1.0)
        with pytest.raises(InputError, match=rf"^{other}: images \(HDU, shape\) .*50, 80.* but a\.fits has"):
            survey([one, other])

    def test_no_name(self, tmp_path):
        path = self.written(tmp_path / "a.fits", self.lit(), EXPTIME=1.0)
        with pytest.raises(UsageError, match=r"name is in none of INSTRUME.*give --name"):
            survey([path])

    def test_no_such_hdu(self, tmp_path):
        path = self.written(tmp_path / "a.fits", self.lit(), EXPTIME=1.0, INSTRUME="X")
        with pytest.raises(UsageError, match="--hdu 3: no such image; there are 0"):
            survey([path], answers=Answers(hdu=3))

    def test_a_lone_flat_leaves_doubts(self, tmp_path):
        path = self.written(tmp_path / "a.fits", self.lit(), EXPTIME=1.0, INSTRUME="X")
        found = survey([path])
        told = " ".join(found.doubts)
        for words in ("gain was not measured", "read noise was not found", "saturation level was not found",
                      "no time of the exposure", "no keyword tells flats"):  # fmt: skip
            assert words in told
        given = survey([path], answers=replace(found.answers, gain=1.5, readnoise_e=4.0, saturation_adu=3e4))
        assert (given.profile.detector.gain, given.profile.detector.saturation) == (1.5, 3e4)
        assert given.profile.keywords["RDNOISE"].value == 4.0

    def test_a_header_gain_in_other_units_is_doubted(self, tmp_path):
        night = simulate_night(tmp_path, SimulationOptions(instrument(gain=2.3), frames=2))
        for path in night.frames:
            with fits.open(path, mode="update") as hdus:
                hdus[0].header["GAIN"] = 60.0
        assert any("are the pixels in the units" in doubt for doubt in survey(night.frames).doubts)

    def test_images_without_a_place(self, tmp_path):
        hdus = [fits.PrimaryHDU(header=fits.Header({"EXPTIME": 1.0, "INSTRUME": "X"}))]
        hdus += [fits.ImageHDU(self.lit(), name=name) for name in ("ONE", "TWO")]
        path = tmp_path / "a.fits"
        fits.HDUList(hdus).writeto(path)
        assert any("HDU ONE alone is used, not TWO" in doubt for doubt in survey([path]).doubts)
        found = survey([path], answers=Answers(hdu="TWO"))
        assert found.profile.detector.hdu == "TWO"


def test_the_packaged_examples_are_valid():
    folder = Path(__file__).parents[2] / "docs" / "examples" / "instruments"
    profiles = sorted(folder.glob("*.toml"))
    assert len(profiles) >= 4
    for path in profiles:
        load_profile(path)


def test_the_documented_tables_are_valid(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```toml\n")[2:]]
    assert len(blocks) == 4
    for i, block in enumerate(blocks):
        path = tmp_path / f"{i}.toml"
        detector = "" if "[detector]" in block else '[detector]\nflip = "none"\n'
        path.write_text(f'name = "T{i}"\nextends = "NIRPS_HA"\n{block}\n{detector}')
        profile = load_profile(path)
        assert profile.name == f"T{i}"
    assert load_profile(tmp_path / "1.toml").detector.amplifiers[1].flip == "y"
    assert load_profile(tmp_path / "2.toml").keywords["RDNOISE"].value == 2.6
    assert load_profile(tmp_path / "3.toml").simulate.orders == 72
