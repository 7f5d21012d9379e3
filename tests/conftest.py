"""Nights that tests run on: the shared golden and real ones where they are, and a simulated small one always."""

import shutil
from pathlib import Path

import pytest

from flatcore.caldb import CalibrationDatabase
from flatcore.instrument import load_profile
from flatcore.simulate import SimulationOptions, simulate_night

SHARED = Path(__file__).parents[2] / "shared"


def shared(*parts):
    """A path of the shared data; skips the test where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared data are not here: {path}")
    return path


def register(root, folder):
    """Add every calibration of a folder to the database of a data root."""
    database = CalibrationDatabase.open(root)
    for path in sorted(folder.glob("*.fits")):
        database.add(path)


def copy_night(source, root):
    """A data root with a night's frames and registered calibrations."""
    shutil.copytree(source / "tmp", root / "tmp", copy_function=shutil.copyfile)
    for path in [root / "tmp", *(root / "tmp").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    register(root, source / "calib")
    return root


@pytest.fixture(scope="session")
def small_night(tmp_path_factory):
    """A simulated night of the SMALL instrument with registered calibrations; not to be changed."""
    root = tmp_path_factory.mktemp("small")
    night = simulate_night(root, SimulationOptions(profile=load_profile("SMALL"), seed=3, frames=4))
    database = CalibrationDatabase.open(root)
    for path in night.calibrations:
        database.add(path)
    return root


@pytest.fixture
def night(small_night, tmp_path):
    """A copy of the small night that a test may change."""
    root = tmp_path / "night"
    shutil.copytree(small_night, root)
    return root


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    monkeypatch.delenv("FLATCORE_DATA", raising=False)
    monkeypatch.delenv("FLATCORE_DATABASE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
