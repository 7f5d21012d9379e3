"""Nights in an object storage: fetched, run on a local disk, and brought back."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from flatcore.caldb import CalibrationDatabase, RunLog
from tests.cli.command import run
from tests.many import copy_root, make_nights, products

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")

ONE_FIBER = ("--fiber", "C")
BUCKET = "observatory"


@pytest.fixture(scope="module")
def server():
    """An S3 server of this machine."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def local(small_night, tmp_path_factory):
    """Three nights in a folder; not to be changed."""
    root = tmp_path_factory.mktemp("local") / "root"
    make_nights(small_night, root, 3)
    return root


@pytest.fixture
def stored(server, local, tmp_path, monkeypatch):
    """The same in a storage, with the database in a folder; and how the command reaches it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    options = {"client_kwargs": {"endpoint_url": server}, "key": "any", "secret": "any"}
    system = fsspec.filesystem("s3", **options)
    if system.exists(BUCKET):
        system.rm(BUCKET, recursive=True)
    system.mkdir(BUCKET)
    for path in sorted(local.rglob("*.fits")):
        system.put_file(str(path), f"{BUCKET}/data/{path.relative_to(local).as_posix()}")
    shutil.copyfile(local / "calib" / "flatcore.db", tmp_path / "flatcore.db")
    arguments = ["--data-root", f"s3://{BUCKET}/data", "--database-url", f"sqlite:///{tmp_path}/flatcore.db"]
    for name, value in options.items():
        arguments += ["--storage-option", f"{name}={json.dumps(value)}"]
    return system, [*arguments, "--stage", str(tmp_path / "stage")]


@pytest.mark.parametrize("workers", [1, 2])
def test_products_are_those_of_a_folder(stored, local, tmp_path, capsys, workers):
    system, arguments = stored
    here = copy_root(local, tmp_path / "here")
    assert run("process", "--data-root", here, *ONE_FIBER, "--quiet") == 0
    capsys.readouterr()
    assert run("process", *arguments, *ONE_FIBER, "--json", "--workers", workers) == 0
    told = json.loads(capsys.readouterr().out)["nights"]
    assert [night["status"] for night in told] == ["done"] * 3
    assert all(path.startswith(f"s3://{BUCKET}/data/red/") for night in told for path in night["products"])
    system.invalidate_cache()
    system.get(f"{BUCKET}/data/red", str(tmp_path / "there" / "red"), recursive=True)
    assert products(tmp_path / "there") == products(here)
    # Flats and blazes are calibrations, there as here; nothing stays on the local disk but fetched calibrations.
    names = {Path(name).name for name in system.ls(f"{BUCKET}/data/calib", refresh=True)}
    made = {r.filename: r.sha256 for r in CalibrationDatabase.open(here).records() if r.keyname in ("FLAT", "BLAZE")}
    database = CalibrationDatabase.open(tmp_path, f"sqlite:///{tmp_path}/flatcore.db")
    recorded = {r.filename: r.sha256 for r in database.records() if r.keyname in ("FLAT", "BLAZE")}
    assert set(made) == set(recorded) <= names
    for name, sha256 in recorded.items():
        system.get_file(f"{BUCKET}/data/calib/{name}", str(tmp_path / name))
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["calib"]
    # The log of each run is there too.
    logs = [Path(name).stem for name in system.ls(f"{BUCKET}/data/log", refresh=True)]
    assert sorted(logs) == sorted(night["pid"] for night in told)
    # Nothing has changed: nothing is done.
    assert run("process", *arguments, *ONE_FIBER, "--json") == 0
    assert [night["why"] for night in json.loads(capsys.readouterr().out)["nights"]] == ["unchanged"] * 3
    system.rm(told[1]["products"][0])
    assert run("process", *arguments, *ONE_FIBER, "--json", "--dry-run") == 0
    whys = [night["why"] for night in json.loads(capsys.readouterr().out)["nights"]]
    assert whys == ["unchanged", "products are missing or changed", "unchanged"]


def test_a_calibration_that_is_not_the_recorded_one_is_refused(stored, capsys):
    system, arguments = stored
    dark = next(name for name in system.ls(f"{BUCKET}/data/calib") if "dark" in name.lower())
    system.pipe_file(dark, b"something else")
    assert run("process", *arguments, *ONE_FIBER, "2020-08-02") == 3
    assert "recorded as" in capsys.readouterr().out
    system.rm(dark)
    assert run("process", *arguments, *ONE_FIBER, "2020-08-02") == 3
    assert "no such file or folder in the storage" in capsys.readouterr().out
    failed = RunLog.open("/nonexistent", arguments[3]).records("2020-08-02")
    assert [record.status for record in failed] == ["error", "error"]


def test_nothing_stays_of_a_night_that_failed_or_whose_worker_was_killed(stored, tmp_path):
    system, arguments = stored
    frame = next(name for name in system.ls(f"{BUCKET}/data/tmp/2020-08-02") if name.endswith(".fits"))
    system.pipe_file(frame, system.cat_file(frame)[:200_000])
    killed = tmp_path / "stage" / "PID-20200101T000000.000000"
    (killed / "tmp").mkdir(parents=True)
    at_work = tmp_path / "stage" / "PID-20200101T000000.000001"
    at_work.mkdir()
    with FileLock(tmp_path / "stage" / f".{at_work.name}.lock"):
        assert run("process", *arguments, *ONE_FIBER, "2020-08-02", "--quiet") == 3
        left = {path.name for path in (tmp_path / "stage").iterdir() if path.is_dir()}
        assert left == {at_work.name, "calib"}
    database = f"sqlite:///{tmp_path}/flatcore.db"
    (failed,) = RunLog.open(tmp_path, database).records("2020-08-02")
    log = system.cat_file(f"{BUCKET}/data/log/{failed.pid}.jsonl").decode().splitlines()
    assert "truncated" in json.loads(log[-1])["message"]


def test_a_stage_that_cannot_be_written_is_told(stored, tmp_path, capsys):
    _, arguments = stored
    (tmp_path / "stage").write_text("in the way")
    assert run("process", *arguments, *ONE_FIBER, "2020-08-02", "--quiet") == 3
    told = capsys.readouterr().err
    assert "Traceback" not in told and "internal" not in told and str(tmp_path / "stage") in told


def test_a_storage_that_does_not_answer_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}, "key": "any", "secret": "any"}
    arguments = ["--data-root", "s3://bucket/data", "--database-url", f"sqlite:///{tmp_path}/flatcore.db"]
    for name, value in options.items():
        arguments += ["--storage-option", f"{name}={json.dumps(value)}"]
    assert run("process", *arguments) == 3
    told = capsys.readouterr().err
    assert "Traceback" not in told and "s3://bucket/data/tmp: cannot be read from the storage" in told


@pytest.mark.parametrize(
    ("left_out", "words"),
    [("--database-url", "a storage cannot hold the database"), ("--stage", "give a folder to run nights in")],
)
def test_what_a_storage_needs(stored, capsys, left_out, words):
    _, arguments = stored
    at = arguments.index(left_out)
    assert run("process", *arguments[:at], *arguments[at + 2 :], *ONE_FIBER) == 2
    assert words in capsys.readouterr().err


def test_a_kind_of_storage_that_is_unknown(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/flatcore.db"
    assert run("process", "--data-root", "nowhere://bucket", "--database-url", url) == 2
    assert "--data-root nowhere://bucket: cannot be opened" in capsys.readouterr().err
