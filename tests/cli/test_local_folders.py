"""Commands that need a local folder, given a URL."""

import json

import pytest

from flatcore.caldb import RunLog
from tests.cli.command import OBS_DIR, refused, run

STORAGE = "s3://bucket/x"
NEEDS_A_FOLDER = "needs a local folder, and found a URL"
# Commands with a data root that they read or write.
COMMANDS = {
    "run": (OBS_DIR,),
    "watch": ("--once",),
    "bootstrap": (OBS_DIR,),
    "locate": (OBS_DIR,),
    "report": ("--index",),
    "calib list": (),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_storage_as_data_root_is_refused_by_name(here, capsys, command):
    said = refused(capsys, 2, *command.split(), *COMMANDS[command], "--data-root", STORAGE)
    reads = "flatcore process reads from an object storage"
    assert said == f"error: --data-root {STORAGE}: flatcore {command} {NEEDS_A_FOLDER}; {reads}\n"
    assert not list(here.iterdir())


def test_a_file_url_is_told_the_folder(here, capsys):
    said = refused(capsys, 2, "run", OBS_DIR, "--data-root", f"file://{here}")
    assert f"--data-root file://{here}: flatcore run needs a local folder, such as {here}, and found a URL" in said
    assert "flatcore process" in said


def test_the_environment_is_named_where_it_has_the_url(here, capsys, monkeypatch):
    monkeypatch.setenv("FLATCORE_DATA", STORAGE)
    assert f"error: FLATCORE_DATA={STORAGE}: flatcore run {NEEDS_A_FOLDER}" in refused(capsys, 2, "run", OBS_DIR)


@pytest.mark.parametrize(
    "command",
    [
        ("run", OBS_DIR, "--force_indir"),
        ("run", OBS_DIR, "--force_outdir"),
        ("watch", "--once", "--force_indir"),
        ("watch", "--once", "--force_outdir"),
        ("bootstrap", OBS_DIR, "--force_indir"),
    ],
    ids=" ".join,
)
def test_other_folders_too(here, capsys, command):
    option = command[-1]
    said = refused(capsys, 2, *command, STORAGE, "--data-root", here)
    assert f"error: {option} {STORAGE}: flatcore {command[0]} {NEEDS_A_FOLDER}" in said
    assert not list(here.iterdir())


def test_a_stage_and_a_simulation_are_local(here, capsys):
    said = refused(capsys, 2, "process", "--data-root", STORAGE, "--stage", "s3://bucket/stage")
    assert said == f"error: --stage s3://bucket/stage: flatcore process {NEEDS_A_FOLDER}\n"
    assert refused(capsys, 2, "simulate", STORAGE) == f"error: DIR {STORAGE}: flatcore simulate {NEEDS_A_FOLDER}\n"
    assert not list(here.iterdir())


def test_runs_are_in_the_database(here, capsys):
    database = f"sqlite:///{here}/runs.db"
    pid = RunLog.open(here, database).start(obs_dir=OBS_DIR, instrument="SMALL")
    said = refused(capsys, 2, "runs", "list", "--data-root", STORAGE)
    assert f"--data-root {STORAGE}: flatcore runs list {NEEDS_A_FOLDER}" in said and "--database-url" in said
    # Given the database, the data root is not needed, and may be a storage.
    for root in ((), ("--data-root", STORAGE), ("--data-root", here / "nowhere")):
        assert run("runs", "show", pid, "--json", *root, "--database-url", database) == 0
        assert json.loads(capsys.readouterr().out)["run"]["pid"] == pid
    assert "Missing option '--data-root'" in refused(capsys, 2, "runs", "list")
    assert "does not exist" in refused(capsys, 2, "runs", "list", "--data-root", here / "nowhere")
