"""A night before the work: which frames, which instrument and settings, which calibrations."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flatcore import calibrations, products
from flatcore.assembly import header_with
from flatcore.caldb import CalibrationDatabase, CalibrationSource
from flatcore.clock import Clock
from flatcore.combine import product_stem
from flatcore.errors import InputError, UsageError
from flatcore.fitsio import Header, read_header
from flatcore.frames import fibers_to_extract, find_frames, select_frames
from flatcore.images import FrameSet
from flatcore.instrument import Profile, load_profile, profile_for_header
from flatcore.request import NightRequest
from flatcore.results import ChosenCalibration
from flatcore.settings import Settings, resolve

log = logging.getLogger("flatcore")


@dataclass(frozen=True)
class Night:
    """A night whose frames are selected and whose calibrations are chosen.

    Attributes
    ----------
    lit, dark
        Fibres to extract, and those left out because they get no light.
    chosen
        Calibration files.
    pid
        Identifier of the run.
    """

    request: NightRequest
    profile: Profile
    settings: Settings
    selected: FrameSet
    lit: tuple[str, ...]
    dark: tuple[str, ...]
    chosen: tuple[ChosenCalibration, ...]
    database: CalibrationSource
    clock: Clock
    scratch: Path
    pid: str


@contextlib.contextmanager
def prepared(
    request: NightRequest, clock: Clock, pid: str | None = None, source: CalibrationSource | None = None
) -> Iterator[Night]:
    """Select frames and choose calibrations, without reading a pixel; uncompressed copies live as long as the block.

    Parameters
    ----------
    request
        What is asked for.
    clock
        Takes the time of each stage.
    pid
        Identifier of the run; a new one by default.
    source
        Where calibrations are chosen from; the data root's database by default.

    Raises
    ------
    UsageError, InputError, CalibrationError
        As of :func:`run_night`.
    """
    root = request.data_root
    with tempfile.TemporaryDirectory(prefix="flatcore-") as scratch:
        with clock.stage("frames"):
            given = given_profile(request)
            paths = find_frames(request.input_folder, request.files, given.keywords if given else None)
            profile, settings = profile_and_settings(request, paths[0])
            selected = select_frames(paths, profile, settings.input.require_qc, Path(scratch))
            if not settings.combine.frames:
                _refuse_namesakes(selected)
            lit, dark = fibers_to_extract(profile, selected.dprtype, request.fiber)
        with clock.stage("calibrations"):
            database = source or CalibrationDatabase.open(root, request.database_url)
            named = {
                key: calibrations.find_named(name, root, request.input_folder)
                for key, name in request.calibration_files.items()
            }
            needed = calibrations.needs(profile, settings, lit)
            mjd = float(np.mean([frame.header["MJDMID"] for frame in selected.frames]))
            chosen = calibrations.choose(needed, database, mjd, settings.calibration, named)
        yield Night(
            request,
            profile,
            settings,
            selected,
            lit,
            dark,
            chosen,
            database,
            clock,
            Path(scratch),
            pid or products.new_pid(),
        )


def profile_and_settings(request: NightRequest, first: Path, header: Header | None = None) -> tuple[Profile, Settings]:
    """Give the instrument of a night and the settings of its run.

    Parameters
    ----------
    first
        One of the frames, by whose header the instrument is chosen where none is named.
    header
        Its header, where it was read already.

    Raises
    ------
    UsageError, InputError
        No profile fits, or a setting is wrong.
    """
    profile = _profile(request, first, read_header(first) if header is None else header)
    profile, settings = resolve(profile, request.preset, [request.settings], request.assignments)
    _check_box(profile, settings)
    return profile, settings


def _check_box(profile: Profile, settings: Settings) -> None:
    """Refuse cells of the background that are larger than the image."""
    shape = profile.detector.kept_shape if settings.calibrate.resize else profile.detector.shape
    if settings.calibrate.background and profile.background.box >= min(shape):
        raise UsageError(
            f"background.box = {profile.background.box} must be below the image's rows and columns, "
            f"{shape[0]} x {shape[1]}"
        )


def _refuse_namesakes(selected: FrameSet) -> None:
    """Refuse two frames whose products would have the same names."""
    by_stem: dict[str, Path] = {}
    for frame in selected.frames:
        stem = product_stem([frame.path.name])
        if stem in by_stem:
            raise InputError(
                f"{frame.path}: has the name of {by_stem[stem]}; without combining, their products would "
                "be the same files"
            )
        by_stem[stem] = frame.path


def given_profile(request: NightRequest) -> Profile | None:
    """Give the profile that a request names; None where it is chosen by the frames."""
    if request.instrument is None or isinstance(request.instrument, Profile):
        return request.instrument
    return load_profile(request.instrument)


def _profile(request: NightRequest, first: Path, header: Header) -> Profile:
    given = given_profile(request)
    if given is None:
        return profile_for_header(header, first)
    found = header_with(header, {key: source for key, source in given.keywords.items() if key == "INSTRUME"}, first)
    if not given.matches(found):
        log.warning("%s: INSTRUME = %r is not what %s expects", first, found.get("INSTRUME"), given.name)
    return given
