"""Full-size nights to be measured: one simulated night at several times."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from astropy.io import fits

from flatcore.caldb import CalibrationDatabase
from flatcore.instrument import load_profile
from flatcore.simulate import SimulationOptions, simulate_night

FIRST = datetime.date(2020, 8, 31)
MJD_OF_FIRST = 59092.9
FRAMES = 10


def nights_in(folder: Path, count: int, instrument: str) -> Path:
    """Give a data root with so many nights; it is made once and kept, and what runs made in it is removed."""
    root = folder / f"{instrument.lower()}-nights"
    if not (root / "truth").is_dir():
        shutil.rmtree(root, ignore_errors=True)
        night = simulate_night(root, SimulationOptions(load_profile(instrument), seed=1, frames=FRAMES))
        CalibrationDatabase.open(root).add_files(night.calibrations, reference=True)
    for number in range(1, count):
        _copy(root, number)
    for extra in sorted((root / "tmp").iterdir())[count:]:
        shutil.rmtree(extra)
    forget_runs(root)
    return root


def forget_runs(root: Path) -> None:
    """Remove products, logs, and what was registered."""
    for name in ("red", "log"):
        shutil.rmtree(root / name, ignore_errors=True)
    database = CalibrationDatabase.open(root)
    database.remove([record for record in database.records() if record.keyname in ("FLAT", "BLAZE")])


def _copy(root: Path, days: int) -> None:
    """Write the first night again, days later, if it is not there."""
    folder = root / "tmp" / str(FIRST + datetime.timedelta(days=days))
    if folder.is_dir():
        return
    part = folder.with_name(f".{folder.name}.tmp")
    part.mkdir(parents=True, exist_ok=True)
    for path in sorted((root / "tmp" / str(FIRST)).iterdir()):
        copy = part / f"{days:03d}{path.name}"
        shutil.copyfile(path, copy)
        with fits.open(copy, mode="update", memmap=True) as hdus:
            for keyword in ("MJDMID", "MJDEND"):
                if keyword in hdus[0].header:
                    hdus[0].header[keyword] += days
    part.replace(folder)
