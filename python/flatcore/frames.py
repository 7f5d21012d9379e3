"""First stage: find a night's preprocessed flats and check that they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flatcore.assembly import header_with, open_frame
from flatcore.errors import InputError, UsageError
from flatcore.fitsio import FITS_SUFFIXES, FitsImage, read_header, read_pixels
from flatcore.header import failed_quality_control, required
from flatcore.images import Exposure, FrameSet, LeftOut
from flatcore.instrument import Keywords, Profile

FLAT_KINDS = ("FLAT_FLAT", "DARK_FLAT", "FLAT_DARK")


def find_frames(folder: Path, names: Sequence[str] = (), keywords: Keywords | None = None) -> list[Path]:
    """Find the frames of an observation directory.

    Parameters
    ----------
    folder
        The observation directory.
    names
        File names in it, paths, or globs of either; none means every preprocessed flat of the folder.
    keywords
        Where the profile finds DPRTYPE, for raw frames that do not have it.

    Returns
    -------
    list of Path
        Sorted, each file once.

    Raises
    ------
    InputError
        The folder is missing, a name matches nothing, or the folder holds no flat.
    """
    if not folder.is_dir():
        known = sorted(p.name for p in folder.parent.glob("*") if p.is_dir())[:5] if folder.parent.is_dir() else []
        hint = f"; there are {', '.join(known)}" if known else ""
        raise InputError(f"{folder}: no such observation directory{hint}")
    if not names:
        return _each_once(_flats_of(folder, keywords or {}))
    found: list[Path] = []
    for name in names:
        try:
            matches = _matches(folder, name)
        except (ValueError, OSError) as error:
            raise InputError(f"{name!r}: not a file name or pattern: {error}") from error
        if not matches:
            raise InputError(f"{name}: no such file, neither as a path nor in {folder}")
        found += matches
    return _each_once(found)


def _each_once(paths: Sequence[Path]) -> list[Path]:
    """Sort paths, each file once; of a file and links to it, the file."""
    by_file: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
        by_file.setdefault(path.resolve(), path)
    return sorted(by_file.values())


def _matches(folder: Path, name: str) -> list[Path]:
    for path in (Path(name), folder / name):
        if path.is_file():
            return [path]
    pattern = Path(name)
    if pattern.is_absolute():
        return sorted(p for p in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))) if p.is_file())
    for base in (Path(), folder):
        matches = sorted(p for p in base.glob(name) if p.is_file())
        if matches:
            return matches
    return []


def _flats_of(folder: Path, keywords: Keywords) -> list[Path]:
    """Every FITS file of the folder whose DPRTYPE is a flat's; others are not this recipe's concern."""
    flats = []
    kind = {keyword: source for keyword, source in keywords.items() if keyword == "DPRTYPE"}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(FITS_SUFFIXES) or path.name.startswith("."):
            continue
        header = read_header(path)
        preprocessed = str(header.get("DRSOUTID", "DRS_PP")).strip() == "DRS_PP"
        header = header_with(header, kind, path) if preprocessed else header
        if preprocessed and "DPRTYPE" not in header:
            raise InputError(f"{path}: header keyword DPRTYPE is missing")
        if preprocessed and header["DPRTYPE"] in FLAT_KINDS:
            flats.append(path)
    if not flats:
        raise InputError(f"{folder}: no preprocessed flat (DPRTYPE {', '.join(FLAT_KINDS)})")
    return flats


def select_frames(
    paths: Sequence[Path], profile: Profile, require_qc: bool = True, scratch: Path | None = None
) -> FrameSet:
    """Open frames, drop those that failed quality control, and check that the others agree.

    Parameters
    ----------
    paths
        The frames.
    profile
        The instrument, for how its raw frames are read and their shape.
    require_qc
        Drop frames whose QCC_ALL is false.
    scratch
        Folder for copies of compressed frames, and of those that are assembled.

    Raises
    ------
    InputError
        A frame cannot be read, lacks a keyword, is no flat, or disagrees in shape, instrument, DPRTYPE or EXPTIME;
        or none is left. The message names file, keyword and both values.
    """
    if not paths:
        raise InputError("no frames were given")
    kept: list[FitsImage] = []
    left_out: list[LeftOut] = []
    for path in paths:
        frame = open_frame(path, profile, scratch)
        dprtype = required(frame.header, "DPRTYPE", path, str)
        if dprtype not in FLAT_KINDS:
            raise InputError(f"{path}: DPRTYPE = {dprtype!r}, expected one of {', '.join(FLAT_KINDS)}")
        if require_qc and failed_quality_control(frame.header):
            left_out.append(LeftOut(path, "QCC_ALL is false"))
        else:
            kept.append(frame)
    if not kept:
        raise InputError(f"{left_out[0].path}: QCC_ALL is false here and in all {len(left_out)} frames; none is left")
    kinds = Counter(frame.header["DPRTYPE"] for frame in kept)
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        odd = next(f for f in kept if f.header["DPRTYPE"] != kept[0].header["DPRTYPE"])
        raise InputError(
            f"{odd.path}: DPRTYPE = {odd.header['DPRTYPE']!r}, but {kept[0].path.name} has "
            f"{kept[0].header['DPRTYPE']!r}; flats of one kind only ({counts}): name the files to use"
        )
    _check_agreement(kept, profile)
    if profile.input.max_frames is not None and len(kept) > profile.input.max_frames:
        kept, too_many = _closest_to_median_level(kept, profile.input.max_frames)
        left_out += too_many
    ordered = sorted(kept, key=lambda frame: (required(frame.header, "MJDMID", frame.path), frame.path.name))
    return FrameSet(tuple(ordered), kept[0].header["DPRTYPE"], tuple(left_out))


def _closest_to_median_level(frames: list[FitsImage], most: int) -> tuple[list[FitsImage], list[LeftOut]]:
    """Keep the frames whose median pixel is closest to that of all; a flickering lamp is left out first."""
    levels = [_level(frame) for frame in frames]
    middle = float(np.median([level for level in levels if np.isfinite(level)] or [0.0]))
    order = sorted(range(len(frames)), key=lambda i: (abs(levels[i] - middle), frames[i].path.name))
    left_out = [
        LeftOut(
            frames[i].path,
            f"{len(frames)} frames, {most} at most: its level of {levels[i]:.4g} ADU/s is "
            f"{abs(levels[i] - middle):.2g} from the median {middle:.4g}",
        )
        for i in sorted(order[most:])
    ]
    return [frames[i] for i in sorted(order[:most])], left_out


def _level(frame: FitsImage) -> float:
    """Median of a frame's finite pixels [ADU/s]; infinite for a dead frame, which is so the first left out."""
    pixels = read_pixels(frame)
    finite = pixels[np.isfinite(pixels)]
    return float(np.median(finite)) if finite.size else np.inf


def _check_agreement(frames: Sequence[FitsImage], profile: Profile) -> None:
    first = frames[0]
    for frame in frames:
        shape, expected = frame.location.shape, profile.detector.shape
        if shape != expected:
            raise InputError(
                f"{frame.path}: {_axes(profile)} = {shape[0]} x {shape[1]}, "
                f"expected {expected[0]} x {expected[1]} for {profile.name}"
            )
        for keyword, kind in (("INSTRUME", str), ("EXPTIME", float)):
            value, reference = (required(f.header, keyword, f.path, kind) for f in (frame, first))
            if value != reference:
                raise InputError(
                    f"{frame.path}: {keyword} = {value!r}, but {first.path.name} has {reference!r}; frames must agree"
                )


def _axes(profile: Profile) -> str:
    """Give the keywords of the files that say how many rows and columns there are."""
    return "NAXIS2 x NAXIS1" if profile.detector.dispersion == "rows" else "NAXIS1 x NAXIS2"


def exposure_of(frame: FitsImage, profile: Profile) -> Exposure:
    """Read the numbers of a frame that the calibration needs.

    Raises
    ------
    InputError
        A keyword is missing or not a positive number.
    """

    def positive(keyword: str) -> float:
        value: float = required(frame.header, keyword, frame.path)
        if value <= 0:
            raise InputError(f"{frame.path}: header keyword {keyword} = {value!r}: expected a number above 0")
        return value

    def number(setting: float | str) -> float:
        return positive(setting) if isinstance(setting, str) else setting

    detector = profile.detector
    return Exposure(
        exptime_s=positive("EXPTIME"),
        frame_time_s=number(detector.frame_time),
        readnoise_e=positive("RDNOISE"),
        gain=detector.gain,
        saturation_adu=number(detector.saturation),
    )


def fibers_to_extract(profile: Profile, dprtype: str, wanted: str = "ALL") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the fibres that get light.

    Parameters
    ----------
    dprtype
        The two halves name what lights channel 0 and channel 1.
    wanted
        ALL or a fibre of the profile.

    Returns
    -------
    lit, dark
        Fibres to extract, and fibres left out because they get no light.

    Raises
    ------
    UsageError
        The fibre is unknown.
    InputError
        The fibre asked for gets no light.
    """
    if wanted != "ALL" and wanted not in profile.fibers:
        raise UsageError(f"--fiber {wanted}: unknown; {profile.name} has {', '.join(profile.fibers)} (or ALL)")
    halves = dprtype.split("_")
    dark = tuple(name for name, fiber in profile.fibers.items() if halves[fiber.channel] == "DARK")
    if wanted in dark:
        raise InputError(f"--fiber {wanted}: gets no light in {dprtype} frames")
    lit = tuple(name for name in profile.fibers if name not in dark and wanted in ("ALL", name))
    if not lit:
        raise InputError(f"no fibre of {profile.name} gets light in {dprtype} frames")
    return lit, tuple(name for name in dark if wanted == "ALL")
