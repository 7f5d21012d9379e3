"""The frames of a bootstrap: flats by lamp and level, darks, biases."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from flatcore.assembly import frame_header, kind_of, open_frame
from flatcore.errors import InputError, UsageError
from flatcore.fitsio import FITS_SUFFIXES, FitsImage, read_header, read_rows
from flatcore.frames import FLAT_KINDS, find_frames, select_frames
from flatcore.header import failed_quality_control
from flatcore.images import LeftOut
from flatcore.instrument import Profile, load_profile, profile_for_header, profile_with

log = logging.getLogger("flatcore")

DARK_KIND, BIAS_KINDS = "DARK_DARK", ("BIAS", "BIAS_BIAS")
# Rows that tell the level of a frame, and the percentile of their pixels that is it.
SAMPLED_ROWS, LEVEL_PERCENTILE = 64, 95.0


@dataclass(frozen=True)
class FlatGroup:
    """Flats of one lamp, one exposure time and one level, sorted by time.

    Attributes
    ----------
    frames
        The frames.
    dprtype
        FLAT_FLAT, FLAT_DARK or DARK_FLAT.
    exptime_s
        Exposure time [s].
    level
        Bright end of the frames' pixels times the exposure time [ADU].
    """

    frames: tuple[FitsImage, ...]
    dprtype: str
    exptime_s: float
    level: float


@dataclass(frozen=True)
class Inputs:
    """The frames of a night by what they are for.

    Attributes
    ----------
    main
        For each lamp the group from which traces and profiles are made: the most frames, then the brightest.
    levels
        Groups of the same lamps at other exposure times or levels, which tell non-linear pixels.
    darks, biases
        Frames without light, and frames without exposure.
    left_out
        Frames that failed quality control.
    """

    main: dict[str, FlatGroup]
    levels: tuple[FlatGroup, ...]
    darks: tuple[FitsImage, ...]
    biases: tuple[FitsImage, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def flats(self) -> tuple[FitsImage, ...]:
        """The flats of all main groups."""
        return tuple(frame for group in self.main.values() for frame in group.frames)

    @property
    def frames(self) -> tuple[FitsImage, ...]:
        """Every frame that takes part."""
        return (*self.flats, *(f for group in self.levels for f in group.frames), *self.darks, *self.biases)


@dataclass(frozen=True)
class Names:
    """Frames the user names: file names, paths or globs; none means what the observation directory holds."""

    flats: tuple[str, ...] = ()
    darks: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()


def find_profile(folder: Path, names: Names, instrument: str | Path | None) -> Profile:
    """Load the instrument's profile, or choose the packaged one of the first flat.

    Raises
    ------
    UsageError, InputError
        As of :func:`flatcore.instrument.load_profile` and :func:`flatcore.frames.find_frames`.
    """
    if instrument is not None:
        return load_profile(instrument)
    first = find_frames(folder, names.flats)[0]
    return profile_for_header(read_header(first), first)


def find_inputs(
    folder: Path, names: Names, profile: Profile, *, level_step: float, require_qc: bool, scratch: Path
) -> Inputs:
    """Find and sort the frames of an observation directory.

    Parameters
    ----------
    folder
        The observation directory.
    level_step
        Ratio from which levels count as different.
    require_qc
        Leave out frames whose QCC_ALL is false.
    scratch
        Folder for uncompressed copies.

    Raises
    ------
    InputError
        No flat, or frames that are broken or do not agree; the message names file and keyword.
    UsageError
        A frame is named in two places.
    """
    flats = find_frames(folder, names.flats, profile.keywords)
    darks = find_frames(folder, names.darks) if names.darks else _of_kind(folder, (DARK_KIND,), profile)
    biases = find_frames(folder, names.biases) if names.biases else _of_kind(folder, BIAS_KINDS, profile)
    _refuse_twice(flats, darks, biases)
    groups: list[FlatGroup] = []
    left_out: list[LeftOut] = []
    for dprtype, paths in _by_keywords(flats, profile).items():
        selected = select_frames(paths, profile, require_qc, scratch) if _any_good(paths, profile, require_qc) else None
        if selected is None:
            left_out += [LeftOut(path, "QCC_ALL is false") for path in paths]
            continue
        left_out += selected.left_out
        groups += _by_level(selected.frames, dprtype[0], dprtype[1], level_step)
    if not groups:
        raise InputError(f"{folder}: QCC_ALL is false in all {len(flats)} flats; none is left")
    main, levels = _main_groups(groups)
    return Inputs(
        main,
        levels,
        _opened(darks, profile, require_qc, scratch, left_out),
        _opened(biases, _for_biases(profile), require_qc, scratch, left_out),
        tuple(left_out),
    )


def _refuse_twice(*lists: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for paths in lists:
        for path in paths:
            if path in seen:
                raise UsageError(f"{path}: named as two of flat, dark and bias; a frame is one of them")
        seen |= set(paths)


def _of_kind(folder: Path, kinds: tuple[str, ...], profile: Profile) -> list[Path]:
    """Preprocessed frames of a folder whose DPRTYPE begins with one of the kinds."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(FITS_SUFFIXES) and not path.name.startswith("."):
            header = read_header(path)
            preprocessed = str(header.get("DRSOUTID", "DRS_PP")).strip() == "DRS_PP"
            kind = kind_of(header, profile, path) if preprocessed else ""
            if kind.startswith(kinds):
                found.append(path)
    return found


def _by_keywords(paths: Sequence[Path], profile: Profile) -> dict[tuple[str, float], list[Path]]:
    """Flats by DPRTYPE and EXPTIME."""
    groups: dict[tuple[str, float], list[Path]] = {}
    for path in paths:
        header = frame_header(path, profile)
        kind, exptime = str(header.get("DPRTYPE", "")).strip(), header.get("EXPTIME")
        if kind not in FLAT_KINDS:
            raise InputError(f"{path}: DPRTYPE = {kind!r}, expected one of {', '.join(FLAT_KINDS)}")
        if isinstance(exptime, bool) or not isinstance(exptime, (int, float)) or not exptime > 0:
            raise InputError(f"{path}: header keyword EXPTIME = {exptime!r}: expected a number above 0")
        groups.setdefault((kind, float(exptime)), []).append(path)
    return groups


def _any_good(paths: Sequence[Path], profile: Profile, require_qc: bool) -> bool:
    return not require_qc or any(not failed_quality_control(frame_header(path, profile)) for path in paths)


def _by_level(frames: Sequence[FitsImage], dprtype: str, exptime_s: float, step: float) -> list[FlatGroup]:
    """Split frames where their sorted levels rise by more than ``step``."""
    levels = {frame.path: _level(frame) for frame in frames}
    ordered = sorted(frames, key=lambda frame: levels[frame.path])
    parts: list[list[FitsImage]] = [[ordered[0]]]
    for before, frame in pairwise(ordered):
        if levels[frame.path] > step * max(levels[before.path], 0.0):
            parts.append([])
        parts[-1].append(frame)
    return [
        FlatGroup(
            tuple(frame for frame in frames if frame in part),
            dprtype,
            exptime_s,
            exptime_s * float(np.median([levels[frame.path] for frame in part])),
        )
        for part in parts
    ]


def _level(frame: FitsImage) -> float:
    """Bright end of a frame's pixels [ADU/s]; 0 of a frame without a finite one."""
    rows = np.unique(np.linspace(0, frame.location.shape[0] - 1, SAMPLED_ROWS).astype(int)).tolist()
    pixels = read_rows(frame, rows)
    finite = pixels[np.isfinite(pixels)]
    return float(np.percentile(finite, LEVEL_PERCENTILE)) if finite.size else 0.0


def _main_groups(groups: Sequence[FlatGroup]) -> tuple[dict[str, FlatGroup], tuple[FlatGroup, ...]]:
    """For each lamp the group of the most frames, of equal ones the brightest; and all others."""
    main: dict[str, FlatGroup] = {}
    for kind in FLAT_KINDS:
        own = [group for group in groups if group.dprtype == kind]
        if own:
            main[kind] = max(own, key=lambda group: (len(group.frames), group.level))
    return main, tuple(group for group in groups if group is not main[group.dprtype])


def _for_biases(profile: Profile) -> Profile:
    """Give the profile by which counts of bias frames stay counts: they are not divided by an exposure time of 0."""
    if profile.detector.units != "adu":
        return profile
    return profile_with(profile, {"keywords": {"EXPTIME": 1.0}}, "bias frames")


def _opened(
    paths: Sequence[Path], profile: Profile, require_qc: bool, scratch: Path, left_out: list[LeftOut]
) -> tuple[FitsImage, ...]:
    frames = []
    for path in paths:
        frame = open_frame(path, profile, scratch)
        if require_qc and failed_quality_control(frame.header):
            left_out.append(LeftOut(path, "QCC_ALL is false"))
            continue
        found, expected = frame.location.shape, profile.detector.shape
        if found != expected:
            raise InputError(
                f"{path}: NAXIS2 x NAXIS1 = {found[0]} x {found[1]}, "
                f"expected {expected[0]} x {expected[1]} for {profile.name}"
            )
        frames.append(frame)
    return tuple(frames)
