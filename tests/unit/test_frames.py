"""Finding frames and refusing those that do not belong together, each by file, keyword and both values."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from flatcore.errors import InputError, UsageError
from flatcore.fitsio import open_image
from flatcore.frames import exposure_of, fibers_to_extract, find_frames, select_frames
from flatcore.instrument import load_profile, profile_with

SHAPE = (12, 16)
CARDS = {
    "INSTRUME": "SPIRou",
    "DPRTYPE": "FLAT_FLAT",
    "DRSOUTID": "DRS_PP",
    "EXPTIME": 60.0,
    "RDNOISE": 12.0,
    "FRMTIME": 5.5,
    "SATURATE": 60000.0,
    "MJDMID": 59000.5,
    "MJDEND": 59000.6,
    "QCC_ALL": True,
}


def write_frame(path, shape=SHAPE, level=1.0, /, **cards):
    """A small preprocessed flat of one level; a card given as None is left out."""
    primary = fits.PrimaryHDU()
    primary.header.update({key: value for key, value in (CARDS | cards).items() if value is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, fits.ImageHDU(np.full(shape, level, np.float32))]).writeto(path)
    return path


@pytest.fixture(scope="module")
def tiny():
    """SPIRou with a detector of a few pixels."""
    return profile_with(
        load_profile("SPIROU"), {"detector": {"shape": SHAPE, "rows": [0, 12], "columns": [0, 16]}}, "here"
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An observation directory with three flats, from elsewhere."""
    monkeypatch.chdir(tmp_path)
    night = tmp_path / "tmp" / "2020-08-31"
    for i in (2, 1, 3):
        write_frame(night / f"flat{i}_pp.fits", MJDMID=59000.0 + i)
    return night


def names(paths):
    return [path.name for path in paths]


class TestFind:
    def test_every_flat_of_the_folder(self, folder):
        assert find_frames(folder) == [folder / f"flat{i}_pp.fits" for i in (1, 2, 3)]

    @pytest.mark.parametrize("kind", ["DARK_FLAT", "FLAT_DARK"])
    def test_every_kind_of_flat(self, folder, kind):
        write_frame(folder / "flat0_pp.fits", DPRTYPE=kind)
        assert names(find_frames(folder))[0] == "flat0_pp.fits"
        assert len(find_frames(folder)) == 4

    def test_compressed_ones_too(self, folder):
        plain = folder / "flat3_pp.fits"
        (folder / "flat4_pp.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
        image = fits.CompImageHDU(np.ones((20, 30), np.float32))
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(CARDS)), image]).writeto(folder / "flat5_pp.fits.fz")
        assert names(find_frames(folder))[3:] == ["flat4_pp.fits.gz", "flat5_pp.fits.fz"]

    def test_other_files_of_the_folder_are_ignored(self, folder):
        write_frame(folder / "dark_pp.fits", DPRTYPE="DARK_DARK")
        write_frame(folder / "raw.fits", DRSOUTID="RAW", DPRTYPE=None)
        write_frame(folder / "product.fits", DRSOUTID="FF_FLAT")
        write_frame(folder / ".hidden.fits")
        (folder / "notes.txt").write_text("not FITS")
        (folder / "below").mkdir()
        assert names(find_frames(folder)) == ["flat1_pp.fits", "flat2_pp.fits", "flat3_pp.fits"]

    def test_a_preprocessed_file_without_dprtype(self, folder):
        path = write_frame(folder / "odd_pp.fits", DPRTYPE=None)
        with pytest.raises(InputError, match=rf"^{path}: header keyword DPRTYPE is missing$"):
            find_frames(folder)

    def test_a_broken_file(self, folder):
        (folder / "broken.fits").write_text("not FITS")
        with pytest.raises(InputError, match=rf"^{folder}/broken\.fits: not a FITS file"):
            find_frames(folder)

    def test_no_flat(self, tmp_path):
        night = write_frame(tmp_path / "night" / "dark_pp.fits", DPRTYPE="DARK_DARK").parent
        with pytest.raises(InputError, match=rf"^{night}: no preprocessed flat \(DPRTYPE FLAT_FLAT, DARK_FLAT, FLAT_D"):
            find_frames(night)

    def test_no_folder_names_those_there_are(self, folder):
        missing = folder.parent / "2020-09-01"
        with pytest.raises(InputError, match=rf"^{missing}: no such observation directory; there are 2020-08-31$"):
            find_frames(missing)

    def test_no_folder_in_no_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"no such observation directory$"):
            find_frames(tmp_path / "a" / "b")


class TestFindNamed:
    def test_names_in_the_folder(self, folder):
        assert find_frames(folder, ["flat3_pp.fits", "flat1_pp.fits"]) == [
            folder / "flat1_pp.fits",
            folder / "flat3_pp.fits",
        ]

    def test_what_is_named_is_taken_whatever_it_holds(self, folder):
        write_frame(folder / "dark_pp.fits", DPRTYPE="DARK_DARK")
        assert names(find_frames(folder, ["dark_pp.fits"])) == ["dark_pp.fits"]

    def test_an_absolute_path_elsewhere(self, folder, tmp_path):
        path = write_frame(tmp_path / "elsewhere" / "a.fits")
        assert find_frames(folder, [str(path)]) == [path]

    def test_a_path_from_the_working_directory_goes_first(self, folder, tmp_path, monkeypatch):
        here = write_frame(tmp_path / "here" / "flat1_pp.fits")
        monkeypatch.chdir(here.parent)
        (found,) = find_frames(folder, ["flat1_pp.fits"])
        assert found.resolve() == here

    @pytest.mark.parametrize("pattern", ["flat[13]_pp.fits", "flat[!2]*"])
    def test_globs_in_the_folder(self, folder, pattern):
        assert names(find_frames(folder, [pattern])) == ["flat1_pp.fits", "flat3_pp.fits"]

    def test_an_absolute_glob(self, folder):
        assert names(find_frames(folder.parent, [f"{folder}/flat*_pp.fits"])) == [f"flat{i}_pp.fits" for i in (1, 2, 3)]

    def test_a_glob_takes_files_only(self, folder):
        (folder / "flat_folder").mkdir()
        assert len(find_frames(folder, ["flat*"])) == 3

    def test_each_file_once(self, folder):
        twice = ["flat2_pp.fits", str(folder / "flat2_pp.fits"), "flat[12]_pp.fits", "../2020-08-31/flat2_pp.fits"]
        assert len(find_frames(folder, twice)) == 2

    @pytest.mark.parametrize("name", ["none.fits", "none*.fits", "/nowhere/at/all.fits", "/nowhere/*.fits", "below"])
    def test_nothing_found(self, folder, name):
        (folder / "below").mkdir()
        with pytest.raises(InputError, match="no such file, neither as a path nor in") as error:
            find_frames(folder, ["flat1_pp.fits", name])
        assert str(error.value).startswith(f"{name}: ")
        assert str(error.value).endswith(str(folder))

    def test_an_empty_name(self, folder):
        with pytest.raises(InputError, match="'': not a file name or pattern"):
            find_frames(folder, [""])


class TestSelect:
    def test_sorted_by_time_then_name(self, folder, tiny):
        late, early = write_frame(folder / "a.fits", MJDMID=59009.0), write_frame(folder / "z.fits", MJDMID=58000.0)
        same = write_frame(folder / "flat0.fits", MJDMID=59001.0)
        frames = select_frames([late, same, *find_frames(folder, ["flat*_pp.fits"]), early], tiny)
        expected = ["z.fits", "flat0.fits", "flat1_pp.fits", "flat2_pp.fits", "flat3_pp.fits", "a.fits"]
        assert [frame.path.name for frame in frames.frames] == expected
        assert (frames.dprtype, frames.left_out) == ("FLAT_FLAT", ())

    @pytest.mark.parametrize("false", [False, "F", "False", 0])
    def test_a_frame_that_failed_is_dropped(self, folder, tiny, false):
        bad = write_frame(folder / "bad.fits", QCC_ALL=false)
        frames = select_frames([bad, *find_frames(folder, ["flat*"])], tiny)
        assert [frame.path.name for frame in frames.frames] == [f"flat{i}_pp.fits" for i in (1, 2, 3)]
        assert [(left.path, left.reason) for left in frames.left_out] == [(bad, "QCC_ALL is false")]

    def test_a_frame_that_failed_is_kept_where_quality_is_not_asked(self, folder, tiny):
        bad = write_frame(folder / "bad.fits", QCC_ALL=False)
        frames = select_frames([bad, *find_frames(folder, ["flat*"])], tiny, require_qc=False)
        assert len(frames.frames) == 4
        assert frames.left_out == ()

    def test_without_a_verdict_it_is_kept(self, folder, tiny):
        assert len(select_frames([write_frame(folder / "new.fits", QCC_ALL=None)], tiny).frames) == 1

    def test_what_is_dropped_need_not_agree(self, folder, tiny):
        bad = write_frame(folder / "bad.fits", (5, 5), QCC_ALL=False, DPRTYPE="DARK_FLAT", EXPTIME=1.0)
        assert len(select_frames([bad, *find_frames(folder, ["flat*"])], tiny).frames) == 3

    def test_all_failed(self, folder, tiny):
        bad = [write_frame(folder / f"bad{i}.fits", QCC_ALL=False) for i in (1, 2)]
        with pytest.raises(InputError, match=rf"^{bad[0]}: QCC_ALL is false here and in all 2 frames; none is left$"):
            select_frames(bad, tiny)

    def test_none_given(self, tiny):
        with pytest.raises(InputError, match="no frames"):
            select_frames([], tiny)

    def test_kinds_are_not_mixed(self, folder, tiny):
        odd = write_frame(folder / "odd.fits", DPRTYPE="DARK_FLAT")
        message = (
            f"{odd}: DPRTYPE = 'DARK_FLAT', but flat1_pp.fits has 'FLAT_FLAT'; "
            "flats of one kind only (1 DARK_FLAT, 3 FLAT_FLAT): name the files to use"
        )
        with pytest.raises(InputError) as error:
            select_frames([*find_frames(folder, ["flat*"]), odd], tiny)
        assert str(error.value) == message

    def test_no_flat(self, folder, tiny):
        odd = write_frame(folder / "odd.fits", DPRTYPE="OBJ_FP")
        with pytest.raises(InputError, match=rf"^{odd}: DPRTYPE = 'OBJ_FP', expected one of FLAT_FLAT, DARK_FLAT"):
            select_frames([odd], tiny)

    @pytest.mark.parametrize(
        ("keyword", "value", "values"),
        [
            ("INSTRUME", "NIRPS", "'NIRPS', but flat1_pp.fits has 'SPIRou'"),
            ("EXPTIME", 61, "61.0, but flat1_pp.fits has 60.0"),
        ],
    )
    def test_disagreement(self, folder, tiny, keyword, value, values):
        odd = write_frame(folder / "odd.fits", **{keyword: value})
        with pytest.raises(InputError) as error:
            select_frames([*find_frames(folder, ["flat*"]), odd], tiny)
        assert str(error.value) == f"{odd}: {keyword} = {values}; frames must agree"

    def test_whole_and_broken_numbers_agree(self, folder, tiny):
        same = write_frame(folder / "same.fits", EXPTIME=60)
        assert len(select_frames([*find_frames(folder, ["flat*"]), same], tiny).frames) == 4

    def test_shape(self, folder, tiny):
        odd = write_frame(folder / "odd.fits", (12, 17))
        with pytest.raises(InputError, match=rf"^{odd}: NAXIS2 x NAXIS1 = 12 x 17, expected 12 x 16 for SPIRou$"):
            select_frames([*find_frames(folder, ["flat*"]), odd], tiny)

    @pytest.mark.parametrize("keyword", ["DPRTYPE", "INSTRUME", "EXPTIME", "MJDMID"])
    def test_missing_keyword(self, folder, tiny, keyword):
        odd = write_frame(folder / "odd.fits", **{keyword: None})
        with pytest.raises(InputError, match=rf"^{odd}: header keyword {keyword} is missing$"):
            select_frames([*find_frames(folder, ["flat*"]), odd], tiny)

    def test_a_keyword_of_another_kind(self, folder, tiny):
        odd = write_frame(folder / "odd.fits", EXPTIME="long")
        with pytest.raises(InputError, match=rf"^{odd}: header keyword EXPTIME = 'long': expected a finite number$"):
            select_frames([odd], tiny)

    def test_compressed_frames_are_copied_to_scratch(self, folder, tiny, tmp_path):
        packed = folder / "flat4_pp.fits.gz"
        packed.write_bytes(gzip.compress((folder / "flat1_pp.fits").read_bytes()))
        (frame,) = select_frames([packed], tiny, scratch=tmp_path).frames
        assert (frame.path, frame.location.path.parent) == (packed, tmp_path)


class TestTooMany:
    LEVELS = (100.0, 101.0, 90.0, 100.5, 130.0)

    @pytest.fixture
    def flickering(self, tmp_path):
        """Five flats a minute apart, of a lamp that flickers."""
        return [
            write_frame(tmp_path / f"{i}.fits", SHAPE, level, MJDMID=59000.0 + i) for i, level in enumerate(self.LEVELS)
        ]

    @pytest.mark.parametrize(("most", "left"), [(5, []), (4, [4]), (3, [2, 4]), (1, [0, 1, 2, 4])])
    def test_those_closest_to_the_median_level_stay(self, flickering, tiny, most, left):
        frames = select_frames(flickering, profile_with(tiny, {"input": {"min_frames": 1, "max_frames": most}}, "here"))
        kept = [i for i in range(5) if i not in left]
        assert [frame.path for frame in frames.frames] == [flickering[i] for i in kept]
        assert [one.path for one in frames.left_out] == [flickering[i] for i in left]

    def test_the_reason_names_levels_and_limit(self, flickering, tiny):
        frames = select_frames(flickering, profile_with(tiny, {"input": {"max_frames": 4}}, "here"))
        (left,) = frames.left_out
        assert left.reason == "5 frames, 4 at most: its level of 130 ADU/s is 30 from the median 100.5"


class TestExposure:
    def test_numbers_of_the_header(self, tmp_path, tiny):
        exposure = exposure_of(open_image(write_frame(tmp_path / "a.fits")), tiny)
        assert (exposure.exptime_s, exposure.frame_time_s, exposure.readnoise_e) == (60.0, 5.5, 12.0)
        assert (exposure.gain, exposure.saturation_adu) == (0.999, 60000.0)
        assert exposure.electrons_per_unit == 0.999 * 60.0

    def test_numbers_of_the_profile_win_over_the_header(self, tmp_path, tiny):
        profile = profile_with(tiny, {"detector": {"saturation": 50000, "frame_time": 2.5, "gain": 2}}, "here")
        exposure = exposure_of(open_image(write_frame(tmp_path / "a.fits", SATURATE=None, FRMTIME="x")), profile)
        assert (exposure.frame_time_s, exposure.saturation_adu, exposure.gain) == (2.5, 50000.0, 2.0)

    def test_other_keywords(self, tmp_path, tiny):
        profile = profile_with(tiny, {"detector": {"saturation": "SATLEVEL"}}, "here")
        frame = open_image(write_frame(tmp_path / "a.fits", SATLEVEL=4e4))
        assert exposure_of(frame, profile).saturation_adu == 4e4

    @pytest.mark.parametrize("keyword", ["EXPTIME", "RDNOISE", "FRMTIME", "SATURATE"])
    @pytest.mark.parametrize(
        ("value", "found"),
        [(None, " is missing"), (0, " = 0.0: expected a number above 0"), (-2.5, " = -2.5: expected a number above 0")],
    )
    def test_faults(self, tmp_path, tiny, keyword, value, found):
        path = write_frame(tmp_path / "a.fits", **{keyword: value})
        with pytest.raises(InputError) as error:
            exposure_of(open_image(path), tiny)
        assert str(error.value) == f"{path}: header keyword {keyword}{found}"


class TestFibers:
    @pytest.mark.parametrize(
        ("dprtype", "lit", "dark"),
        [
            ("FLAT_FLAT", ("AB", "A", "B", "C"), ()),
            ("DARK_FLAT", ("C",), ("AB", "A", "B")),
            ("FLAT_DARK", ("AB", "A", "B"), ("C",)),
        ],
    )
    def test_all(self, tiny, dprtype, lit, dark):
        assert fibers_to_extract(tiny, dprtype) == (lit, dark)

    def test_one(self, tiny):
        assert fibers_to_extract(tiny, "FLAT_FLAT", "B") == (("B",), ())
        assert fibers_to_extract(tiny, "DARK_FLAT", "C") == (("C",), ())

    def test_unknown(self, tiny):
        with pytest.raises(UsageError, match=r"--fiber D: unknown; SPIRou has AB, A, B, C \(or ALL\)"):
            fibers_to_extract(tiny, "FLAT_FLAT", "D")

    @pytest.mark.parametrize(("dprtype", "fiber"), [("DARK_FLAT", "AB"), ("FLAT_DARK", "C")])
    def test_dark(self, tiny, dprtype, fiber):
        with pytest.raises(InputError, match=rf"--fiber {fiber}: gets no light in {dprtype} frames"):
            fibers_to_extract(tiny, dprtype, fiber)

    def test_no_light_at_all(self):
        with pytest.raises(InputError, match="no fibre of NIRPS_HA gets light in DARK_DARK frames"):
            fibers_to_extract(load_profile("NIRPS_HA"), "DARK_DARK")
