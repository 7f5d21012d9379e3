"""What is asked of a simulated night, and what is handed back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from flatcore.errors import UsageError
from flatcore.instrument import Profile, Simulated

Lamp = Literal["FLAT_FLAT", "FLAT_DARK", "DARK_FLAT"]


@dataclass(frozen=True)
class SimulationOptions:
    """Everything that fixes a simulated night; equal options give equal bytes.

    Attributes
    ----------
    profile
        The instrument.
    seed
        Every random number comes from it, by one independent stream per purpose.
    frames
        Number of flats.
    signal
        Electrons per column at the top of the brightest order, summed across one trace (fibre A, say), in one frame.
        Fibre AB has about twice as much.
    cosmics
        Cosmic-ray hits per frame and per million pixels.
    bad_pixels
        Share of the kept pixels that are bad: dead or hot, alone, in clusters and on the edges.
    warp
        Size of the linear transform and of the smooth shape maps: 0 none, 1 typical. The curvature of the orders,
        which belongs to the spectrograph, is not touched by it.
    noise
        False leaves out photon, read and calibration noise and nothing else: the noiseless twin of the same seed.
    obs_dir
        Folder of the night.
    mjd
        Start of the first frame; the calibrations are five hours older.
    lamp
        DPRTYPE of the frames: which fibre channels see the lamp.
    darks
        Number of raw dark frames beside the flats.
    dark_exptime_s
        Their exposure time; the flats' where None [s].

    Raises
    ------
    UsageError
        A value is out of range; the message names it.
    """

    profile: Profile
    seed: int = 0
    frames: int = 5
    signal: float = 50_000.0
    cosmics: float = 20.0
    bad_pixels: float = 0.002
    warp: float = 1.0
    noise: bool = True
    obs_dir: str = "2020-08-31"
    mjd: float = 59092.9
    lamp: Lamp = "FLAT_FLAT"
    darks: int = 0
    dark_exptime_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        _require(self.seed >= 0, "seed", self.seed, "must not be negative")
        _require(self.frames >= 1, "frames", self.frames, "must be at least 1")
        _require(self.darks >= 0, "darks", self.darks, "must not be negative")
        dark_exptime_s = self.simulated.exptime if self.dark_exptime_s is None else self.dark_exptime_s
        _require(0 < dark_exptime_s < math.inf, "dark_exptime", dark_exptime_s, "must be a positive number of seconds")
        _require(0 < self.signal < math.inf, "signal", self.signal, "must be a positive number of electrons")
        _require(
            0 <= self.cosmics <= 10_000, "cosmics", self.cosmics, "must lie between 0 and 10000 hits per megapixel"
        )
        _require(0 <= self.bad_pixels <= 0.2, "bad_pixels", self.bad_pixels, "must be a fraction between 0 and 0.2")
        _require(0 <= self.warp <= 10, "warp", self.warp, "must lie between 0 and 10")
        _require(0 < self.mjd < math.inf, "mjd", self.mjd, "must be a positive number of days")
        plain = self.obs_dir not in ("", ".", "..") and Path(self.obs_dir).name == self.obs_dir
        _require(plain, "obs_dir", self.obs_dir, "must be a plain folder name")
        _require(self.lamp in get_args(Lamp), "lamp", self.lamp, f"must be one of {', '.join(get_args(Lamp))}")
        if not self.lit_fibers:
            raise UsageError(f"simulation: lamp = {self.lamp} lights no fibre of {self.profile.name}")

    @property
    def simulated(self) -> Simulated:
        """What the profile says of simulation."""
        return self.profile.simulate or Simulated()

    @property
    def lit_fibers(self) -> tuple[str, ...]:
        """Fibres of the profile that see the lamp."""
        lit = self.lit_channels
        return tuple(name for name, fiber in self.profile.fibers.items() if fiber.channel in lit)

    @property
    def lit_channels(self) -> frozenset[int]:
        """Halves of DPRTYPE that are FLAT."""
        return frozenset(i for i, half in enumerate(self.lamp.split("_")) if half == "FLAT")


@dataclass(frozen=True)
class SimulatedNight:
    """Where a simulated night lies.

    Attributes
    ----------
    root
        Data root: ``tmp/``, ``calib/`` and ``truth/`` are below it.
    obs_dir
        Folder of the night under ``tmp/``.
    frames, calibrations, darks
        The files written, in order.
    truth
        The ``.npz`` that holds what the simulation put in.
    darks
        Dark frames, beside the flats.
    """

    root: Path
    obs_dir: str
    frames: tuple[Path, ...]
    calibrations: tuple[Path, ...]
    truth: Path
    darks: tuple[Path, ...] = ()


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise UsageError(f"simulation: {name} = {value!r} {rule}")
