"""A process that is killed while it brings files into the store: the next one repairs what it left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.incoming import FOLDER, abandoned, incoming
from flatcore.caldb.integrity import verify
from flatcore.errors import InputError
from tests.engines import database_url
from tests.unit.test_caldb import database, root, stored_names, write_calibration

__all__ = ["database", "database_url", "root"]  # fixtures

# A process that adds a file and is killed before or after some step of it.
KILLED = """
import os, signal, sys
from flatcore.caldb import CalibrationDatabase, database, store

root, url, path, name, when = sys.argv[1:]
owner, step = {"stage": (database.Delivery, "stage"), "place": (database.Delivery, "place"),
               "keep": (database.Delivery, "keep"), "replacement": (store.Delivery, "_place")}[name]
real = getattr(owner, step)

def killed(*arguments, **named):
    result = real(*arguments, **named) if when == "after" else None
    os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, step, killed)
CalibrationDatabase.open(root, url or None).add(path, replace=True)
"""


def add_and_be_killed(database: CalibrationDatabase, url: str | None, path: Path, step: str, when: str) -> None:
    command = [sys.executable, "-c", KILLED, str(database.store.parent), url or "", str(path), step, when]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("step", "when", "recorded"),
    [
        ("stage", "after", False),
        ("replacement", "before", False),
        ("replacement", "after", False),
        ("place", "after", False),
        ("keep", "before", True),
    ],
)
def test_a_replacement_is_whole_or_taken_back(
    database: CalibrationDatabase, database_url: str | None, tmp_path: Path, step: str, when: str, recorded: bool
) -> None:
    former = database.add(write_calibration(tmp_path / "former" / "a.fits", 1.0))
    later = write_calibration(tmp_path / "later" / "a.fits", 2.0)
    add_and_be_killed(database, database_url, later, step, when)
    assert (database.store / FOLDER).is_dir()
    database.add(write_calibration(tmp_path / "b.fits", 3.0))
    files = verify(database)
    assert [(file.filename, file.state) for file in files] == [("a.fits", "intact"), ("b.fits", "intact")]
    assert (files[0].sha256 == former.sha256) == (not recorded)
    assert stored_names(database.store.parent) == ["a.fits", "b.fits"]
    database.add(later, replace=True)
    assert [file.state for file in verify(database)] == ["intact", "intact"]


@pytest.mark.parametrize(("step", "when"), [("stage", "after"), ("place", "after")])
def test_a_new_file_can_be_added_again(
    database: CalibrationDatabase, database_url: str | None, tmp_path: Path, step: str, when: str
) -> None:
    path = write_calibration(tmp_path / "a.fits")
    add_and_be_killed(database, database_url, path, step, when)
    database.add(path)
    assert [(file.filename, file.state) for file in verify(database)] == [("a.fits", "intact")]
    assert stored_names(database.store.parent) == ["a.fits"]


def test_what_is_under_way_is_left_alone(tmp_path: Path) -> None:
    waiting = f"""
import sys, time
from pathlib import Path
from flatcore.caldb.incoming import incoming
with incoming(Path({str(tmp_path)!r})) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        other = Path(process.stdout.readline().strip())
        with incoming(tmp_path), abandoned(tmp_path) as folders:
            assert folders == []
        assert other.is_dir()
        process.kill()
        process.wait(60)
        with abandoned(tmp_path) as folders:
            assert folders == [other]
    assert not other.exists() and not (tmp_path / FOLDER).exists()


def test_an_error_of_the_repair_leaves_it_for_the_next(tmp_path: Path) -> None:
    left = tmp_path / FOLDER / "left"
    left.mkdir(parents=True)
    with pytest.raises(RuntimeError, match="repair"), abandoned(tmp_path):
        raise RuntimeError("repair")
    with abandoned(tmp_path) as folders:
        assert folders == [left]
    assert not left.exists()


def test_a_delivery_that_is_refused_leaves_nothing(database: CalibrationDatabase, tmp_path: Path) -> None:
    database.add(write_calibration(tmp_path / "first" / "a.fits", 1.0))
    other = write_calibration(tmp_path / "other" / "a.fits", 2.0)
    new = write_calibration(tmp_path / "new.fits", 3.0)
    with pytest.raises(InputError, match="different file of this name"):
        database.add_files([new, other])
    assert stored_names(database.store.parent) == ["a.fits"]
