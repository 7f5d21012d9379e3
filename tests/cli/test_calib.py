"""`flatcore calib` as a user types it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits

from flatcore.cli import main
from flatcore.cli.calib import command

SHARED = Path(__file__).parents[2].parent / "shared"


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `flatcore calib` with arguments."""
    monkeypatch.delenv("FLATCORE_DATA", raising=False)
    monkeypatch.delenv("FLATCORE_DATABASE", raising=False)

    def running(*args: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["calib", *map(str, args)])
        printed = capsys.readouterr()
        return Outcome(stop.value.code, printed.out, printed.err)  # type: ignore[arg-type]

    return running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_calibration(path: Path, outid: str, fiber: str | None = None, mjd: float | None = 59092.5) -> Path:
    primary = fits.PrimaryHDU()
    cards = {"DRSOUTID": outid, "FIBER": fiber, "MJDMID": mjd, "DRSPID": "PID-42"}
    primary.header.update({keyword: value for keyword, value in cards.items() if value is not None})
    path.parent.mkdir(exist_ok=True)
    fits.HDUList([primary, fits.ImageHDU(np.ones((2, 3), dtype=np.float32))]).writeto(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write_calibration(tmp_path / "a[bold]_badpixel.fits", "BADPIX"),
        write_calibration(tmp_path / ("long_" * 30 + "loco_AB.fits"), "LOC_LOCO", "AB"),
        write_calibration(tmp_path / "loco_C.fits", "LOC_LOCO", "C", 59093.5),
    ]


@pytest.fixture
def filled(run: Run, root: Path, files: list[Path]) -> Path:
    assert run("add", *files, "--data-root", root).status == 0
    return root


class TestAdd:
    def test_lists_what_was_added(self, run: Run, root: Path, files: list[Path]) -> None:
        outcome = run("add", *files, "--data-root", root)
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0].split() == ["key", "fibre", "time", "(UTC)", "file"]
        rows = [line.split() for line in lines[2:5]]
        assert rows == [
            ["BADPIX", "-", "2020-08-31", "12:00:00", "a[bold]_badpixel.fits"],
            ["LOC", "AB", "2020-08-31", "12:00:00", files[1].name],
            ["LOC", "C", "2020-09-01", "12:00:00", "loco_C.fits"],
        ]
        assert lines[5:] == [f"added 3 calibrations to {root / 'calib' / 'flatcore.db'}"]
        assert all(line == line.rstrip() for line in lines)
        assert all((root / "calib" / path.name).read_bytes() == path.read_bytes() for path in files)

    def test_data_root_from_the_environment(
        self, run: Run, root: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FLATCORE_DATA", str(root))
        assert run("add", files[0]).out.endswith(f"added 1 calibration to {root / 'calib' / 'flatcore.db'}\n")

    def test_key_fiber_and_ref(self, run: Run, root: Path, files: list[Path]) -> None:
        outcome = run("add", files[0], "--key", "loc", "--fiber", "B", "--ref", "--data-root", root)
        assert outcome.out.splitlines()[2].split() == [
            "LOC", "B", "2020-08-31", "12:00:00", "a[bold]_badpixel.fits", "ref"
        ]  # fmt: skip

    def test_one_bad_file_keeps_all_out(self, run: Run, root: Path, files: list[Path], tmp_path: Path) -> None:
        bad = write_calibration(tmp_path / "bad.fits", "SHAPEL", mjd=None)
        outcome = run("add", *files, bad, "--data-root", root)
        assert (outcome.status, outcome.out) == (3, "")
        assert outcome.err == (
            f"error: {bad}: header keywords MJDMID and MJDATE are missing; one must give the file's time\n"
        )
        assert list(root.iterdir()) == []

    def test_replace(self, run: Run, filled: Path, tmp_path: Path) -> None:
        other = write_calibration(tmp_path / "other" / "loco_C.fits", "LOC_LOCO", "C", 59094.5)
        refused = run("add", other, "--data-root", filled)
        assert refused.status == 3
        assert f"{other}: the store has a different file of this name" in refused.err
        assert "--replace" in refused.err
        assert run("add", other, "--replace", "--data-root", filled).status == 0
        assert "2020-09-02 12:00:00  loco_C.fits" in run("list", "--fiber", "C", "--data-root", filled).out

    @pytest.mark.parametrize(
        ("args", "status", "message"),
        [
            ([], 2, "Missing argument 'FILE...'"),
            (["missing.fits"], 3, "error: missing.fits: no such file"),
            (["missing.fits", "--fibre", "AB"], 2, "No such option"),
        ],
    )
    def test_wrong_usage(self, args: list[str], status: int, message: str, run: Run, root: Path) -> None:
        outcome = run("add", *args, "--data-root", root)
        assert (outcome.status, outcome.out) == (status, "")
        assert message in outcome.err

    def test_unknown_key(self, run: Run, root: Path, files: list[Path]) -> None:
        outcome = run("add", files[0], "--key", "BADPX", "--data-root", root)
        assert outcome.status == 2
        assert outcome.err.startswith("error: unknown calibration key 'BADPX': did you mean BADPIX?")

    def test_golden_calibrations(self, run: Run, root: Path) -> None:
        folder = SHARED / "golden" / "night101" / "calib"
        if not folder.is_dir():
            pytest.skip(f"no {folder}")
        outcome = run("add", *sorted(folder.glob("*.fits")), "--data-root", root)
        assert (outcome.status, outcome.err) == (0, "")
        assert [line.split()[0] for line in outcome.out.splitlines()[2:-1]] == [
            "BADPIX", "BKGRDMAP", "DARKREF", "LOC", "LOC", "ORDER_PROFILE", "ORDER_PROFILE", "SHAPEL", "SHAPEX",
            "SHAPEY",
        ]  # fmt: skip
        assert (
            json.loads(run("show", "DARKM", "--json", "--data-root", root).out)["calibrations"][0]["state"] == "intact"
        )


class TestList:
    def test_all(self, run: Run, filled: Path, files: list[Path]) -> None:
        outcome = run("list", "--data-root", filled)
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert [line.split()[-1] for line in lines[2:-1]] == [path.name for path in files]
        assert lines[-1] == f"3 calibrations in {filled / 'calib' / 'flatcore.db'}"

    def test_of_one_key_and_fibre(self, run: Run, filled: Path) -> None:
        assert run("list", "--key", "LOC_LOCO", "--data-root", filled).out.endswith(
            f"2 calibrations in {filled}/calib/flatcore.db\n"
        )
        assert "1 calibration in" in run("list", "--key", "LOC", "--fiber", "C", "--data-root", filled).out

    def test_none_of_a_key(self, run: Run, filled: Path) -> None:
        outcome = run("list", "--key", "FLAT", "--data-root", filled)
        assert (outcome.status, outcome.out) == (0, f"0 calibrations in {filled / 'calib' / 'flatcore.db'}\n")

    def test_unused_rows_are_marked(self, run: Run, filled: Path) -> None:
        connection = sqlite3.connect(filled / "calib" / "flatcore.db")
        with connection:
            connection.execute("UPDATE calibrations SET USED = 0 WHERE FIBER = 'C'")
        connection.close()
        lines = run("list", "--data-root", filled).out.splitlines()
        assert [line.split()[-1] == "unused" for line in lines[2:-1]] == [False, False, True]

    def test_json(self, run: Run, filled: Path, files: list[Path]) -> None:
        answer = json.loads(run("list", "--key", "LOC", "--fiber", "C", "--json", "--data-root", filled).out)
        assert answer["database"] == str(filled / "calib" / "flatcore.db")
        (record,) = answer["calibrations"]
        assert record.pop("pdate").startswith("20")
        assert record == {
            "keyname": "LOC",
            "fiber": "C",
            "reference": False,
            "filename": "loco_C.fits",
            "humantime": "2020-09-01T12:00:00.000",
            "unixtime": (59093.5 - 40587) * 86400,
            "pid": "PID-42",
            "used": True,
            "sha256": hashlib.sha256(files[2].read_bytes()).hexdigest(),
        }

    def test_no_database(self, run: Run, root: Path) -> None:
        outcome = run("list", "--data-root", root)
        assert (outcome.status, outcome.out) == (3, "")
        assert outcome.err == (
            f"error: no calibration database at {root / 'calib' / 'flatcore.db'}; "
            "add files with: flatcore calib add FILE\n"
        )
        assert list(root.iterdir()) == []


class TestShow:
    def test_file(self, run: Run, filled: Path, files: list[Path]) -> None:
        outcome = run("show", "loco_C.fits", "--data-root", filled)
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert lines[0] == "LOC C"
        shown = dict(line.split(maxsplit=1) for line in lines[1:])
        assert shown.pop("added").endswith(" UTC")
        assert shown == {
            "file": str(filled / "calib" / "loco_C.fits"),
            "state": "intact",
            "time": "2020-09-01T12:00:00.000 UTC (1598961600.000 s)",
            "reference": "no",
            "used": "yes",
            "run": "PID-42",
            "sha256": hashlib.sha256(files[2].read_bytes()).hexdigest(),
        }

    def test_key_or_its_other_name(self, run: Run, filled: Path) -> None:
        for name in ("LOC", "loc_loco"):
            lines = run("show", name, "--data-root", filled).out.splitlines()
            assert [line for line in lines if line.startswith("LOC")] == ["LOC AB", "LOC C"]

    def test_file_by_its_path(self, run: Run, filled: Path) -> None:
        assert run("show", filled / "calib" / "loco_C.fits", "--data-root", filled).out.startswith("LOC C\n")

    def test_states(self, run: Run, filled: Path, files: list[Path]) -> None:
        (filled / "calib" / files[0].name).write_bytes(b"other")
        (filled / "calib" / "loco_C.fits").unlink()
        states = {
            name: json.loads(run("show", name, "--json", "--data-root", filled).out)["calibrations"][0]["state"]
            for name in ("BADPIX", files[1].name, "loco_C.fits")
        }
        assert list(states.values()) == ["changed", "intact", "missing"]

    def test_json_tells_the_path(self, run: Run, filled: Path) -> None:
        (known,) = json.loads(run("show", "loco_C.fits", "--json", "--data-root", filled).out)["calibrations"]
        assert known["path"] == str(filled / "calib" / "loco_C.fits")
        assert (known["keyname"], known["fiber"], known["state"]) == ("LOC", "C", "intact")

    @pytest.mark.parametrize(
        ("name", "hint"), [("loco_D.fits", "did you mean loco_C.fits?"), ("badpx", "did you mean BADPIX?"),
                           ("zzz", "see: flatcore calib list")]
    )  # fmt: skip
    def test_unknown(self, name: str, hint: str, run: Run, filled: Path) -> None:
        outcome = run("show", name, "--data-root", filled)
        assert (outcome.status, outcome.out) == (3, "")
        assert outcome.err.endswith(f"flatcore.db: has no file and no key named {name}; {hint}\n")


class TestEverySubcommand:
    ARGS = (
        ("add", "a.fits"), ("list",), ("show", "LOC"), ("verify",), ("remove", "LOC"), ("select", "--time", "1"),
        ("import", "calib.csv"),
    )  # fmt: skip

    @pytest.mark.parametrize("args", ARGS)
    def test_data_root_is_required(self, args: tuple[str, ...], run: Run) -> None:
        outcome = run(*args)
        assert outcome.status == 2
        assert "--data-root" in outcome.err
        assert "FLATCORE_DATA" in outcome.err

    @pytest.mark.parametrize("args", ARGS)
    def test_data_root_must_exist(self, args: tuple[str, ...], run: Run, tmp_path: Path) -> None:
        outcome = run(*args, "--data-root", tmp_path / "nowhere")
        assert outcome.status == 2
        assert "nowhere' does not exist" in outcome.err

    @pytest.mark.parametrize("args", [args for args in ARGS if args[0] not in ("add", "import")])
    def test_corrupt_database(self, args: tuple[str, ...], run: Run, filled: Path) -> None:
        (filled / "calib" / "flatcore.db").write_bytes(b"broken " * 500)
        outcome = run(*args, "--data-root", filled)
        assert (outcome.status, outcome.out) == (3, "")
        assert "flatcore.db: cannot read the calibration database: file is not a database" in outcome.err
        assert "Traceback" not in outcome.err

    def test_help_has_examples(self, run: Run) -> None:
        assert isinstance(command, click.Group)
        for name in ("", *command.commands):
            outcome = run(*filter(None, [name]), "--help")
            assert outcome.status == 0
            assert f"  flatcore calib {name}".rstrip() in outcome.out.split("Examples:\n")[1]

    def test_every_option_is_explained(self) -> None:
        assert isinstance(command, click.Group)
        for subcommand in command.commands.values():
            for parameter in subcommand.params:
                assert not isinstance(parameter, click.Option) or parameter.help
