"""`flatcore runs` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from flatcore.caldb import RunLog
from flatcore.changed import changed_settings
from flatcore.cli import main
from flatcore.cli.runs import command
from flatcore.settings import Settings
from tests.cli.test_calib import Outcome
from tests.engines import database_url

__all__ = ["database_url"]  # a fixture

RECORD = {
    "versions": {"flatcore": "1.2", "numpy": "2.0"},
    "input_sha256": {"a_pp.fits": "ab" * 32},
    "images": [
        {
            "stem": "3F_pp",
            "inputs": ["a_pp.fits", "b[bold]_pp.fits"],
            "fibers": {
                "AB": {
                    "passed": False,
                    "checks": [{"name": "max_rms", "value": 0.0712345, "limit": "max_rms < 0.05", "passed": False}],
                    "orders": [{"order": 0, "verdict": "pass"}, {"order": 34, "verdict": "fail"}],
                },
                "C": {
                    "passed": True,
                    "checks": [{"name": "max_rms", "value": None, "limit": "max_rms < 0.05", "passed": True}],
                    "orders": [],
                },
            },
        }
    ],
    "left_out": [{"path": "/night/c_pp.fits", "reason": "QCC_ALL is false"}],
    "calibrations": [
        {"keyname": "BADPIX", "fiber": "", "path": "/calib/bad.fits", "reason": "closest in time", "sha256": "cd" * 32},
        {"keyname": "LOC", "fiber": "AB", "path": "/x/loco.fits", "reason": "named by the user", "sha256": "ef" * 32},
    ],
    "settings": Settings.model_validate({"combine": {"method": "mean"}, "calibrate": {"flip": "x"}}).model_dump(),
    "products": [{"kind": "FF_FLAT", "fiber": "AB", "path": "/red/flat.fits", "sha256": "01" * 32, "bytes": 1}],
    "seconds": {"combine": 0.25, "blaze": 12.0},
    "warnings": ["5 frames, fewer than the 10 of SPIROU"],
}


@pytest.fixture
def runs(tmp_path: Path, database_url: str | None) -> RunLog:
    return RunLog.open(tmp_path, database_url)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str | None
) -> Callable[..., Outcome]:
    """Runs `flatcore runs` with arguments."""
    monkeypatch.setenv("FLATCORE_DATA", str(tmp_path))
    monkeypatch.setenv("FLATCORE_DATABASE", database_url or "")

    def running(*args: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["runs", *map(str, args)])
        printed = capsys.readouterr()
        return Outcome(stop.value.code, printed.out, printed.err)  # type: ignore[arg-type]

    return running


@pytest.fixture
def pids(runs: RunLog) -> list[str]:
    pids = [runs.start(obs_dir=night, instrument="SPIROU", shortname="FF") for night in ("one", "two", "two")]
    runs.finish(pids[0], "failed-qc", 4, RECORD)
    runs.finish(pids[1], "error", 3, {"error": "a.fits: no such file"})
    return pids


class TestList:
    def test_latest_first(self, run: Callable[..., Outcome], runs: RunLog, pids: list[str]) -> None:
        outcome = run("list")
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0].split() == [
            "run", "started", "(UTC)", "took", "status", "observation", "instrument", "identifier"
        ]  # fmt: skip
        rows = [line.split() for line in lines[2:-1]]
        assert [(row[0], row[-4], row[-3], row[-1]) for row in rows] == [
            ("3", "running", "two", pids[2]), ("2", "error", "two", pids[1]), ("1", "failed-qc", "one", pids[0])
        ]  # fmt: skip
        assert lines[-1] == f"3 runs in {runs.name}"

    def test_some(self, run: Callable[..., Outcome], runs: RunLog, pids: list[str]) -> None:
        assert run("list", "--obs-dir", "one").out.endswith(f"\n1 run in {runs.name}\n")
        assert run("list", "--limit", 2).out.endswith(f"\n2 of 3 runs in {runs.name}\n")
        assert run("list", "--obs-dir", "three").out == f"0 runs in {runs.name}\n"
        assert run("list", "--limit", 0).status == 2

    def test_json(self, run: Callable[..., Outcome], runs: RunLog, pids: list[str]) -> None:
        answer = json.loads(run("list", "--json", "--limit", 1).out)
        assert answer["database"] == runs.name
        (latest,) = answer["runs"]
        assert (latest["pid"], latest["status"], latest["exit_status"]) == (pids[2], "running", None)
        assert "record" not in latest

    def test_no_database(self, run: Callable[..., Outcome]) -> None:
        outcome = run("list")
        assert (outcome.status, outcome.out) == (3, "")
        assert "error: no calibration database at " in outcome.err
        assert "it is made by the first: flatcore run" in outcome.err


class TestShow:
    def test_everything(self, run: Callable[..., Outcome], pids: list[str]) -> None:
        outcome = run("show", pids[0])
        assert (outcome.status, outcome.err) == (0, "")
        parts = outcome.out.split("\n\n")
        assert parts[0].splitlines()[0] == f"run 1, {pids[0]}"
        head = dict(line.strip().split(maxsplit=1) for line in parts[0].splitlines()[1:])
        assert (head["status"], head["observation"]) == ("failed-qc, exit status 4", "one, SPIROU")
        assert head["versions"] == "flatcore 1.2, numpy 2.0"
        shown = {part.splitlines()[0]: [line.split() for line in part.splitlines()[1:]] for part in parts[1:]}
        assert shown["frames"][2:] == [
            ["abababababab", "a_pp.fits"], ["-", "b[bold]_pp.fits"],
            ["-", "c_pp.fits", "left", "out:", "QCC_ALL", "is", "false"],
        ]  # fmt: skip
        assert shown["calibrations"][2:] == [
            ["BADPIX", "-", "cdcdcdcdcdcd", "bad.fits", "closest", "in", "time"],
            ["LOC", "AB", "efefefefefef", "loco.fits", "named", "by", "the", "user"],
        ]
        assert shown["settings that differ from the defaults"] == [
            ["combine.method", "mean,", "not", "median"], ["calibrate.flip", "x,", "not", "the", "profile's"]
        ]  # fmt: skip
        assert shown["quality control"][2:] == [
            ["3F_pp", "AB", "fail", "max_rms", "=", "0.071235", "max_rms", "<", "0.05", "34"],
            ["3F_pp", "C", "pass", "max_rms", "=", "none", "max_rms", "<", "0.05"],
        ]
        assert shown["products"][2:] == [["FF_FLAT", "AB", "010101010101", "/red/flat.fits"]]
        assert shown["seconds"] == [["combine", "0.250"], ["blaze", "12.000"]]
        assert parts[-1] == "warning: 5 frames, fewer than the 10 of SPIROU\n"

    def test_checks_that_do_not_decide_warn(self, run: Callable[..., Outcome], runs: RunLog, pids: list[str]) -> None:
        def check(name: str, *, passed: bool, decisive: bool) -> dict[str, object]:
            return {"name": name, "value": 0.5, "limit": f"{name} < 1", "passed": passed, "decisive": decisive}

        checks = [
            check("max_rms", passed=False, decisive=True),
            check("published_rms", passed=False, decisive=False),
            check("usable", passed=True, decisive=False),
        ]
        fiber = {"passed": False, "checks": checks, "orders": [{"order": 3, "verdict": "fail"}]}
        runs.finish(pids[2], "failed-qc", 4, {"images": [{"stem": "3F_pp", "fibers": {"C": fiber}}]})
        _, _, quality = run("show", pids[2]).out.partition("quality control\n")
        *table, words = quality.splitlines()
        assert [line.split()[2:] for line in table[2:]] == [
            ["fail", "max_rms", "=", "0.5", "max_rms", "<", "1", "3"],
            ["warns", "published_rms", "=", "0.5", "published_rms", "<", "1"],
            ["pass", "usable", "=", "0.5", "usable", "<", "1"],
        ]
        assert words == "warns: is not what was asked for, but no fibre fails with it (the profile's qc.decisive)"
        assert json.loads(run("show", pids[2], "--json").out)["run"]["record"]["images"][0]["fibers"]["C"] == fiber
        # A record of before there were such checks: all decide, and nothing is to be explained.
        assert "warns" not in run("show", pids[0]).out

    def test_error(self, run: Callable[..., Outcome], pids: list[str]) -> None:
        lines = run("show", 2).out.splitlines()
        assert lines[1:3] == ["  status       error, exit status 3", "  error        a.fits: no such file"]
        assert len(lines) == 7

    def test_still_running(self, run: Callable[..., Outcome], pids: list[str]) -> None:
        assert run("show", 3).out.splitlines()[1] == "  status       running"

    def test_json(self, run: Callable[..., Outcome], pids: list[str]) -> None:
        shown = json.loads(run("show", 1, "--json").out)["run"]
        assert shown["record"] == json.loads(json.dumps(RECORD))

    def test_unknown(self, run: Callable[..., Outcome], pids: list[str]) -> None:
        outcome = run("show", 4)
        assert (outcome.status, outcome.out) == (3, "")
        assert outcome.err.endswith("has no run 4; the closest is 3\n")


def test_settings_of_another_version() -> None:
    settings = {"combine": {"method": "median", "new": 3}, "future": {"on": True}}
    assert changed_settings(settings) == {"combine.new": (3, None), "future.on": (True, None)}


def test_help_has_examples_and_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(command, click.Group)
    for name, subcommand in command.commands.items():
        with pytest.raises(SystemExit):
            main(["runs", name, "--help"])
        assert f"  flatcore runs {name}" in capsys.readouterr().out.split("Examples:\n")[1]
        for parameter in subcommand.params:
            assert not isinstance(parameter, click.Option) or parameter.help
