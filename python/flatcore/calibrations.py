"""Calibration files of a run: which are needed, which are chosen, and their checked contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flatcore.caldb.keys import DAY_S, same_key, unix_of_mjd
from flatcore.errors import CalibrationError, InputError
from flatcore.fitsio import FitsImage, Header, open_image, read_doubles, read_header, read_mask, read_pixels, sha256_of
from flatcore.images import Image, Mask, Transform
from flatcore.instrument import Profile
from flatcore.localisation import read_traces
from flatcore.results import ChosenCalibration
from flatcore.settings import CalibrationSettings, Settings

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationSource

Need = tuple[str, str]


@dataclass(frozen=True)
class Calibrations:
    """Contents of the calibration files.

    Attributes
    ----------
    dark
        Where its pixels lie, raw rows by columns [ADU/s]; None where no dark is subtracted.
    bad, unlit
        Bad and unlit pixels in the frame of the calibrated image, not 0 where they are.
    transform
        SHAPEL, SHAPEX, SHAPEY.
    traces, profiles
        Traces, and order profiles before straightening, by localisation fibre.
    chosen
        The files.
    """

    dark: FitsImage | None
    bad: Mask | None
    unlit: Mask
    transform: Transform
    traces: dict[str, NDArray[np.float64]]
    profiles: dict[str, Image]
    chosen: tuple[ChosenCalibration, ...]

    def file(self, keyname: str, fiber: str = "") -> ChosenCalibration:
        """Give the file chosen for a key and fibre."""
        return next(c for c in self.chosen if (c.keyname, c.fiber) == (keyname, fiber))


def needs(profile: Profile, settings: Settings, fibers: tuple[str, ...]) -> list[Need]:
    """List the keys and localisation fibres a run needs, in the order they are used."""
    keys = ["DARKREF"] if settings.calibrate.dark else []
    keys += ["BADPIX"] if settings.calibrate.badpix else []
    keys += ["BKGRDMAP", "SHAPEX", "SHAPEY", "SHAPEL"]
    sources = dict.fromkeys(profile.fibers[name].localisation for name in fibers)
    return [(key, "") for key in keys] + [(key, source) for source in sources for key in ("LOC", "ORDER_PROFILE")]


def choose(
    wanted: list[Need],
    database: CalibrationSource,
    mjd_mid: float,
    settings: CalibrationSettings,
    named: Mapping[str, Path] | None = None,
) -> tuple[ChosenCalibration, ...]:
    """Choose a file for each need: the one named by the user, or the database's choice by time.

    Parameters
    ----------
    named
        Files by key; they win over the database. One whose header names a fibre serves that fibre only.

    Raises
    ------
    CalibrationError
        There is none, or none young enough: the message names key, fibre and time. Or a named file is of another key,
        or of a fibre that the run does not need.
    """
    by_need: dict[Need, ChosenCalibration] = {}
    for key, path in (named or {}).items():
        by_need |= _named(key, path, [fiber for wanted_key, fiber in wanted if wanted_key == key])
    return tuple(
        by_need.get((key, fiber)) or _from_database(key, fiber, database, mjd_mid, settings) for key, fiber in wanted
    )


def _named(key: str, path: Path, fibers: list[str]) -> dict[Need, ChosenCalibration]:
    """Say which needs a file named by the user serves; none where the run does not need the key."""
    header = read_header(path)
    if "DRSOUTID" not in header and "KEYNAME" not in header:
        raise CalibrationError(f"{path}: header keyword DRSOUTID is missing, expected that of a {key} file")
    _check_kind(key, path, header)
    own = str(header.get("FIBER", "")).strip()
    served = [fiber for fiber in fibers if fiber in ("", own) or not own]
    if fibers and not served:
        raise CalibrationError(f"{path}: FIBER = {own!r}, but the run needs {key} of {', '.join(fibers)}")
    mjd = header.get("MJDMID")
    mjd = float(mjd) if isinstance(mjd, (int, float)) else float("nan")
    return {
        (key, fiber): ChosenCalibration(key, fiber, path, mjd, "named by the user", sha256_of(path)) for fiber in served
    }


def _from_database(
    key: str, fiber: str, database: CalibrationSource, mjd_mid: float, settings: CalibrationSettings
) -> ChosenCalibration:
    unixtime = unix_of_mjd(mjd_mid)
    record = database.choose(key, fiber, unixtime, mode=settings.choice, max_age_days=settings.max_age_days)
    days = (record.unixtime - unixtime) / DAY_S
    reason = f"{settings.choice} in time, {abs(days):.2f} d {'after' if days > 0 else 'before'}"
    return ChosenCalibration(key, fiber, database.path_of(record), mjd_mid + days, reason, record.sha256)


def load(
    chosen: tuple[ChosenCalibration, ...], profile: Profile, settings: Settings, scratch: Path | None = None
) -> Calibrations:
    """Read the chosen files, and check that each is of its kind and shape.

    Raises
    ------
    CalibrationError
        A file is of another kind or shape; the message names file, keyword, both values.
    InputError
        A file cannot be read.
    """
    raw = profile.detector.shape
    kept = profile.detector.kept_shape if settings.calibrate.resize else raw

    def opened(file: ChosenCalibration, shape: tuple[int, int]) -> FitsImage:
        image = open_image(file.path, scratch)
        _check_kind(file.keyname, file.path, image.header)
        found = image.location.shape
        if found != shape:
            raise CalibrationError(
                f"{file.path}: {file.keyname} has {found[0]} x {found[1]} pixels, "
                f"expected {shape[0]} x {shape[1]} for {profile.name}"
            )
        return image

    def image(file: ChosenCalibration, shape: tuple[int, int]) -> Image:
        return read_pixels(opened(file, shape))

    def mask(file: ChosenCalibration) -> Mask:
        return read_mask(opened(file, kept))

    by_key = {(file.keyname, file.fiber): file for file in chosen}
    dark, bad = by_key.get(("DARKREF", "")), by_key.get(("BADPIX", ""))
    dxmap, dymap = (_whole(by_key[key, ""], image(by_key[key, ""], kept)) for key in ("SHAPEX", "SHAPEY"))
    return Calibrations(
        dark=opened(dark, raw) if dark else None,
        bad=mask(bad) if bad else None,
        unlit=mask(by_key["BKGRDMAP", ""]),
        transform=Transform(_linear(by_key["SHAPEL", ""]), dxmap, dymap),
        traces={fiber: _traces(file) for (key, fiber), file in by_key.items() if key == "LOC"},
        profiles={fiber: image(file, kept) for (key, fiber), file in by_key.items() if key == "ORDER_PROFILE"},
        chosen=chosen,
    )


def _check_kind(key: str, path: Path, header: Header) -> None:
    """Refuse a file of another key; one that the database names may say nothing of itself."""
    for keyword in ("KEYNAME", "DRSOUTID"):
        kind = header.get(keyword)
        if kind is not None:
            if same_key(str(kind)) != key:
                raise CalibrationError(f"{path}: {keyword} = {kind!r} is {same_key(str(kind))}, expected a {key} file")
            return


def _whole(file: ChosenCalibration, image: Image) -> Image:
    if not np.isfinite(image).all():
        raise CalibrationError(f"{file.path}: {file.keyname} has pixels without a value, expected a shift for each")
    return image


def _linear(file: ChosenCalibration) -> tuple[float, float, float, float, float, float]:
    _check_kind(file.keyname, file.path, read_header(file.path))
    values = read_doubles(file.path).ravel()
    if values.size != 6 or not np.isfinite(values).all():
        raise CalibrationError(f"{file.path}: SHAPEL holds {values.size} numbers, expected 6 finite (dx dy A B C D)")
    dx, dy, a, b, c, d = (float(value) for value in values)
    if abs(a * d - b * c) < 1e-6:
        raise CalibrationError(f"{file.path}: SHAPEL's matrix ({a} {b}; {c} {d}) cannot be inverted")
    return dx, dy, a, b, c, d


def _traces(file: ChosenCalibration) -> NDArray[np.float64]:
    header = read_header(file.path)
    _check_kind(file.keyname, file.path, header)
    return read_traces(header, file.path)


def find_named(name: str, data_root: Path, obs_folder: Path) -> Path:
    """Find a calibration file the user names: as a path, in the observation directory, or in the calib folder.

    Raises
    ------
    InputError
        There is no such file in any of them.
    """
    places = (Path(name), obs_folder / name, data_root / "calib" / name)
    for path in places:
        if path.is_file():
            return path.absolute()
    raise InputError(f"{name}: no such file, looked at {', '.join(str(place) for place in places)}")
