"""``flatcore simulate``: a night with known truth, ready to run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import rich_click as click

from flatcore.cli.helpful import Command
from flatcore.cli.options import LocalFolder

EPILOG = """\b
Examples:
  flatcore simulate demo
  flatcore simulate demo --instrument SPIROU --frames 10 --seed 7
  flatcore simulate demo --obs-dir 2020-09-01 --seed 2 --lamp DARK_FLAT --cosmics 100
  flatcore simulate trial --instrument my.toml --darks 5

Next: flatcore run 2020-08-31 --data-root demo"""


@click.command(
    "simulate",
    cls=Command,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.argument("directory", metavar="DIR", type=LocalFolder(hint="", file_okay=False, path_type=Path))
@click.option(
    "--instrument",
    default="SMALL",
    metavar="NAME|FILE",
    help="Packaged profile (SPIROU, NIRPS_HA, NIRPS_HE, SMALL) or TOML file.",
)
@click.option("--frames", default=5, type=click.IntRange(min=1), help="Number of flats.")
@click.option("--darks", default=0, type=click.IntRange(min=0), help="Number of dark frames, to bootstrap from.")
@click.option("--seed", default=1, type=click.IntRange(min=0), help="Equal seeds and options give equal files.")
@click.option(
    "--signal",
    default=50_000.0,
    type=float,
    metavar="ELECTRONS",
    help="Flux per column at the top of the brightest order, in one frame.",
)
@click.option("--cosmics", default=20.0, type=float, metavar="HITS", help="Cosmic rays per frame and million pixels.")
@click.option("--bad-pixels", default=0.002, type=float, metavar="SHARE", help="Share of bad pixels.")
@click.option(
    "--warp", default=1.0, type=float, metavar="SIZE", help="Size of the geometric distortion: 0 none, 1 typical."
)
@click.option("--noiseless", is_flag=True, help="The same night without photon and read noise.")
@click.option(
    "--lamp",
    default="FLAT_FLAT",
    type=click.Choice(["FLAT_FLAT", "FLAT_DARK", "DARK_FLAT"]),
    help="DPRTYPE of the frames.",
)
@click.option(
    "--dark-exptime",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    show_default="the flats'",
    help="Exposure time of the dark frames.",
)
@click.option(
    "--obs-dir", default="2020-08-31", metavar="NAME", help="Folder of the night; a date also dates the frames."
)
@click.option("--quiet", is_flag=True, help="No progress and no closing lines.")
def command(directory: Path, instrument: str, quiet: bool, obs_dir: str, **choices: Any) -> None:
    """Write a simulated night with known truth into DIR.

    Frames go to tmp/, as files of the kind that the profile describes; calibrations to calib/ and its database; what
    was put in to truth/.
    """
    from rich.console import Console  # noqa: PLC0415 - keeps help instant
    from rich.progress import Progress  # noqa: PLC0415

    from flatcore.caldb import CalibrationDatabase  # noqa: PLC0415
    from flatcore.errors import InputError  # noqa: PLC0415
    from flatcore.instrument import load_profile  # noqa: PLC0415
    from flatcore.simulate import SimulationOptions, simulate_night  # noqa: PLC0415

    options = SimulationOptions(
        profile=load_profile(instrument),
        obs_dir=obs_dir,
        mjd=_start_of(obs_dir),
        noise=not choices.pop("noiseless"),
        dark_exptime_s=choices.pop("dark_exptime"),
        **choices,
    )
    frames = directory / "tmp" / obs_dir
    if frames.is_dir() and any(frames.iterdir()):
        raise InputError(f"{frames}: holds a night already; choose another DIR or --obs-dir")
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("simulate", total=1.0)
        night = simulate_night(
            directory, options, lambda text, share: bar.update(task, description=text, completed=share)
        )
        CalibrationDatabase.open(directory).add_files(night.calibrations, replace=True)
    if not quiet:
        darks = f" and {len(night.darks)} darks" if night.darks else ""
        click.echo(
            f"{len(night.frames)} frames{darks} of {options.profile.name} in {directory / 'tmp' / obs_dir}\n"
            f"{len(night.calibrations)} calibrations in {directory / 'calib'}, registered\n"
            f"truth in {night.truth}"
        )


def _start_of(obs_dir: str) -> float:
    """Start of the first frame [MJD]: the evening of the folder's date, or of 2020-08-31."""
    from datetime import date  # noqa: PLC0415 - keeps help instant

    try:
        day = date.fromisoformat(obs_dir)
    except ValueError:
        day = date(2020, 8, 31)
    return math.floor((day - date(1858, 11, 17)).days) + 0.9
