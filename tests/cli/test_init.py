"""``flatcore init`` on the command line: from files never seen to a profile, asked or told."""

import sys
from pathlib import Path

import pytest
from astropy.io import fits

from flatcore.instrument import load_profile
from flatcore.simulate import SimulationOptions, simulate_night
from tests.cli.command import OBS_DIR, refused, run
from tests.unit.test_survey import RAW_KEYWORDS, instrument


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A night of raw counts along columns, with darks."""
    root = tmp_path_factory.mktemp("raw")
    profile = instrument(gain=0.7, units="adu", dispersion="columns", bias=300.0, keywords=RAW_KEYWORDS)
    simulate_night(root, SimulationOptions(profile, seed=5, frames=3, darks=3))
    return root


@pytest.fixture
def files(raw, tmp_path, monkeypatch):
    """Its files, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    return sorted((raw / "tmp" / OBS_DIR).glob("*.fits"))


def test_a_profile_that_says_where_all_is_from(files, capsys):
    assert run("init", *files, "--fibers", "SCI,CAL") == 0
    said = capsys.readouterr()
    assert said.err == ""
    for words in ("3 flats, 3 darks", "along columns", "measured", "new.toml: profile of NEW"):
        assert words in said.out
    profile = load_profile("new.toml")
    assert list(profile.fibers) == ["SCI", "CAL"]
    assert (profile.fibers["SCI"].channel, profile.fibers["CAL"].channel) == (0, 1)
    text = Path("new.toml").read_text()
    assert "# measured, +-" in text
    assert "# median of the darks" in text


def test_answers_win(files):
    given = [
        "--name",
        "MINE",
        "--gain",
        "1.5",
        "--readnoise",
        "4",
        "--saturation",
        "3e4",
        "--bias",
        "310",
        "--window",
        "6",
    ]
    given += ["--dispersion", "rows", "--units", "adu", "--flip", "x", "--lamp", "FLAT_DARK", "--output", "p.toml"]
    assert run("init", *files, "--yes", "--quiet", *given) == 0
    profile = load_profile("p.toml")
    detector = profile.detector
    assert (profile.name, detector.gain, detector.saturation, detector.bias) == ("MINE", 1.5, 3e4, 310.0)
    assert (detector.dispersion, detector.flip, detector.shape) == ("rows", "x", (1088, 640))
    assert profile.fibers["A"].below == profile.fibers["A"].above == 6.0
    assert profile.keywords["RDNOISE"].value == 4.0
    assert profile.keywords["DPRTYPE"].values["quartz lamp"] == "FLAT_DARK"


def test_darks_and_biases_by_pattern(files, raw):
    flats = [path for path in files if "f_pp" in path.name]
    assert run("init", *flats, "--darks", str(files[0].parent / "*d_pp.fits"), "--yes", "--quiet") == 0
    assert load_profile("new.toml").detector.bias == pytest.approx(300.0, abs=2.0)


def test_biases_by_name(files, tmp_path):
    flats = [path for path in files if "f_pp" in path.name]
    biases = []
    for i, path in enumerate(path for path in files if "d_pp" in path.name):
        with fits.open(path) as hdus:
            hdus[0].header["ITIME"] = 0.0
            biases.append(tmp_path / f"bias{i}.fits")
            hdus.writeto(biases[-1])
    named = [part for path in biases for part in ("--biases", path)]
    assert run("init", *flats, *named, "--yes", "--quiet", "--output", "one.toml") == 0
    # Those among the files are found by their exposure time.
    assert run("init", *flats, *biases, "--yes", "--quiet", "--output", "two.toml") == 0
    assert load_profile("one.toml") == load_profile("two.toml")
    assert load_profile("one.toml").keywords["DPRTYPE"].values["dark"] == "BIAS"


def test_an_hdu_by_index_or_name(files):
    assert run("init", *files, "--hdu", "1", "--yes", "--quiet") == 0
    assert load_profile("new.toml").detector.hdu is None


def test_a_profile_is_not_replaced_unasked(files, tmp_path, capsys):
    (tmp_path / "new.toml").write_text("precious")
    said = refused(capsys, 3, "init", *files, "--yes", "--quiet")
    assert "new.toml: exists already; --force replaces it" in said
    assert (tmp_path / "new.toml").read_text() == "precious"
    assert run("init", *files, "--yes", "--quiet", "--force") == 0
    assert load_profile("new.toml").name == "NEW"
    assert [path.name for path in tmp_path.iterdir()] == ["new.toml"]


def test_questions_on_a_terminal(files, monkeypatch, capsys):
    answers = iter(["OTHER", "X,Y", "columns", "adu", "2.5", "7", "50000", "9"])
    asked = []

    def prompt(text, default=None, type=None):  # noqa: A002 - as click has it
        asked.append((text, default))
        answer = next(answers)
        return type(answer) if type in (str, float) else float(answer) if "[" in text else answer

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("rich_click.prompt", prompt, raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert run("init", *files) == 0
    shown = dict(asked)
    assert shown["Name"] == "NEW"
    assert shown["Orders run along"] == "columns"
    assert shown["Gain [e-/ADU]"] == pytest.approx(0.7, rel=0.02)
    profile = load_profile("other.toml")
    assert (profile.name, list(profile.fibers), profile.detector.gain) == ("OTHER", ["X", "Y"], 2.5)
    assert (profile.detector.saturation, profile.fibers["X"].below) == (50000.0, 9.0)
    assert profile.keywords["RDNOISE"].value == 7.0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["missing.fits"], 3, "missing.fits: no such file"),
        (["--fibers", "A,,B"], 2, "--fibers A,,B: expected different names"),
        (["--fibers", "A,A"], 2, "--fibers A,A: expected different names"),
        (["--darks", "none*.fits"], 3, "--darks none*.fits: no such file"),
        (["--hdu", "7"], 2, "--hdu 7: no such image; there are 1"),
    ],
)
def test_what_cannot_be_is_named(files, capsys, arguments, status, told):
    assert told in refused(capsys, status, "init", *files, *arguments, "--yes", "--quiet")


def test_the_help_has_examples(capsys):
    assert run("init", "--help") == 0
    assert "flatcore init night/*.fits" in capsys.readouterr().out


def test_the_listing_reads_raw_headers_by_the_profile(files, raw, capsys):
    assert run("init", *files, "--yes", "--quiet") == 0
    capsys.readouterr()
    assert run("run", OBS_DIR, "--listing", "--data-root", raw, "--instrument", "new.toml") == 0
    listed = capsys.readouterr().out
    assert listed.count("FLAT_FLAT") == listed.count("DARK_DARK") == 3
    assert listed.count("60.0") == 6
