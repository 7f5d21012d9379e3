"""Settings: presets, what wins over what, and single assignments of settings and of profile values."""

from datetime import date

import pytest
from pydantic import ValidationError

from flatcore.errors import UsageError
from flatcore.instrument import load_profile
from flatcore.settings import PRESETS, Settings, parse_assignment, resolve


@pytest.fixture(scope="module")
def spirou():
    return load_profile("SPIROU")


def settings_after(profile, *assignments):
    """The settings alone, after single assignments."""
    return resolve(profile, assignments=assignments)[1]


class TestPresets:
    def test_the_defaults_are_the_seed_pages(self, spirou):
        profile, settings = resolve(spirou)
        assert profile is spirou
        assert settings == Settings()
        assert (settings.combine.frames, settings.combine.method) == (True, "median")
        assert settings.blaze.cubic
        assert not settings.flat.divide_slow_part
        assert settings.flat.slow_width == 501
        assert (settings.flat.sigma_cut, settings.flat.limit) == (10, 0.2)
        assert (settings.extract.rejection, settings.extract.narrow_window) == (10, 10)
        assert settings.extract.saturation_adu == 50000
        assert (settings.blaze.low, settings.blaze.high) == (0.05, 2)
        assert (settings.calibration.choice, settings.calibration.max_age_days) == ("closest", 7)
        assert (settings.calibrate.background_passes, settings.calibrate.hot_threshold) == (5, 10)

    def test_apero_differs_in_four_settings_only(self, spirou):
        settings = resolve(spirou, "apero")[1]
        expected = Settings().model_dump()
        expected["combine"]["method"] = "mean"
        expected["blaze"]["cubic"] = False
        expected["blaze"]["fit_ends"] = True
        expected["flat"]["divide_slow_part"] = True
        assert settings.model_dump() == expected

    def test_unknown(self, spirou):
        with pytest.raises(UsageError, match="--preset aper: unknown; expected one of default, apero"):
            resolve(spirou, "aper")

    def test_presets_are_not_changed_by_a_run(self, spirou):
        resolve(spirou, "apero", [{"blaze": {"cubic": True}}], ["combine.method=clipped"])
        assert PRESETS["apero"]["combine"] == {"method": "mean"}
        assert PRESETS["apero"]["blaze"] == {"cubic": False, "fit_ends": True}


class TestPrecedence:
    def test_changes_win_over_the_preset(self, spirou):
        settings = resolve(spirou, "apero", [{"combine": {"method": "clipped"}}])[1]
        assert settings.combine.method == "clipped"
        assert settings.flat.divide_slow_part

    def test_assignments_win_over_changes(self, spirou):
        settings = resolve(spirou, "apero", [{"combine": {"method": "clipped"}}], ["combine.method=median"])[1]
        assert settings.combine.method == "median"

    def test_later_ones_win_over_earlier_ones(self, spirou):
        changes = [{"combine": {"clip_sigma": 3}}, {"combine": {"clip_sigma": 4}}]
        assert resolve(spirou, changes=changes)[1].combine.clip_sigma == 4
        assert settings_after(spirou, "flat.limit=0.3", "flat.limit=0.4").flat.limit == 0.4

    def test_other_settings_of_a_section_stay(self, spirou):
        settings = resolve(spirou, "apero", [{"flat": {"limit": 0.5}}], ["flat.sigma_cut=7"])[1]
        assert (settings.flat.divide_slow_part, settings.flat.limit, settings.flat.sigma_cut) == (True, 0.5, 7)

    def test_what_was_given_is_not_changed(self, spirou):
        changes = [{"combine": {"method": "mean"}}, {"combine": {"clip_sigma": 4}}]
        resolve(spirou, changes=changes, assignments=["combine.frames=False"])
        assert changes == [{"combine": {"method": "mean"}}, {"combine": {"clip_sigma": 4}}]


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "section", "key", "value"),
        [
            ("blaze.cubic=False", "blaze", "cubic", False),
            ("blaze.cubic=false", "blaze", "cubic", False),
            ("flat.divide_slow_part=True", "flat", "divide_slow_part", True),
            ("combine.method=mean", "combine", "method", "mean"),
            ('combine.method="mean"', "combine", "method", "mean"),
            (" combine . method = clipped ", "combine", "method", "clipped"),
            ("extract.fluxunits=ADU/s", "extract", "fluxunits", "ADU/s"),
            ("extract.fluxunits=e-", "extract", "fluxunits", "e-"),
            ("calibrate.flip=none", "calibrate", "flip", "none"),
            ("combine.clip_sigma=3", "combine", "clip_sigma", 3.0),
            ("combine.clip_sigma=2.5e0", "combine", "clip_sigma", 2.5),
            ("flat.slow_width=301", "flat", "slow_width", 301),
            ("input.require_qc=False", "input", "require_qc", False),
        ],
    )
    def test_of_a_setting(self, spirou, text, section, key, value):
        profile, settings = resolve(spirou, assignments=[text])
        found = getattr(getattr(settings, section), key)
        assert found == value
        assert type(found) is type(value)
        assert profile is spirou

    @pytest.mark.parametrize(
        ("text", "read"),
        [
            ("blaze.cut=0.2", lambda p: p.blaze.cut == 0.2),
            ("fibers.A.below=3", lambda p: (p.fibers["A"].below, p.fibers["A"].above) == (3, 8)),
            ("fibers.AB.traces=all", lambda p: p.fibers["AB"].traces == "all"),
            ("detector.rows=[10, 20]", lambda p: p.detector.kept_shape == (10, 4088)),
            ("detector.saturation=60000", lambda p: p.detector.saturation == 60000.0),
            ("detector.saturation=SATLEVEL", lambda p: p.detector.saturation == "SATLEVEL"),
            ("qc.skip_orders=[1, 2]", lambda p: p.qc.skip_orders == (1, 2)),
            ("input.min_frames=2", lambda p: p.input.min_frames == 2),
            ("header.INSTRUME=Other", lambda p: p.header == {"INSTRUME": "Other"}),
        ],
    )
    def test_of_a_profile_value(self, spirou, text, read):
        profile, settings = resolve(spirou, assignments=[text])
        assert read(profile)
        assert not read(spirou)
        assert settings == Settings()

    def test_of_both_in_one_run(self, spirou):
        profile, settings = resolve(spirou, assignments=["blaze.cut=0.2", "blaze.low=0.1", "fibers.A.below=3"])
        assert (profile.blaze.cut, settings.blaze.low, profile.fibers["A"].below) == (0.2, 0.1, 3)

    @pytest.mark.parametrize(
        ("text", "suggestion"),
        [
            ("blaze.cutt=1", r"did you mean blaze\.cut\?"),
            ("blaze.cubc=True", r"did you mean blaze\.cubic\?"),
            ("combin.method=mean", r"did you mean combine\.method\?"),
            ("flat.sigma=3", r"did you mean flat\.sigma_cut\?"),
            ("detector.gian=1", r"did you mean detector\.gain\?"),
            ("fibers.Z.below=1", r"did you mean fibers\.[ABC]+"),
            ("fibers.A.belo=1", r"did you mean fibers\.A"),
            ("fibers.A=1", ""),
            ("zz.y=1", "sections are input, combine, calibrate, extract, blaze, flat, calibration, output"),
        ],
    )
    def test_unknown_names_are_refused_with_a_suggestion(self, spirou, text, suggestion):
        with pytest.raises(UsageError, match=rf"--set {text}: unknown setting; .*{suggestion}"):
            settings_after(spirou, text)

    @pytest.mark.parametrize("text", ["", "blaze.cut", "cut=1", "=1", ".=1", "blaze.=1", ".cut=1", "blaze..cut=1"])
    def test_wrong_form(self, spirou, text):
        with pytest.raises(UsageError, match=r"expected section\.key=value, for example"):
            settings_after(spirou, text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("blaze.cubic=maybe", r"settings: blaze\.cubic: .*\(found 'maybe'\)"),
            ("combine.method=max", r"settings: combine\.method: .*'median', 'mean' or 'clipped' \(found 'max'\)"),
            ("combine.method.x=1", r"settings: combine\.method: "),
            ("combine.clip_sigma=0", r"settings: combine\.clip_sigma: .*greater than 0 \(found 0\)"),
            ("combine.clip_sigma=inf", r"settings: combine\.clip_sigma: .*finite number \(found inf\)"),
            ("combine.clip_sigma=", r"settings: combine\.clip_sigma: .*\(found ''\)"),
            ("flat.slow_width=3", r"settings: flat\.slow_width: .*\(found 3\)"),
            ("flat.slow_width=4.5", r"settings: flat\.slow_width: .*\(found 4\.5\)"),
            ("calibrate.background_passes=0", r"settings: calibrate\.background_passes: .*\(found 0\)"),
            ("calibration.choice=nearest", r"settings: calibration\.choice: .*\(found 'nearest'\)"),
            ("blaze.cut=2", r"--set blaze\.cut=2: blaze\.cut: .*less than 1 \(found 2\)"),
            ("fibers.A.below=-1", r"--set fibers\.A\.below=-1: fibers\.A\.below: .*\(found -1\)"),
            ("detector.rows=[0, 9999]", r"rows = \[0, 9999\] must be increasing and within the raw 4096"),
        ],
    )
    def test_bad_values_by_key_and_value(self, spirou, text, message):
        with pytest.raises(UsageError, match=message):
            settings_after(spirou, text)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"combine": {"methd": "mean"}}, r"settings: unknown key combine\.methd"),
            ({"combin": {"method": "mean"}}, "settings: unknown key combin"),
        ],
    )
    def test_changes_of_unknown_settings(self, spirou, change, message):
        with pytest.raises(UsageError, match=message):
            resolve(spirou, changes=[change])

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("a.b=True", True),
            ("a.b=false", False),
            ("a.b=3", 3),
            ("a.b=-3.5", -3.5),
            ("a.b=[1, 2]", [1, 2]),
            ("a.b=TRUE", "TRUE"),
            ("a.b=x=y", "x=y"),
            ("a.b=2020-08-31", date(2020, 8, 31)),
        ],
    )
    def test_values_are_toml_or_else_text(self, text, value):
        assert parse_assignment(text) == {"a": {"b": value}}

    def test_names_of_any_depth(self):
        assert parse_assignment("a.b.c=1") == {"a": {"b": {"c": 1}}}


def test_settings_are_frozen():
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.combine.method = "mean"
    with pytest.raises(ValidationError, match="frozen"):
        settings.combine = None
