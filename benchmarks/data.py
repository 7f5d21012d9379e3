"""Nights and frames to measure on: simulated once, kept, and reused."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks.measure import clean_environment

OBS_DIR = "2020-08-31"
# Beside the console script of the environment that runs this.
FLATCORE = Path(sys.executable).with_name("flatcore")
FRAME_SHAPE = (4096, 4096)


def full_night(folder: Path) -> Path:
    """Data root of a full-size SPIRou night of ten frames: 1.1 GB, made in half a minute where it is not there."""
    return _simulated(folder / "spirou", "--instrument", "SPIROU", "--frames", "10")


def small_night(folder: Path) -> Path:
    """Data root of a small night."""
    return _simulated(folder / "small")


def _simulated(root: Path, *options: str) -> Path:
    if not root.exists():
        # Under another name until it is whole: an interrupted simulation must not be taken for a night.
        partial = root.with_name(f"{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = [str(FLATCORE), "simulate", str(partial), *options, "--quiet"]
        subprocess.run(command, check=True, env=clean_environment())
        partial.rename(root)
    return root


def frame_paths(root: Path) -> list[Path]:
    """The frames of a simulated night."""
    return sorted((root / "tmp" / OBS_DIR).glob("*.fits"))


@contextlib.contextmanager
def fresh_root(root: Path, folder: Path) -> Iterator[Path]:
    """A data root with a night's frames and calibrations on which nothing has run yet; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as name:
        fresh = Path(name)
        (fresh / "tmp").symlink_to(root / "tmp")
        (fresh / "calib").mkdir()
        for path in (root / "calib").iterdir():
            if path.suffix == ".fits":
                (fresh / "calib" / path.name).symlink_to(path)
            else:
                # The database is written to.
                shutil.copy(path, fresh / "calib")
        yield fresh


@contextlib.contextmanager
def noise_frames(folder: Path, count: int) -> Iterator[list[Path]]:
    """Full-size float32 frames of noise, in FITS files that are removed afterwards: 67 MB each."""
    noise = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="frames-", dir=folder) as name:
        paths = [Path(name) / f"{number:03d}_pp.fits" for number in range(count)]
        for path in paths:
            pixels = noise.standard_normal(FRAME_SHAPE, np.float32)
            pixels *= 30
            pixels += 500
            with path.open("wb") as file:
                fits.PrimaryHDU(pixels).writeto(file)
                file.flush()
                # Else the disk is still busy with them while the clock runs.
                os.fsync(file.fileno())
        yield paths
