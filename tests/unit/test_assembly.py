"""Raw files of any form become the frames that the stages know: amplifiers, transposes, raw counts, other keywords."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from flatcore.assembly import header_with, open_frame
from flatcore.assembly.mosaic import overscan_level
from flatcore.errors import InputError, UsageError
from flatcore.fitsio import open_image, read_pixels
from flatcore.frames import find_frames, select_frames
from flatcore.instrument import load_profile, profile_with
from flatcore.recipe import run_night
from flatcore.simulate import SimulationOptions, simulate_night
from tests.conftest import register

SMALL = load_profile("SMALL")
# Four amplifiers in three HDUs; one each is turned in y, in x and in both, two share an HDU, one has no overscan.
QUARTERS = [
    {"hdu": "LOW", "data": [[0, 320], [10, 554]], "overscan": [[0, 320], [554, 586]], "gain": 1.1, "at": [0, 0]},
    {"hdu": 3, "data": [[4, 324], [0, 544]], "overscan": [[330, 350], [0, 544]], "at": [0, 544], "flip": "x"},
    {"hdu": 2, "data": [[0, 320], [0, 544]], "overscan": [[0, 320], [544, 560]], "gain": 0.8, "at": [320, 0],
     "flip": "y"},
    {"hdu": 2, "data": [[0, 320], [560, 1104]], "bias": 500.0, "gain": 1.4, "at": [320, 544], "flip": "both"},
]  # fmt: skip
KEYWORDS = {
    "INSTRUME": {"value": "OTHER"},
    "EXPTIME": {"keyword": "ITIME", "factor": 0.001},
    "DPRTYPE": {"keyword": "HIERARCH ESO DPR TYPE", "values": {"LAMP,*": "FLAT_FLAT"}, "otherwise": "OTHER"},
    "MJDMID": {"keyword": "DATE-OBS", "time": "UT", "exposures": 0.5},
    "RDNOISE": 12.0,
    "MJDEND": {"keyword": "MJD-END"},
}


def made_of(amplifiers=QUARTERS, dispersion="rows", units="adu", keywords=KEYWORDS, **simulate):
    """SMALL, with files of another form."""
    changes = {
        "name": "OTHER",
        "header": {"INSTRUME": "OTHER"},
        "detector": {
            "amplifiers": list(amplifiers),
            "dispersion": dispersion,
            "units": units,
            "frame_time": 5.573,
            "saturation": 60000.0,
        },
        "keywords": keywords,
        "simulate": {"integers": False} | simulate,
    }
    return profile_with(SMALL, changes, "here")


def turned(amplifiers):
    """The same amplifiers of the transposed detector, as its profile has them."""
    swapped = []
    for one in amplifiers:
        flip = {"x": "y", "y": "x"}.get(one.get("flip", "none"), one.get("flip", "none"))
        new = one | {"data": one["data"][::-1], "at": one["at"][::-1], "flip": flip}
        swapped.append(new | ({"overscan": one["overscan"][::-1]} if "overscan" in one else {}))
    return swapped


OPTIONS = SimulationOptions(SMALL, seed=21, frames=2, cosmics=5.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A noiseless night as flatcore knows it."""
    return simulate_night(tmp_path_factory.mktemp("plain"), replace(OPTIONS, noise=False))


def frames_like(plain, profile, root, **options):
    """The same night with files of another form: pairs of pixels, the other's and its own."""
    night = simulate_night(root, replace(OPTIONS, profile=profile, noise=False, **options))
    for path, other in zip(night.frames, plain.frames, strict=True):
        yield read_pixels(open_frame(path, profile, root)), read_pixels(open_image(other))


@pytest.mark.parametrize(
    "profile",
    [
        made_of(),
        made_of(turned(QUARTERS[:3]) + turned(QUARTERS[3:]), dispersion="columns"),
        made_of([], dispersion="columns"),
        made_of([]),
        made_of([], units="adu/s", dispersion="columns"),
        made_of([one for one in QUARTERS if "bias" not in one], units="adu/s"),
        profile_with(made_of([]), {"detector": {"hdu": 4, "bias": 217.0}}, "here"),
        profile_with(made_of([]), {"detector": {"hdu": "SCI"}}, "here"),
    ],
    ids=["amplifiers", "turned amplifiers", "turned", "counts", "turned rates", "rates", "fifth HDU", "named HDU"],
)
def test_a_night_of_another_form_is_the_same_night(plain, profile, tmp_path):
    for found, expected in frames_like(plain, profile, tmp_path):
        seen = np.isfinite(found)
        assert found.shape == expected.shape
        # The gap of the profile without its fourth amplifier, and nothing else, has no value.
        assert seen.mean() == (0.75 if len(profile.detector.amplifiers) == 3 else 1.0)
        # Levels of about 1000 ADU are added and taken away in single precision, and drift not quite straight.
        seconds = 60.0 if profile.detector.units == "adu" else 1.0
        np.testing.assert_allclose(found[seen], expected[seen], rtol=3e-7, atol=0.012 / seconds)


def test_flats_of_another_form_are_the_same(tmp_path):
    profile = made_of(turned(QUARTERS), dispersion="columns", integers=True)
    results = []
    for name, chosen in (("plain", SMALL), ("other", profile)):
        root = tmp_path / name
        simulate_night(root, replace(OPTIONS, profile=chosen, frames=3))
        register(root, root / "calib")
        path = tmp_path / "other.toml"
        path.write_text(OTHER_TOML)
        instrument = path if chosen is profile else None
        results.append(run_night("2020-08-31", data_root=root, instrument=instrument, settings={"output": {"save": 0}}))
    one, other = results
    assert other.images[0].header["EXPTIME"] == 60.0
    assert other.images[0].header["MJDMID"] == pytest.approx(one.images[0].header["MJDMID"], abs=1e-9)
    for name, fiber in one.images[0].fibers.items():
        there = other.images[0].fibers[name]
        ratio = there.flat.flat / fiber.flat.flat
        # Counts are rounded to whole ADU, and levels of overscans have noise of their own.
        assert np.nanpercentile(np.abs(ratio - 1), 99) < 2e-3
        assert np.nanmax(np.abs(ratio - 1)) < 0.03
        assert there.qc.passed == fiber.qc.passed


def toml_of(value):
    """Write a value of a profile as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {toml_of(v)}' for k, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_of(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


OTHER_TOML = (
    'extends = "SMALL"\nname = "OTHER"\n[header]\nINSTRUME = "OTHER"\n'
    f'[detector]\ndispersion = "columns"\nunits = "adu"\nframe_time = 5.573\nsaturation = 60000.0\n'
    f"amplifiers = {toml_of(turned(QUARTERS))}\n[keywords]\n"
    + "\n".join(f"{key} = {toml_of(value)}" for key, value in KEYWORDS.items())
)


def test_files_of_the_profile_are_read_without_copies(plain, tmp_path):
    profile = made_of([])
    night = simulate_night(tmp_path / "n", replace(OPTIONS, profile=profile, frames=1))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    frame = open_frame(night.frames[0], profile, scratch)
    assert list(scratch.iterdir()) == []
    assert frame.location.path == night.frames[0]
    untouched = open_frame(plain.frames[0], SMALL)
    assert untouched.location == open_image(plain.frames[0]).location
    assert untouched.header == open_image(plain.frames[0]).header


def test_compressed_files_are_assembled_too(plain, tmp_path):
    profile = made_of()
    night = simulate_night(tmp_path / "n", replace(OPTIONS, profile=profile, frames=1, noise=False))
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(night.frames[0].read_bytes(), 1))
    frame = open_frame(packed, profile, tmp_path)
    assert frame.path == packed
    np.testing.assert_array_equal(read_pixels(frame), read_pixels(open_frame(night.frames[0], profile, tmp_path)))


def test_the_overscan_follows_the_drift_and_not_a_cosmic():
    rng = np.random.default_rng(5)
    rows = np.arange(2000)
    drift = 1000 + 3 * np.sin(rows / 300)
    overscan = (drift[:, None] + rng.normal(0, 4, (2000, 32))).astype(np.float32)
    overscan[700:703, :10] += 5000
    level = overscan_level(overscan)
    # Median of 32 pixels, mean of 31 rows: 1.25 x 4 / sqrt(32 x 31), and at the ends half as many rows.
    assert np.std((level - drift)[40:-40]) < 0.25
    assert np.abs(level - drift).max() < 1.0


class TestKeywords:
    def test_every_kind_of_source(self, tmp_path):
        header = fits.Header({"ITIME": 60000, "DATE-OBS": "2020-08-31", "UT": "21:36:00.0", "MJD-END": 59092.9})
        header["HIERARCH ESO DPR TYPE"] = "LAMP,LAMP,TUN"
        given = header_with(header, made_of().keywords, tmp_path)
        assert given["EXPTIME"] == 60.0
        assert given["DPRTYPE"] == "FLAT_FLAT"
        assert given["MJDMID"] == pytest.approx(59092.9 + 30 / 86400, abs=1e-9)
        assert (given["RDNOISE"], given["INSTRUME"], given["MJDEND"]) == (12.0, "OTHER", 59092.9)
        assert "EXPTIME" not in header

    def test_no_keywords_no_copy(self, tmp_path):
        header = fits.Header({"EXPTIME": 3.0})
        assert header_with(header, {}, tmp_path) is header

    @pytest.mark.parametrize(
        ("source", "cards", "found"),
        [
            ({"keyword": "KIND", "values": {"flat*": "FLAT_FLAT"}}, {"KIND": "Flat lamp"}, "FLAT_FLAT"),
            ({"keyword": "KIND", "values": {"flat*": "FLAT_FLAT"}, "otherwise": "X"}, {"KIND": "bias"}, "X"),
            ({"keyword": "KIND", "values": {"flat*": "FLAT_FLAT"}, "otherwise": "X"}, {}, "X"),
            ("KIND", {"KIND": "FLAT_DARK"}, "FLAT_DARK"),
        ],
    )
    def test_kinds_of_frames(self, tmp_path, source, cards, found):
        profile = profile_with(SMALL, {"keywords": {"DPRTYPE": source}}, "here")
        assert header_with(fits.Header(cards), profile.keywords, tmp_path)["DPRTYPE"] == found

    def test_a_julian_date(self, tmp_path):
        profile = profile_with(SMALL, {"keywords": {"MJDMID": {"keyword": "JD", "offset": -2400000.5}}}, "here")
        assert header_with(fits.Header({"JD": 2459093.5}), profile.keywords, tmp_path)["MJDMID"] == 59093.0

    @pytest.mark.parametrize(
        ("keyword", "source", "cards", "told"),
        [
            ("EXPTIME", "ITIME", {}, "header keyword ITIME is missing, which the profile has for EXPTIME"),
            ("MJDMID", "DATE-OBS", {"DATE-OBS": "yesterday"}, "DATE-OBS = 'yesterday': expected a date as"),
            (
                "DPRTYPE",
                {"keyword": "K", "values": {"A*": "FLAT_FLAT"}},
                {"K": "thar"},
                "K = 'thar', which .* one of A",
            ),
            ("EXPTIME", {"keyword": "T", "factor": 0.1}, {"T": "long"}, "T = 'long': expected a number"),
            ("MJDMID", {"keyword": "MJD", "exposures": 0.5}, {"MJD": 5e4}, "EXPTIME = None: expected a number of s"),
        ],
    )
    def test_what_cannot_be_understood_is_named(self, tmp_path, keyword, source, cards, told):
        profile = profile_with(SMALL, {"keywords": {keyword: source}}, "here")
        with pytest.raises(InputError, match=rf"^{tmp_path}: .*{told}"):
            header_with(fits.Header(cards), profile.keywords, tmp_path)

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ({"keyword": "A", "value": 1}, "expected a keyword or a value, and not both"),
            ({}, "expected a keyword or a value, and not both"),
            ({"value": 1, "factor": 2}, "otherwise need a keyword"),
            ({"keyword": "A", "fator": 2}, "unknown key keywords.EXPTIME.fator"),
        ],
    )
    def test_a_wrong_source_is_refused(self, source, told):
        with pytest.raises(UsageError, match=told):
            profile_with(SMALL, {"keywords": {"EXPTIME": source}}, "here")

    def test_raw_flats_are_found_among_other_frames(self, tmp_path):
        profile = made_of([])
        night = simulate_night(tmp_path, replace(OPTIONS, profile=profile, darks=2))
        folder = night.frames[0].parent
        assert len(list(folder.iterdir())) == 4
        assert find_frames(folder, keywords=profile.keywords) == sorted(night.frames)
        with pytest.raises(InputError, match="DPRTYPE is missing"):
            find_frames(folder)
        assert "EXPTIME" not in fits.getheader(night.frames[0])
        assert select_frames(night.frames, profile, scratch=tmp_path).frames[0].header["EXPTIME"] == 60.0


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A frame of four amplifiers."""
    return simulate_night(tmp_path_factory.mktemp("raw"), replace(OPTIONS, profile=made_of(), frames=1)).frames[0]


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"hdu": 9}, "HDU 9 is missing, found 0 PRIMARY, 1 LOW"),
            ({"hdu": "HIGH"}, "HDU 'HIGH' is missing, found 0 PRIMARY, 1 LOW"),
            ({"hdu": 0}, "HDU 0 holds no image of two axes"),
            ({"data": [[0, 320], [300, 844]]},
             r"HDU 'LOW': data section of amplifier 0: rows \[0, 320\], columns \[300, 844\] lie outside its image of "
             r"320 x 586"),
            ({"overscan": [[0, 320], [580, 600]]}, r"HDU 'LOW': overscan of amplifier 0: .* image of 320 x 586"),
        ],
    )  # fmt: skip
    def test_a_file_that_is_not_as_the_profile_says(self, raw, tmp_path, change, told):
        profile = made_of([QUARTERS[0] | change, *QUARTERS[1:]])
        with pytest.raises(InputError, match=rf"^{raw}: {told}"):
            open_frame(raw, profile, tmp_path)

    def test_no_folder_for_the_copy(self, raw):
        with pytest.raises(InputError, match=rf"^{raw}: has to be assembled, and no folder"):
            open_frame(raw, made_of())

    def test_no_exposure_time(self, raw, tmp_path):
        profile = made_of(keywords=KEYWORDS | {"EXPTIME": 0})
        with pytest.raises(InputError, match="EXPTIME = 0: expected a number above 0"):
            open_frame(raw, profile, tmp_path)

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ([QUARTERS[0], QUARTERS[1] | {"at": [0, 543]}], "amplifiers.0 and amplifiers.1 overlap"),
            ([QUARTERS[0] | {"at": [321, 0]}], r"amplifiers.0: covers rows \[321, 641\] of an image of 640 x 1088"),
            ([QUARTERS[0] | {"at": [0, 545]}], r"amplifiers.0: covers columns \[545, 1089\]"),
            ([QUARTERS[0] | {"bias": 3.0}], "overscan and bias are two ways"),
            ([QUARTERS[0] | {"data": [[5, 5], [0, 9]]}], r"data: rows \[5, 5\] must be increasing"),
        ],
    )
    def test_a_profile_that_cannot_be(self, changes, told):
        with pytest.raises(UsageError, match=told):
            made_of(changes)

    def test_a_level_of_rates(self):
        with pytest.raises(UsageError, match='bias = 100 ADU needs units = "adu"'):
            profile_with(SMALL, {"detector": {"bias": 100.0}}, "here")
        with pytest.raises(UsageError, match=r"amplifiers\.3: bias = 500 ADU needs"):
            made_of(units="adu/s")

    def test_an_hdu_beside_amplifiers(self):
        with pytest.raises(UsageError, match="hdu is for an image that is not assembled"):
            profile_with(made_of(), {"detector": {"hdu": 1}}, "here")

    def test_another_shape_is_told_in_the_files_axes(self, tmp_path):
        profile = made_of([], dispersion="columns")
        night = simulate_night(tmp_path, replace(OPTIONS, profile=profile, frames=1))
        other = profile_with(profile, {"detector": {"shape": [640, 1090]}}, "here")
        with pytest.raises(InputError, match="NAXIS1 x NAXIS2 = 640 x 1088, expected 640 x 1090 for OTHER"):
            select_frames(night.frames, other, scratch=tmp_path)
