"""``flatcore bootstrap`` and the commands of its single steps."""

import json
import shutil
from pathlib import Path

import pytest

from flatcore.bootstrap import STEPS
from flatcore.bootstrap.settings import BootstrapSettings
from flatcore.cli import COMMANDS
from flatcore.instrument import load_profile
from tests.cli.command import OBS_DIR, refused, rewrite, run

SINGLE = list(STEPS)


@pytest.fixture
def bare(small_night, tmp_path):
    """The small night's frames without calibrations."""
    shutil.copytree(small_night / "tmp", tmp_path / "tmp")
    return tmp_path


def test_a_night_runs_from_nothing(bare, capsys):
    assert run("bootstrap", OBS_DIR, "--data-root", bare) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "SMALL 2020-08-31: 4 flats"
    assert any(line.startswith("LOC") and "9 orders" in line for line in lines)
    assert "10 calibrations in" in captured.out
    assert "taken as zero" in captured.err
    assert run("run", OBS_DIR, "--data-root", bare, "--quiet") == 0
    assert run("bootstrap", OBS_DIR, "--data-root", bare) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_closing_table_fits_eighty_columns(bare, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    assert run("bootstrap", OBS_DIR, "--data-root", bare, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[1 : next(i for i, line in enumerate(lines) if line.startswith("extraction windows"))]
    assert table[0].split() == ["key", "fibre", "file", "found"]
    assert max(map(len, table)) <= 80 and len(table) > 2 + 10


@pytest.mark.parametrize("step", SINGLE)
def test_every_step_has_a_command_with_examples(step, capsys):
    assert step in COMMANDS
    assert run(step, "--help") == 0
    text = capsys.readouterr().out
    assert f"flatcore {step} 2020-08-31" in text
    assert "--replace" in text


def test_a_single_step_makes_what_it_is_named_for(bare, capsys):
    assert run("unlit", OBS_DIR, "--data-root", bare, "--json", "--quiet") == 0
    summary = json.loads(capsys.readouterr().out)
    assert [one["key"] for one in summary["calibrations"]] == ["BKGRDMAP"]
    assert summary["calibrations"][0]["share"] == pytest.approx(0.13, abs=0.05)
    assert "earlier bootstrap" in refused(
        capsys, 3, "unlit", OBS_DIR, "--data-root", bare, "--set", "unlit.percent=9", "--quiet"
    )
    assert run("unlit", OBS_DIR, "--data-root", bare, "--set", "unlit.percent=9", "--replace", "--quiet") == 0


def test_figures_and_a_profile_are_written_on_request(bare, tmp_path, capsys):
    profile = tmp_path / "windows.toml"
    assert run("bootstrap", OBS_DIR, "--data-root", bare, "--dry-run", "--plot", 2, "--write-profile", profile,
               "--json") == 0  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in (bare / "plot" / OBS_DIR).glob("*.png")) == [
        f"{OBS_DIR}_bootstrap_{name}.png" for name in ("orderprofile", "pixels", "traces")
    ]
    assert len(summary["figures"]) == 3
    assert not (bare / "calib").exists()
    proposed = {window["fiber"]: window for window in summary["windows"]}
    assert 'extends = "SMALL"\n' in profile.read_text()
    written = load_profile(profile)
    assert written.detector == load_profile("SMALL").detector
    for name, fiber in written.fibers.items():
        assert fiber.below == proposed[name]["proposed_below"]
        # The simulation's strips fill their windows.
        assert abs(fiber.below - load_profile("SMALL").fibers[name].below) < 2


@pytest.mark.parametrize(
    ("status", "words", "options"),
    [
        (2, "unknown key unlit.percents", ["--set", "unlit.percents=3"]),
        (2, "no such file", ["--instrument", "missing.toml"]),
        (3, "no such file", ["--darkfile", "missing.fits"]),
        (3, "nothing.fits", ["nothing.fits"]),
        (3, "is not a calibration", ["--darkfile", "2510100f_pp.fits"]),
        (3, "is of key BADPIX", ["--darkfile", "other_badpixel.fits"]),
    ],
)
def test_what_is_wrong_is_named(bare, capsys, status, words, options):
    night = bare / "tmp" / OBS_DIR
    rewrite(night / "2510100f_pp.fits", night / "other_badpixel.fits", DRSOUTID="BADPIX")
    assert words in refused(capsys, status, "bootstrap", OBS_DIR, "--data-root", bare, "--quiet", *options)
    assert not list((bare / "calib").glob("*.fits"))


def test_every_setting_is_documented_with_its_default():
    text = (Path(__file__).parents[2] / "docs" / "bootstrap.md").read_text().replace("\n", " ")
    for section, table in BootstrapSettings().model_dump().items():
        for key, value in table.items():
            assert f"`{section}.{key}" in text, f"{section}.{key}"
            before, _, after = text.partition(f"`{section}.{key}")
            shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
            words = {"3": "three", "5": "five"}.get(shown, shown)
            near = before[-200:] + after[:40]
            assert shown in near or words in near or f"{value}th" in near, f"{section}.{key} = {shown}"


def test_a_missing_night_names_those_there_are(bare, capsys):
    assert OBS_DIR in refused(capsys, 3, "bootstrap", "2001-01-01", "--data-root", bare, "--quiet")
