"""Simulated nights to bootstrap from, and what a run makes of them with given and with bootstrapped calibrations."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flatcore.bootstrap import BootstrapRequest, bootstrap
from flatcore.instrument import Profile, load_profile
from flatcore.recipe import run_night
from flatcore.simulate import SimulationOptions, simulate_night
from tests.conftest import register

OBS_DIR = "2020-08-31"
# An instrument unlike SPIRou: single fibres with a localisation of their own, not turned, steeper orders.
TWINS = """
name = "TWINS"
header = { INSTRUME = "TWINS" }

[detector]
shape = [700, 900]
rows = [10, 690]
columns = [0, 880]
gain = 1.3
saturation = 60000.0
frame_time = 5.5

[fibers.A]
channel = 0
localisation = "A"
below = 5.0
above = 5.0

[fibers.B]
channel = 1
localisation = "B"
below = 5.0
above = 5.0

[background]
box = 64
"""


@dataclass(frozen=True)
class Pair:
    """The same frames in two data roots: with the simulation's calibrations, and bare."""

    profile: Profile
    instrument: str
    given: Path
    bare: Path
    truth: dict


def profile_of(instrument, folder):
    """A packaged profile, or TWINS as a file."""
    if instrument != "TWINS":
        return instrument
    path = folder / "twins.toml"
    path.write_text(TWINS)
    return str(path)


def night_pair(folder, instrument="SMALL", *, seed, **options):
    """Simulate a night, and copy its frames to a data root without calibrations."""
    instrument = profile_of(instrument, folder)
    profile = load_profile(instrument)
    given, bare = folder / "given", folder / "bare"
    night = simulate_night(given, SimulationOptions(profile=profile, seed=seed, **options))
    register(given, given / "calib")
    shutil.copytree(given / "tmp", bare / "tmp")
    with np.load(night.truth) as data:
        truth = dict(data)
    return Pair(profile, instrument, given, bare, truth)


def bootstrapped(pair, **options):
    """Bootstrap the bare root."""
    return bootstrap(BootstrapRequest(OBS_DIR, pair.bare, instrument=pair.instrument, **options))


def flats_of(root, instrument):
    """Every fibre's result of a run that writes nothing."""
    settings = {"output": {"save": False}}
    image = run_night(OBS_DIR, data_root=root, instrument=instrument, settings=settings).images[0]
    return image.fibers


def blaze_error(flat, truth):
    """Relative error of a blaze's shape over the bright half of each order, scale apart; orders by columns."""
    bright = truth > 0.5 * np.nanmax(truth, axis=1, keepdims=True)
    ratio = np.where(bright, flat.blaze / truth, np.nan)
    return ratio / np.nanmedian(ratio, axis=1, keepdims=True) - 1
