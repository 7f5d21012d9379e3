"""The page on watching names every option with its default, every metric, and shows lines that work."""

import configparser
import re
import shlex
from pathlib import Path

import pytest

from flatcore.cli.watch import OF_THE_RUN, command
from flatcore.watch.memory import Totals
from flatcore.watch.status import SetStatus, Snapshot, prometheus
from flatcore.watch.tree import UNFINISHED

TEXT = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()

# Options that other pages explain.
ELSEWHERE = {*OF_THE_RUN, "data_root", "database_url", "crunfile", "force_indir", "force_outdir", "xhelp"}


def test_every_option_with_its_default():
    lines = TEXT.split("## Options")[1].splitlines()
    rows = {line.split("|")[1]: line.split("|")[2].strip() for line in lines if line.startswith("| `--")}
    for parameter in command.params:
        if parameter.name in ELSEWHERE:
            continue
        for name in (*parameter.opts, *parameter.secondary_opts):
            shown = next((default for row, default in rows.items() if f"`{name}" in row), None)
            assert shown is not None, name
            if isinstance(parameter.default, (float, str)) and not parameter.is_flag:
                assert float(shown) == float(parameter.default), name


def test_every_metric():
    totals = Totals(last_success=1.0, last_run_s=1.0)
    sets = (SetStatus("n1", "FLAT_FLAT", "stalled", 1, "no frame is whole", {"a.fits": "is empty"}),)
    made = prometheus(Snapshot(True, "t", "events", 1.0, 1.0, True, sets, 0, totals))
    assert set(re.findall(r"^\| `(flatcore_watch_\w+)", TEXT, re.M)) == set(re.findall(r"TYPE (\S+)", made))


def test_every_name_of_a_copy_under_way():
    assert all(f"`{suffix}`" in TEXT for suffix in UNFINISHED)


def commands():
    joined = TEXT.replace("\\\n", "")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(TEXT.split("```ini\n")[1].split("```")[0])
    yield unit["Service"]["ExecStart"]
    yield next(line for line in joined.splitlines() if line.startswith("*/10")).split(None, 5)[5]
    yield next(line for line in joined.splitlines() if line.startswith("flatcore watch "))


@pytest.mark.parametrize("line", list(commands()), ids=["systemd", "cron", "hooks"])
def test_command_lines_are_understood(line):
    words = shlex.split(line)
    assert words[0].endswith("flatcore") and words[1] == "watch"
    context = command.make_context("watch", words[2:])
    assert context.params["data_root"] == "/data/spirou"


def test_the_unit_ends_well():
    assert "SuccessExitStatus=143" in TEXT and "KillMode=mixed" in TEXT
