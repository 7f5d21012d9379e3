"""`flatcore calib verify`, `remove`, `select` and `import` as a user types them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.apero import COLUMNS
from tests.cli.test_calib import Run, files, filled, root, run, write_calibration
from tests.engines import database_url

__all__ = ["database_url", "files", "filled", "root", "run"]  # fixtures


class TestVerify:
    def test_intact(self, run: Run, filled: Path) -> None:
        outcome = run("verify", "--data-root", filled)
        assert (outcome.status, outcome.out) == (0, f"3 files in {filled / 'calib'}: 3 intact\n")

    def test_faults(self, run: Run, filled: Path, files: list[Path]) -> None:
        store = filled / "calib"
        (store / files[0].name).write_bytes(b"other")
        (store / "loco_C.fits").unlink()
        (store / "stranger.fits").touch()
        outcome = run("verify", "--data-root", filled)
        assert (outcome.status, outcome.err) == (3, "")
        lines = outcome.out.splitlines()
        assert [line.split() for line in lines[2:-1]] == [
            ["changed", "BADPIX", "a[bold]_badpixel.fits"],
            ["missing", "LOC", "C", "loco_C.fits"],
            ["unknown", "-", "stranger.fits"],
        ]
        assert lines[-1] == f"4 files in {store}: 1 intact, 1 changed, 1 missing, 1 unknown"
        answer = run("verify", "--json", "--data-root", filled)
        assert answer.status == 3
        states = {file["filename"]: file["state"] for file in json.loads(answer.out)["files"]}
        assert states["stranger.fits"] == "unknown"
        assert len(states) == 4


class TestRemove:
    def test_by_name_and_key(self, run: Run, filled: Path, files: list[Path]) -> None:
        outcome = run("remove", files[0].name, "LOC", "loco_C.fits", "--yes", "--data-root", filled)
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.out.splitlines()[-1] == f"removed 3 calibrations and 3 files from {filled}/calib/flatcore.db"
        assert [path.name for path in (filled / "calib").iterdir()] == ["flatcore.db"]

    def test_keep_file(self, run: Run, filled: Path) -> None:
        outcome = run("remove", "loco_C.fits", "--keep-file", "--yes", "--data-root", filled)
        assert "removed 1 calibration and 0 files" in outcome.out
        assert run("verify", "--data-root", filled).status == 3

    def test_unused_only(self, run: Run, filled: Path, tmp_path: Path) -> None:
        other = write_calibration(tmp_path / "other" / "loco_C.fits", "LOC_LOCO", "C", 59094.5)
        run("add", other, "--ref", "--replace", "--data-root", filled)
        outcome = run("remove", "LOC", "--unused-only", "--yes", "--json", "--data-root", filled)
        answer = json.loads(outcome.out)
        assert [(c["filename"], c["used"]) for c in answer["calibrations"]] == [("loco_C.fits", False)]
        assert answer["deleted_files"] == []
        assert run("verify", "--data-root", filled).status == 0
        assert "removed 0 calibrations" in run("remove", "LOC", "--unused-only", "--data-root", filled).out

    def test_asks_on_a_terminal(self, run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        for answer, status, left in (("n", 130, 3), ("y", 0, 2)):
            monkeypatch.setattr("click.termui.visible_prompt_func", lambda _, answer=answer: answer)
            outcome = run("remove", "loco_C.fits", "--data-root", filled)
            assert outcome.status == status
            assert "loco_C.fits" in outcome.out
            assert len(CalibrationDatabase.open(filled).records()) == left

    def test_no_terminal(self, run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        outcome = run("remove", "loco_C.fits", "--data-root", filled)
        assert outcome.status == 2
        assert "1 calibration would be removed, and there is no terminal to ask on; give --yes" in outcome.err
        assert len(CalibrationDatabase.open(filled).records()) == 3

    def test_unknown(self, run: Run, filled: Path) -> None:
        outcome = run("remove", "LOC", "loco_D.fits", "--yes", "--data-root", filled)
        assert outcome.status == 3
        assert "has no file and no key named loco_D.fits; did you mean loco_C.fits?" in outcome.err
        assert len(CalibrationDatabase.open(filled).records()) == 3


class TestSelect:
    def test_file(self, run: Run, filled: Path, tmp_path: Path) -> None:
        frame = write_calibration(tmp_path / "frame.fits", "EXT_PP", mjd=59092.75)
        outcome = run("select", frame, "--data-root", filled)
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0] == ("observation of 2020-08-31 18:00:00 UTC; closest in time, within 7 days unless a reference")
        assert lines[2].split() == ["key", "fibre", "verdict", "time", "(UTC)", "away", "file", "why"]
        rows = {tuple(line.split()[:2]): line for line in lines[4:-1]}
        assert "2020-09-01 12:00:00  18.0 h newer  loco_C.fits" in rows["LOC", "C"]
        assert rows["DARKREF", "-"].split(maxsplit=3)[2:] == ["none", "no calibration of this key"]
        assert lines[-1] == f"3 of 11 resolved in {filled}/calib/flatcore.db"

    def test_why_none(self, run: Run, filled: Path) -> None:
        outcome = run("select", "--time", "2021-01-01T12:00", "--key", "LOC", "--fiber", "C", "--data-root", filled)
        lines = [line.split() for line in outcome.out.splitlines()[4:-1]]
        assert lines[0] == ["LOC", "C", "none"]
        assert lines[1][:2] == ["too", "old"]
        assert lines[1][4:7] == ["122.0", "d", "older"]
        assert lines[2][:2] == ["other", "fibre"]
        assert lines[2][-3:] == ["of", "fibre", "AB"]

    def test_closest_few_unless_all(self, run: Run, filled: Path, tmp_path: Path) -> None:
        for number in range(6):
            path = write_calibration(tmp_path / f"bad_{number}.fits", "BADPIX", mjd=59093.5 + number)
            assert run("add", path, "--data-root", filled).status == 0
        args = ("select", "--time", "59092.5", "--key", "BADPIX", "--data-root", filled)
        few = run(*args).out.splitlines()[4:-1]
        assert [line.split()[-1] for line in few[-1:]] == ["further"]
        assert few[-1].strip() == "and 3 further"
        assert len(few) == 5
        assert len(run(*args, "--all").out.splitlines()[4:-1]) == 7
        older = run(*args, "--mode", "older").out.splitlines()[4]
        assert "a[bold]_badpixel.fits  the closest older one" in older
        assert "same time" in older

    def test_file_that_is_missing(self, run: Run, filled: Path) -> None:
        (filled / "calib" / "loco_C.fits").unlink()
        outcome = run("select", "--time", "59092.5", "--fiber", "C", "--data-root", filled)
        assert "its file is missing from calib" in outcome.out

    def test_json(self, run: Run, filled: Path) -> None:
        args = ("select", "--time", "59092.5", "--key", "LOC", "--max-age-days", "0.5", "--json", "--data-root", filled)
        answer = json.loads(run(*args).out)
        assert answer["observation"] == {
            "time": "2020-08-31T12:00:00.000", "unixtime": 1598875200.0, "mode": "closest", "max_age_days": 0.5
        }  # fmt: skip
        assert [(s["keyname"], s["fiber"], bool(s["chosen"])) for s in answer["selections"]] == [
            ("LOC", "AB", True), ("LOC", "C", False)
        ]  # fmt: skip
        assert [c["verdict"] for c in answer["selections"][1]["candidates"]] == ["too new", "other fibre"]
        assert len(answer["calibrations"]) == 1

    @pytest.mark.parametrize(
        ("args", "status", "message"),
        [
            ([], 2, "give the observation's file or its --time, one of the two"),
            (["a.fits", "--time", "1"], 2, "give the observation's file or its --time, one of the two"),
            (["--time", "noon"], 2, "error: 'noon' is not a time: expected ISO 8601"),
            (["--time", "nan"], 2, "is not a time"),
            (["--time", "1", "--mode", "nearest"], 2, "unknown choice of calibrations 'nearest'"),
            (["--time", "1", "--max-age-days", "-1"], 2, "must be 0 or more"),
            (["--time", "1", "--key", "BADPX"], 2, "did you mean BADPIX?"),
            (["a.fits"], 3, "error: a.fits: no such file"),
        ],
    )
    def test_wrong_usage(self, args: list[str], status: int, message: str, run: Run, filled: Path) -> None:
        outcome = run("select", *args, "--data-root", filled)
        assert (outcome.status, outcome.out) == (status, "")
        assert message in outcome.err


class TestImport:
    @pytest.fixture
    def table(self, files: list[Path], tmp_path: Path) -> Path:
        time = ["2020-08-31 12:00:00", 1598875200.0, "PID-1", "2020-09-01", 1]
        rows = [["LOC", "C", 0, "loco_C.fits", *time], ["WAVE", "AB", 0, "wave.fits", *time]]
        with (tmp_path / "calib.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        return tmp_path / "calib.csv"

    def test_unknown_keys(self, run: Run, root: Path, table: Path) -> None:
        outcome = run("import", table, "--data-root", root)
        assert (outcome.status, outcome.out) == (3, "")
        assert "1 row of keys that flatcore does not use: WAVE; known keys are" in outcome.err
        assert list(root.iterdir()) == []
        outcome = run("import", table, "--skip-unknown", "--data-root", root)
        assert outcome.status == 0
        assert outcome.err == "skipped row 2, WAVE, wave.fits: unknown key\n"
        assert outcome.out.splitlines()[2].split() == ["LOC", "C", "2020-08-31", "12:00:00", "loco_C.fits"]
        assert outcome.out.endswith(f"imported 1 calibration into {root}/calib/flatcore.db, skipped 1 row\n")

    def test_missing_files(self, run: Run, root: Path, table: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        args = ("import", table, "--files", tmp_path / "empty", "--skip-unknown", "--data-root", root)
        outcome = run(*args)
        assert outcome.status == 3
        assert "empty: 1 file of calib.csv missing: loco_C.fits; say where" in outcome.err
        answer = json.loads(run(*args, "--skip-missing", "--json").out)
        assert answer["calibrations"] == []
        assert [row["reason"] for row in answer["skipped"]] == ["file missing", "unknown key"]


def test_every_command_on_either_engine(
    run: Run, root: Path, files: list[Path], database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_url:
        monkeypatch.setenv("FLATCORE_DATABASE", database_url)
    monkeypatch.setenv("FLATCORE_DATA", str(root))
    for args in (["add", *files], ["list"], ["show", "LOC"], ["select", "--time", "59092.5"], ["verify"],
                 ["remove", "LOC", "--yes"]):  # fmt: skip
        outcome = run(*args)
        assert (outcome.status, outcome.err) == (0, "")
    assert run("list").out.splitlines()[-1] == f"1 calibration in {CalibrationDatabase.open(root, database_url).name}"
    assert (root / "calib" / "flatcore.db").exists() == (database_url is None)


def test_option_wins_over_the_environment(
    run: Run, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATCORE_DATABASE", "nosuch://host/name")
    outcome = run("list", "--data-root", filled)
    assert outcome.status == 2
    assert "database URL: nosuch is not supported: expected postgresql or sqlite" in outcome.err
    url = f"sqlite:///{filled}/calib/flatcore.db"
    assert run("list", "--database-url", url, "--data-root", filled).status == 0


def test_add_as_json(run: Run, root: Path, files: list[Path]) -> None:
    answer = json.loads(run("add", *files, "--json", "--data-root", root).out)
    assert [record["keyname"] for record in answer["calibrations"]] == ["BADPIX", "LOC", "LOC"]
