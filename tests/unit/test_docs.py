"""The documentation does what it shows, and names every setting and every product."""

import doctest
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from flatcore import load_profile
from flatcore.cli.run import command
from flatcore.plots import catalogue
from flatcore.settings import PRESETS, Settings
from flatcore.spectra import Reason
from flatcore.version import VERSION

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "least"), [("api.md", 10), ("simulate.md", 5)])
def test_examples_run(small_night, page, least):
    failures, tests = doctest.testfile(
        str(DOCS / page), module_relative=False, globs={"root": small_night}, optionflags=doctest.ELLIPSIS
    )
    assert tests > least
    assert failures == 0


def test_every_setting_is_documented_with_its_default():
    text = (DOCS / "settings.md").read_text()
    for section, table in Settings().model_dump().items():
        for key, value in table.items():
            line = next((line for line in text.splitlines() if f"{section}.{key}" in line), None)
            assert line is not None, f"{section}.{key}"
            shown = "profile's" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()
            assert shown in line.lower(), f"{section}.{key} = {shown}"


def test_every_choice_of_the_preset_is_documented():
    text = (DOCS / "settings.md").read_text()
    for section, table in PRESETS["apero"].items():
        for key, value in table.items():
            line = next(line for line in text.splitlines() if f"{section}.{key}" in line)
            assert line.split("|")[3].strip() == str(value).lower()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_mask_bit_is_documented(reason):
    assert f"| {reason.value} | {reason.name} |" in (DOCS / "products.md").read_text()


def test_the_example_profile_is_valid(tmp_path):
    text = (DOCS / "profiles.md").read_text()
    path = tmp_path / "example.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    assert load_profile(path).fibers["AB"].below == 16.0


def test_every_option_is_documented_and_its_test_exists():
    cli = Path(__file__).parents[1] / "cli"
    tests = {name: (cli / name).read_text() for name in ("test_options.py", "test_run.py", "test_session.py")}
    rows = [line for line in (DOCS / "options.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name.strip("`") for row in rows for name in re.findall(r"`--[\w-]+`", row.split("|")[1])}
    offered = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert documented == offered
    for row in rows:
        for named in re.findall(r"`((?:test_\w+\.py::)?test_\w+)`", row.split("|")[3]):
            file, _, test = named.rpartition("::")
            assert f"def {test}(" in tests[file or "test_options.py"], named


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell):
    environment = {**os.environ, "_FLATCORE_COMPLETE": f"{shell}_source"}
    flatcore = Path(sys.executable).with_name("flatcore")
    done = subprocess.run([str(flatcore)], env=environment, capture_output=True, text=True, check=False)
    assert "_FLATCORE_COMPLETE" in done.stdout


def test_the_version_is_the_packages():
    assert metadata.version("flatcore") == VERSION


def test_every_figure_is_in_the_gallery():
    text = (DOCS / "figures.md").read_text()
    kinds = re.findall(r'"((?:FLAT|SUM)_[A-Z_]+)"', Path(catalogue.__file__).read_text())
    kinds += re.findall(r"_(FLAT_[A-Z]+)\"", Path(catalogue.__file__).read_text())
    assert len(set(kinds)) >= 9
    for kind in kinds:
        assert kind in text
    for shown in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (DOCS / shown).stat().st_size < 120_000
    assert len(re.findall(r"\]\(figures/", text)) == len(list((DOCS / "figures").glob("figure_*.png"))) == 12
