"""Instrument profiles: the packaged numbers, inheritance, and what is refused by name."""

import pytest
from pydantic import ValidationError

from flatcore.errors import InputError, UsageError
from flatcore.instrument import PACKAGED, Profile, load_profile, profile_for_header, profile_with
from tests.conftest import shared

SKIPPED = (0, 22, 23, 24, 25, 48)


def written(folder, text, name="own.toml"):
    """A profile file with this text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def extending_spirou(folder, text):
    """A profile file that changes the packaged SPIROU."""
    return written(folder, f'extends = "SPIROU"\n{text}')


class TestPackaged:
    def test_spirou(self):
        profile = load_profile("SPIROU")
        detector = profile.detector
        assert profile.name == "SPIRou"
        assert (detector.shape, detector.rows, detector.columns) == ((4096, 4096), (250, 3350), (4, 4092))
        assert detector.kept_shape == (3100, 4088)
        assert (detector.flip, detector.gain) == ("both", 0.999)
        assert (detector.saturation, detector.frame_time) == ("SATURATE", "FRMTIME")
        assert profile.plot.order == 33

    @pytest.mark.parametrize(
        ("name", "half", "localisation", "traces", "channel"),
        [
            ("AB", 16, "AB", "pair-mean", 0),
            ("A", 8, "AB", "odd", 0),
            ("B", 8, "AB", "even", 0),
            ("C", 7, "C", "all", 1),
        ],
    )
    def test_fibers_of_spirou(self, name, half, localisation, traces, channel):
        fiber = load_profile("SPIROU").fibers[name]
        assert (fiber.below, fiber.above) == (half, half)
        assert (fiber.localisation, fiber.traces, fiber.channel) == (localisation, traces, channel)

    def test_spirou_has_no_other_fiber(self):
        assert list(load_profile("SPIROU").fibers) == ["AB", "A", "B", "C"]

    @pytest.mark.parametrize(("mode", "half_a"), [("HA", 2), ("HE", 9)])
    def test_nirps(self, mode, half_a):
        profile = load_profile(f"NIRPS_{mode}")
        detector = profile.detector
        assert profile.name == f"NIRPS_{mode}"
        assert (detector.shape, detector.rows, detector.columns) == ((4096, 4096), (4, 4092), (4, 4092))
        assert (detector.flip, detector.gain) == ("both", 1.15)
        assert isinstance(detector.saturation, float)
        assert isinstance(detector.frame_time, float)
        halves = {name: (fiber.below, fiber.above) for name, fiber in profile.fibers.items()}
        assert halves == {"A": (half_a, half_a), "B": (2, 2)}
        assert all(fiber.localisation == name for name, fiber in profile.fibers.items())
        assert profile.header == {"INSTRUME": "NIRPS", "DRSMODE": mode}

    @pytest.mark.parametrize(
        ("name", "box", "amplitude", "width", "max_rms", "skipped"),
        [
            ("SPIROU", 128, 47, 25, 0.05, SKIPPED),
            ("NIRPS_HA", 256, 0, 50, 1.0, SKIPPED),
            ("NIRPS_HE", 256, 0, 50, 1.0, SKIPPED),
            ("SMALL", 128, 47, 25, 0.05, ()),
        ],
    )
    def test_background_blaze_and_qc(self, name, box, amplitude, width, max_rms, skipped):
        profile = load_profile(name)
        background = profile.background
        assert (background.box, background.scattered_amplitude) == (box, amplitude)
        assert (background.kernel_x, background.kernel_y, background.kernel_sigma) == (1, 9, 3)
        assert (profile.blaze.median_width, profile.blaze.cut) == (width, 0.1)
        assert (profile.qc.max_rms, profile.qc.skip_orders) == (max_rms, skipped)
        assert profile.input.min_frames == 3

    def test_small_is_a_cut_down_spirou(self):
        small, spirou = load_profile("SMALL"), load_profile("SPIROU")
        assert small.fibers == spirou.fibers
        assert small.detector.kept_shape == (600, 1080)

    @pytest.mark.parametrize("name", PACKAGED)
    def test_names_are_taken_without_regard_to_case(self, name):
        assert load_profile(name.lower()) == load_profile(name)

    def test_profiles_are_frozen(self):
        with pytest.raises(ValidationError, match="frozen"):
            load_profile("SPIROU").detector.gain = 2.0

    @pytest.mark.parametrize(
        ("folders", "name", "shape", "fibers"),
        [
            (("golden", "night101"), "SPIRou", (640, 1088), ["AB", "A", "B", "C"]),
            (("golden", "night211"), "SPIRou", (665, 1103), ["AB", "A", "B", "C"]),
            (("data", "lhd_zyla"), "LHD_ZYLA", (2160, 2560), ["A"]),
        ],
    )
    def test_profiles_beside_the_shared_data(self, folders, name, shape, fibers):
        profile = load_profile(shared(*folders, "instrument.toml"))
        assert (profile.name, profile.detector.shape) == (name, shape)
        assert list(profile.fibers) == fibers

    def test_numbers_of_the_real_night(self):
        profile = load_profile(shared("data", "lhd_zyla", "instrument.toml"))
        assert profile.detector.gain == 0.49
        assert profile.fibers["A"].below == profile.fibers["A"].above == 20
        assert (profile.blaze.cut, profile.blaze.median_width) == (0.05, 25)
        assert (profile.qc.max_rms, profile.qc.skip_orders) == (0.06, ())


class TestExtends:
    def test_a_packaged_profile(self, tmp_path):
        profile = load_profile(extending_spirou(tmp_path, 'name = "Mine"\n[detector]\ngain = 1.5'))
        assert (profile.name, profile.detector.gain) == ("Mine", 1.5)
        assert profile.detector.rows == (250, 3350)
        assert profile.fibers == load_profile("SPIROU").fibers

    def test_packaged_name_without_regard_to_case(self, tmp_path):
        assert load_profile(written(tmp_path, 'extends = "nirps_he"')) == load_profile("NIRPS_HE")

    def test_a_relative_path_starts_at_the_file_that_names_it(self, tmp_path, monkeypatch):
        written(tmp_path, 'extends = "SPIROU"\nname = "Base"\n[blaze]\ncut = 0.3', "base.toml")
        child = written(tmp_path, 'extends = "../base.toml"\n[blaze]\nmedian_width = 31', "below/child.toml")
        monkeypatch.chdir("/")
        profile = load_profile(child)
        assert (profile.name, profile.blaze.cut, profile.blaze.median_width) == ("Base", 0.3, 31)

    def test_an_absolute_path(self, tmp_path):
        base = written(tmp_path / "a", 'extends = "SPIROU"\nname = "Base"', "base.toml")
        assert load_profile(written(tmp_path / "b", f'extends = "{base}"')).name == "Base"

    def test_three_generations_the_youngest_wins(self, tmp_path):
        written(tmp_path, 'extends = "SPIROU"\n[qc]\nmax_rms = 0.1\nskip_orders = [1]', "a.toml")
        written(tmp_path, 'extends = "a.toml"\n[qc]\nmax_rms = 0.2', "b.toml")
        profile = load_profile(written(tmp_path, 'extends = "b.toml"\n[qc]\nmax_rms = 0.3', "c.toml"))
        assert (profile.qc.max_rms, profile.qc.skip_orders) == (0.3, (1,))

    def test_lists_are_replaced_and_not_joined(self, tmp_path):
        assert load_profile(extending_spirou(tmp_path, "[qc]\nskip_orders = [3]")).qc.skip_orders == (3,)

    def test_a_fiber_may_be_added(self, tmp_path):
        text = '[fibers.D]\nchannel = 1\nlocalisation = "C"\nbelow = 3\nabove = 4'
        fibers = load_profile(extending_spirou(tmp_path, text)).fibers
        assert list(fibers) == ["AB", "A", "B", "C", "D"]
        assert fibers["D"].traces == "all"

    def test_itself(self, tmp_path):
        path = written(tmp_path, 'extends = "own.toml"')
        with pytest.raises(UsageError, match=r"own\.toml: extends itself by way of .*own\.toml"):
            load_profile(path)

    def test_a_longer_cycle(self, tmp_path):
        first = written(tmp_path, 'extends = "b.toml"', "a.toml")
        written(tmp_path, 'extends = "sub/../a.toml"', "b.toml")
        (tmp_path / "sub").mkdir()
        with pytest.raises(UsageError, match=r"a\.toml: extends itself by way of .*a\.toml -> .*b\.toml"):
            load_profile(first)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(UsageError, match=r"nowhere\.toml: no such file"):
            load_profile(written(tmp_path, 'extends = "nowhere.toml"'))

    def test_not_a_name(self, tmp_path):
        with pytest.raises(UsageError, match="extends = 3 must be a name or a path"):
            load_profile(written(tmp_path, "extends = 3"))


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("colour = 3", "colour"),
            ("[detektor]\ngain = 1", "detektor"),
            ("[detector]\ngane = 1", "detector.gane"),
            ("[input]\nframes = 1", "input.frames"),
            ("[fibers.A]\ntrace = 'all'", "fibers.A.trace"),
            ("[background]\nboxes = 1", "background.boxes"),
            ("[blaze]\ncubic = false", "blaze.cubic"),
            ("[qc]\nrms = 0.1", "qc.rms"),
            ("[plot]\nfiber = 'A'", "plot.fiber"),
        ],
    )
    def test_unknown_keys_by_name(self, tmp_path, text, key):
        path = extending_spirou(tmp_path, text)
        with pytest.raises(UsageError) as error:
            load_profile(path)
        assert str(error.value) == f"instrument profile {path}: unknown key {key}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[detector]\ngain = -1", r"detector\.gain: .*greater than 0 \(found -1\)"),
            ("[detector]\ngain = inf", r"detector\.gain: .*finite number \(found inf\)"),
            ("[detector]\nshape = [4, 4096]", r"detector\.shape\.0: .*equal to 8 \(found 4\)"),
            ("[detector]\nrows = [9, 3]", r"detector: .*rows = \[9, 3\] must be increasing and within the raw 4096"),
            ("[detector]\ncolumns = [0, 4097]", r"detector: .*columns = \[0, 4097\] must be .* within the raw 4096"),
            ("[detector]\nrows = [1, 2, 3]", r"detector\.rows: .*\(found \[1, 2, 3\]\)"),
            ("[detector]\nflip = 'z'", r"detector\.flip: .*'none', 'x', 'y' or 'both' \(found 'z'\)"),
            ("[detector]\nsaturation = -1", r"detector\.saturation: .*greater than 0 \(found -1\)"),
            ("[detector]\nframe_time = 'TOOLONGKEY'", r"detector\.frame_time: .*8 characters \(found 'TOOLONGKEY'\)"),
            ("[input]\nmin_frames = 0", r"input\.min_frames: .*equal to 1 \(found 0\)"),
            ("[fibers.A]\nchannel = 2", r"fibers\.A\.channel: .*0 or 1 \(found 2\)"),
            ("[fibers.A]\nbelow = 'wide'", r"fibers\.A\.below: .*valid number.*\(found 'wide'\)"),
            ("[fibers.A]\ntraces = 'some'", r"fibers\.A\.traces: .*\(found 'some'\)"),
            ("[background]\nbox = 1", r"background\.box: .*equal to 2 \(found 1\)"),
            ("[blaze]\ncut = 1.0", r"blaze\.cut: .*less than 1 \(found 1\.0\)"),
            ("[blaze]\nmedian_width = 2.5", r"blaze\.median_width: .*\(found 2\.5\)"),
            ("[qc]\nmax_rms = 0", r"qc\.max_rms: .*greater than 0 \(found 0\)"),
            ("[qc]\nskip_orders = [3, -1]", r"qc\.skip_orders\.1: .*\(found -1\)"),
            ("[plot]\norder = -1", r"plot\.order: .*\(found -1\)"),
            ("fibers = 3", r"fibers: .*dictionary \(found 3\)"),
            ("[header]\nINSTRUME = 3", r"header\.INSTRUME: .*string \(found 3\)"),
        ],
    )
    def test_values_out_of_range_by_key_and_value(self, tmp_path, text, message):
        path = extending_spirou(tmp_path, text)
        with pytest.raises(UsageError, match=rf"^instrument profile {path}: {message}"):
            load_profile(path)

    def test_every_fault_is_named_at_once(self, tmp_path):
        with pytest.raises(UsageError, match=r"detector\.gain: .*; unknown key colour"):
            load_profile(extending_spirou(tmp_path, "colour = 3\n[detector]\ngain = 0"))

    def test_missing_keys(self, tmp_path):
        with pytest.raises(UsageError, match=r"missing key detector; missing key fibers$"):
            load_profile(written(tmp_path, 'name = "X"'))
        with pytest.raises(UsageError, match=r"missing key fibers\.D\.localisation"):
            load_profile(extending_spirou(tmp_path, "[fibers.D]\nchannel = 0\nbelow = 1\nabove = 1"))

    def test_no_fiber_at_all(self, tmp_path):
        text = 'name = "X"\nfibers = {}\n[detector]\nshape = [9, 9]\nrows = [0, 9]\ncolumns = [0, 9]\ngain = 1'
        with pytest.raises(UsageError, match=r"fibers: .*at least 1 item"):
            load_profile(written(tmp_path, text))

    def test_bad_toml(self, tmp_path):
        path = written(tmp_path, "[detector]\ngain = \nflip = 'x'")
        with pytest.raises(UsageError, match=rf"{path}: not valid TOML: .*line 2"):
            load_profile(path)

    def test_not_text(self, tmp_path):
        path = tmp_path / "own.toml"
        path.write_bytes(b'extends = "SPIROU" #\xe9\xff\n')
        with pytest.raises(UsageError, match=rf"{path}: cannot be read as text: .*0xe9 in position 20"):
            load_profile(path)

    @pytest.mark.parametrize(("wrong", "right"), [("SPIRU", "SPIROU"), ("nirps-ha", "NIRPS_HA"), ("smal", "SMALL")])
    def test_unknown_name_suggests_the_closest(self, wrong, right):
        with pytest.raises(UsageError, match=rf"instrument profile {wrong}: no such file; did you mean {right}\?"):
            load_profile(wrong)

    def test_unknown_name_like_no_other_lists_all(self):
        with pytest.raises(UsageError, match="packaged are SPIROU, NIRPS_HA, NIRPS_HE, SMALL"):
            load_profile("zzz")

    def test_a_folder(self, tmp_path):
        with pytest.raises(UsageError, match="no such file"):
            load_profile(tmp_path)


class TestChanges:
    def test_values_are_replaced_in_a_copy(self):
        spirou = load_profile("SPIROU")
        changed = profile_with(spirou, {"fibers": {"A": {"below": 3}}, "blaze": {"cut": 0.2}}, "here")
        assert (changed.fibers["A"].below, changed.fibers["A"].above, changed.blaze.cut) == (3, 8, 0.2)
        assert (spirou.fibers["A"].below, spirou.blaze.cut) == (8, 0.1)

    def test_without_changes_it_is_the_same(self):
        spirou = load_profile("SPIROU")
        assert profile_with(spirou, {}, "here") is spirou

    def test_a_wrong_change_names_its_origin(self):
        with pytest.raises(UsageError, match=r"from afar: unknown key blaze\.cutt"):
            profile_with(load_profile("SPIROU"), {"blaze": {"cutt": 1}}, "from afar")

    def test_a_profile_survives_its_own_json_form(self):
        spirou = load_profile("SPIROU")
        assert Profile.model_validate(spirou.model_dump(mode="json")) == spirou


class TestHeaders:
    @pytest.mark.parametrize(
        ("header", "name"),
        [
            ({"INSTRUME": "SPIRou"}, "SPIRou"),
            ({"INSTRUME": " spirou "}, "SPIRou"),
            ({"INSTRUME": "NIRPS", "DRSMODE": "HA"}, "NIRPS_HA"),
            ({"INSTRUME": "NIRPS", "DRSMODE": "he"}, "NIRPS_HE"),
            ({"INSTRUME": "SMALL"}, "SMALL"),
        ],
    )
    def test_the_profile_of_a_frame(self, tmp_path, header, name):
        assert profile_for_header(header, tmp_path / "a.fits").name == name

    def test_without_header_keywords_the_name_must_be_the_instruments(self, tmp_path):
        text = (
            'name = "Own"\n[detector]\nshape = [9, 9]\nrows = [0, 9]\ncolumns = [0, 9]\ngain = 1\n'
            '[fibers.A]\nchannel = 0\nlocalisation = "A"\nbelow = 1\nabove = 1'
        )
        profile = load_profile(written(tmp_path, text))
        assert profile.matches({"INSTRUME": "OWN"})
        assert not profile.matches({"INSTRUME": "other"})
        assert not profile.matches({})

    @pytest.mark.parametrize(
        ("header", "found"),
        [
            ({"INSTRUME": "HARPS"}, r"INSTRUME = 'HARPS', DRSMODE = 'missing'"),
            ({"INSTRUME": "NIRPS", "DRSMODE": "XX"}, r"INSTRUME = 'NIRPS', DRSMODE = 'XX'"),
            ({}, r"INSTRUME = 'missing', DRSMODE = 'missing'"),
        ],
    )
    def test_no_profile_fits(self, tmp_path, header, found):
        path = tmp_path / "strange.fits"
        with pytest.raises(InputError, match=rf"{path}: no packaged .* \({found}\); packaged are SPIROU.*--instrument"):
            profile_for_header(header, path)
