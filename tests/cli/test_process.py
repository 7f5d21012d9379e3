"""Many nights by one command: what is run and why, what is left alone, and what comes of failures."""

import json
import os
import shlex
import shutil

import pytest
from astropy.io import fits

from flatcore.caldb import CalibrationDatabase, RunLog
from flatcore.cli.batch_table import print_batch
from flatcore.nights import BatchResult, NightReport
from tests.cli.command import run
from tests.many import add_night, calibration_rows, copy_root, leftovers, make_nights, products, run_rows

ONE_FIBER = ("--fiber", "C")


@pytest.fixture(scope="session")
def three_nights(small_night, tmp_path_factory):
    """Three nights on which nothing was run; not to be changed."""
    root = tmp_path_factory.mktemp("three") / "root"
    make_nights(small_night, root, 3)
    return root


@pytest.fixture(scope="session")
def three_done(three_nights, tmp_path_factory):
    """The same, run; not to be changed."""
    root = copy_root(three_nights, tmp_path_factory.mktemp("done") / "root")
    assert run("process", "--data-root", root, *ONE_FIBER, "--quiet") == 0
    return root


@pytest.fixture
def done(three_nights, tmp_path):
    """The three nights run, in a data root that a test may change."""
    root = copy_root(three_nights, tmp_path / "root")
    assert run("process", "--data-root", root, *ONE_FIBER, "--quiet") == 0
    return root


def process(capsys, root, *arguments, status=0):
    """Run the command, and give what it tells, by night."""
    capsys.readouterr()
    assert run("process", "--data-root", root, "--json", *arguments) == status
    told = json.loads(capsys.readouterr().out)
    assert told["exit_status"] == (0 if "--dry-run" in arguments else status)
    return {night["obs_dir"]: night for night in told["nights"]}, told["causes"]


def whys(capsys, root, *arguments):
    nights, _ = process(capsys, root, "--dry-run", *arguments)
    return [(night["status"], night["why"]) for night in nights.values()]


def test_what_is_new_is_run_and_what_is_unchanged_is_left(three_nights, three_done, capsys):
    assert whys(capsys, three_nights, *ONE_FIBER) == [("would run", "new")] * 3
    assert not (three_nights / "red").exists()
    assert whys(capsys, three_done, *ONE_FIBER) == [("skipped", "unchanged")] * 3
    assert whys(capsys, three_done, *ONE_FIBER, "--force") == [("would run", "forced")] * 3
    assert whys(capsys, three_done) == [("would run", "changed: calibrations, fibres")] * 3
    changed = ("would run", "changed: settings")
    assert whys(capsys, three_done, *ONE_FIBER, "--set", "combine.method=mean") == [changed] * 3
    assert whys(capsys, three_done, *ONE_FIBER, "--report") == [("would run", "figures or a page are asked for")] * 3
    instrument = ("would run", "changed: instrument")
    assert whys(capsys, three_done, *ONE_FIBER, "--set", "blaze.cut=0.2") == [instrument] * 3


def test_a_batch_and_single_runs_know_of_each_other(done, capsys):
    root = done
    capsys.readouterr()
    assert run("run", "2020-08-02", "--data-root", root, *ONE_FIBER, "--skip-existing", "--parallel", "True") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("run", "2020-08-02", "--data-root", root, *ONE_FIBER, "--quiet") == 0
    assert whys(capsys, root, *ONE_FIBER) == [("skipped", "unchanged")] * 3


def test_what_has_changed_is_named(done, tmp_path, capsys):
    root = done
    frame = sorted((root / "tmp" / "2020-08-01").iterdir())[0]
    os.utime(frame)
    next((root / "red" / "2020-08-02").glob("*_flat_C.fits")).unlink()
    first, second, third = whys(capsys, root, *ONE_FIBER)
    assert first == ("would run", "changed: frames")
    assert second == ("would run", "products are missing or changed")
    assert third == ("skipped", "unchanged")
    dark = next(path for path in (root / "calib").glob("*.fits") if "dark" in path.name.lower())
    with fits.open(dark) as hdus:
        image = next(hdu for hdu in hdus if hdu.data is not None)
        fits.PrimaryHDU(image.data * 1.5, fits.getheader(dark)).writeto(tmp_path / "new_dark.fits")
    CalibrationDatabase.open(root).add(tmp_path / "new_dark.fits", keyname="DARKREF", unixtime=1596240000.0)
    assert whys(capsys, root, *ONE_FIBER)[2] == ("would run", "changed: calibrations")


def test_nights_are_the_same_as_one_after_the_other(three_nights, three_done, tmp_path):
    root = copy_root(three_nights, tmp_path / "root")
    for name in ("2020-08-01", "2020-08-02", "2020-08-03"):
        assert run("run", name, "--data-root", root, *ONE_FIBER, "--parallel", "True", "--quiet") == 0
    assert products(root) == products(three_done)
    assert calibration_rows(root) == calibration_rows(three_done)
    assert run_rows(root) == run_rows(three_done)
    # The later nights were held to the earlier ones.
    record = RunLog.open(three_done).find("2020-08-03").record
    previous = record["images"][0]["fibers"]["C"]["previous"]
    flat_of_second = next((three_done / "red" / "2020-08-02").glob("*_flat_C.fits"))
    assert previous["name"] == flat_of_second.name


def test_the_newest_may_begin_first(three_nights, three_done, tmp_path):
    root = copy_root(three_nights, tmp_path / "root")
    assert run("process", "--data-root", root, *ONE_FIBER, "--order", "newest", "--quiet") == 0
    assert products(root) == products(three_done)
    assert calibration_rows(root) == calibration_rows(three_done)
    begun = [record.obs_dir for record in reversed(RunLog.open(root).records())]
    assert begun == ["2020-08-03", "2020-08-02", "2020-08-01"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["2020-08-02"], {"2020-08-02"}),
        (["*-0[13]"], {"2020-08-01", "2020-08-03"}),
        (["--since", "2020-08-02"], {"2020-08-02", "2020-08-03"}),
        (["--until", "2020-08-01"], {"2020-08-01"}),
        (["--since", "7d"], set()),
        (["--include", "*1", "--include", "*2"], {"2020-08-01", "2020-08-02"}),
        (["--exclude", "*1"], {"2020-08-02", "2020-08-03"}),
        (["--kind", "DARK_FLAT"], set()),
    ],
)
def test_which_nights_are_meant(three_nights, capsys, arguments, expected):
    nights, _ = process(capsys, three_nights, "--dry-run", *arguments)
    assert set(nights) == expected


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["2020-09-*"], 3, "2020-09-*: no such night"),
        (["--since", "yesterday"], 2, "--since yesterday: expected a date"),
        (["--since", "2020-08-02", "--until", "2020-08-01"], 2, "--until 2020-08-01 is before --since"),
        (["--set", "blaze.cutt=3"], 2, "cutt"),
        (["--set", "output.save=False"], 2, "nothing would come of it"),
        (["--workers", "2", "--memory-limit", "much"], 2, "--memory-limit much: expected auto"),
        (["--workers", "2", "--memory-limit", "0.5"], 2, "a worker without a night takes up to 300.00 MiB"),
        (["--storage-option", "anon=true"], 2, "--storage-option"),
        (["--fiber", "Z"], 2, "--fiber Z: unknown"),
    ],
)
def test_wrong_usage_is_told(three_nights, tmp_path, capsys, arguments, status, words):
    root = copy_root(three_nights, tmp_path / "root")
    assert run("process", "--data-root", root, *arguments) == status
    assert words in capsys.readouterr().err
    assert not (root / "red").exists()


def test_kinds_of_a_night_are_sets_of_their_own(small_night, tmp_path, capsys):
    root = tmp_path / "root"
    make_nights(small_night, root, 1)
    originals = sorted((small_night / "tmp" / "2020-08-31").glob("*_pp.fits"))[:2]
    add_night(root, originals, 0, "DARK_FLAT")
    capsys.readouterr()
    assert run("process", "--data-root", root, "--json") == 0
    nights = json.loads(capsys.readouterr().out)["nights"]
    assert [(night["obs_dir"], night["dprtype"], night["status"]) for night in nights] == [
        ("2020-08-01", "DARK_FLAT", "done"),
        ("2020-08-01", "FLAT_FLAT", "done"),
    ]
    fibers = {RunLog.open(root).get(night["pid"]).record["dprtype"]: night["products"] for night in nights}
    assert not any("_AB" in path for path in fibers["DARK_FLAT"])
    assert any("_AB" in path for path in fibers["FLAT_FLAT"])
    # Fibre AB has no light in one of them: nothing is wrong with that.
    assert run("process", "--data-root", root, "--json", "--fiber", "AB", "--force") == 0
    nights = json.loads(capsys.readouterr().out)["nights"]
    assert [(night["status"], night["why"]) for night in nights] == [
        ("skipped", "fibre AB gets no light"),
        ("done", "forced"),
    ]


def test_failures_stay_in_their_night_and_are_tried_again(three_nights, tmp_path, capsys):
    root = copy_root(three_nights, tmp_path / "root")
    broken = sorted((root / "tmp" / "2020-08-02").iterdir())[0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    nights, causes = process(capsys, root, *ONE_FIBER, status=3)
    assert [night["status"] for night in nights.values()] == ["done", "error", "done"]
    assert len(causes) == 1 and "truncated" in causes[0]["error"] and causes[0]["nights"] == ["2020-08-02 FLAT_FLAT"]
    assert not (root / "red" / "2020-08-02").exists() or not any((root / "red" / "2020-08-02").glob("*.fits"))
    failed = RunLog.open(root).records("2020-08-02")
    assert [(r.status, r.exit_status, r.record["dprtype"]) for r in failed] == [("error", 3, "FLAT_FLAT")]
    lines = [json.loads(line) for line in (root / "log" / f"{failed[0].pid}.jsonl").read_text().splitlines()]
    assert lines[-1]["level"] == "error" and "truncated" in lines[-1]["message"]
    # The third night was held to the first.
    third = RunLog.open(root).find("2020-08-03").record["images"][0]["fibers"]["C"]["previous"]
    assert third["age_days"] == pytest.approx(2.0, abs=1e-6)
    broken.write_bytes(whole)
    nights, _ = process(capsys, root, *ONE_FIBER, "--retry-failed")
    assert [night["status"] for night in nights.values()] == ["skipped", "done", "skipped"]
    nights, _ = process(capsys, root, *ONE_FIBER, "--retry-failed")
    assert [night["why"] for night in nights.values()] == ["did not fail"] * 3


def test_nights_that_lack_the_same_calibration_are_one_line(three_nights, tmp_path, capsys):
    root = copy_root(three_nights, tmp_path / "root")
    database = CalibrationDatabase.open(root)
    database.remove(database.records("DARKREF"))
    nights, causes = process(capsys, root, *ONE_FIBER, status=3)
    assert {night["status"] for night in nights.values()} == {"error"}
    assert [len(cause["nights"]) for cause in causes] == [3]
    assert causes[0]["error"].startswith("no DARKREF calibration")
    assert {run_row[2] for run_row in run_rows(root)} == {"error"}
    assert run("process", "--data-root", root, *ONE_FIBER) == 3
    shown = capsys.readouterr().out
    assert shown.count("no DARKREF") == 1 and "3 × " in shown
    assert run("process", "--data-root", root, *ONE_FIBER, "--quiet") == 3
    told = capsys.readouterr()
    assert not told.out and told.err.startswith("3 × no DARKREF") and told.err.count("no DARKREF") == 1


def test_frames_are_those_of_the_night_wherever_the_command_is_given(three_nights, tmp_path, monkeypatch):
    root = copy_root(three_nights, tmp_path / "root")
    for path in (root / "tmp" / "2020-08-02").iterdir():
        (tmp_path / path.name).write_bytes(b"another file of that name")
    monkeypatch.chdir(tmp_path)
    assert run("process", "2020-08-02", "--data-root", root, *ONE_FIBER, "--quiet") == 0
    log = RunLog.open(root).find("2020-08-02")
    lines = [json.loads(line) for line in (root / "log" / f"{log.pid}.jsonl").read_text().splitlines()]
    told = [line["message"] for line in lines if line["level"] == "info"]
    assert len(told) == 2 and "2 FLAT_FLAT frames" in told[0] and told[1].endswith("done, 4 products")


def test_no_further_night_begins_after_too_many_failures(three_nights, tmp_path, capsys):
    root = copy_root(three_nights, tmp_path / "root")
    for path in (root / "tmp" / "2020-08-01").iterdir():
        path.write_bytes(path.read_bytes()[:100_000])
    nights, _ = process(capsys, root, *ONE_FIBER, "--max-failures", "1", status=3)
    assert [night["status"] for night in nights.values()] == ["error", "not run", "not run"]


def test_failed_quality_control_is_told_by_the_status(three_nights, tmp_path, capsys):
    root = copy_root(three_nights, tmp_path / "root")
    shutil.rmtree(root / "tmp" / "2020-08-02")
    before = calibration_rows(root)
    nights, _ = process(capsys, root, *ONE_FIBER, "--set", "qc.max_rms=1e-6", status=4)
    assert {night["status"] for night in nights.values()} == {"failed-qc"}
    assert calibration_rows(root) == before
    # Doing nothing does not make them better.
    nights, _ = process(capsys, root, *ONE_FIBER, "--set", "qc.max_rms=1e-6", status=4)
    assert {night["status"] for night in nights.values()} == {"skipped"}


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_is_whole_where_there_is_little_room(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    name = "spirou/2020 [a]/2020-08-31"
    failed = NightReport(name, "FLAT_FLAT", "error", "no dark", exit_status=3, seconds=1234.5)
    done = NightReport("2020-08-01", "DARK_FLAT", "failed-qc", "changed: calibrations, fibres", seconds=1.0)
    print_batch(BatchResult((done, failed)), dry_run=False, seconds=10.0, database="--data-root x")
    shown = capsys.readouterr().out
    assert "…" not in shown and max(map(len, shown.splitlines())) <= width
    words = shown.split()
    for word in ("2020-08-01", "DARK_FLAT", "failed", "warnings", "seconds", "1234.5", "[a]/2020-08-31", "1"):
        assert word in words
    assert "no dark" in shown and "2 sets of flats: 1 could not be run, 1 failed QC" in shown


def test_a_table_at_the_end(three_done, tmp_path, capsys):
    root = copy_root(three_done, tmp_path / "root")
    assert run("process", "--data-root", root, *ONE_FIBER, "--force", "2020-08-03") == 0
    told = capsys.readouterr()
    assert "2020-08-03 FLAT_FLAT | done" in told.err
    assert "forced" in told.out and "1 set of flats: 1 done" in told.out
    assert not leftovers(root)


def test_the_end_tells_where_the_warnings_are(three_nights, tmp_path, capsys):
    root = copy_root(three_nights, tmp_path / "a root")
    url = f"sqlite:///{root}/calib/flatcore.db"
    for given, named in (
        (("--data-root", root), ("--data-root", str(root))),
        (("--data-root", f"file://{root}"), ("--data-root", str(root))),
        (("--data-root", root, "--database-url", url), ("--database-url", "URL")),
    ):
        capsys.readouterr()
        assert run("process", "2020-08-0[12]", *given, *ONE_FIBER, "--force", "--set", "qc.min_usable=0.9999") == 0
        lines = capsys.readouterr().out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("warnings are told by: "))
        command = shlex.split(lines[at].partition(": ")[2])
        assert command == ["flatcore", "runs", "show", "PID", *named]
        shown = [line.split() for line in lines[at + 1 : at + 3]]
        assert [(night, kind) for _, night, kind in shown] == [(f"2020-08-0{i}", "FLAT_FLAT") for i in (1, 2)]
        for pid, night, _ in shown:
            # The number in the table is that of the warnings shown there.
            count = next(line for line in lines if night in line and "forced" in line).split("│")[-3].strip()
            asked = [{"PID": pid, "URL": url}.get(word, word) for word in command[1:]]
            assert run(*asked) == 0
            assert capsys.readouterr().out.count("\nwarning: ") == int(count) > 0
    assert run("process", "2020-08-0[12]", "--data-root", root, *ONE_FIBER, "--set", "qc.min_usable=0.9999") == 0
    assert "warnings are told by" not in capsys.readouterr().out


def test_of_many_nights_with_warnings_some_are_named(capsys):
    record = {"warnings": ["w"]}
    nights = [NightReport(f"n{i}", "FLAT_FLAT", "done", pid=f"PID-{i}", seconds=1.0, record=record) for i in range(6)]
    print_batch(BatchResult(tuple(nights)), dry_run=False, seconds=10.0, database="--data-root x")
    _, _, after = capsys.readouterr().out.partition("warnings are told by: flatcore runs show PID --data-root x\n")
    assert after.splitlines()[:5] == [
        *(f"    PID-{i}  n{i} FLAT_FLAT" for i in range(4)), "    and 2 more: flatcore runs list --data-root x"
    ]  # fmt: skip
