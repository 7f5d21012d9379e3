"""What a run's products depend on, hashed part by part: equal fingerprints make equal products."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flatcore.instrument import Profile
from flatcore.night import Night
from flatcore.results import ChosenCalibration
from flatcore.settings import Settings

# How a run calls itself, and what it makes beside its products, changes nothing in these.
BESIDE: Any = {"run": True, "output": {"figures", "report", "debug"}}


@dataclass(frozen=True)
class Stamp:
    """A file as far as can be told without reading it: where it is, its size, and its time or tag."""

    path: str
    size: int
    time: int | str

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Stamp a local file; of a link, what it leads to."""
        status = path.stat()
        return cls(str(path.resolve()), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Fingerprint:
    """What a run's products depend on.

    Attributes
    ----------
    parts
        Names and hashes of version, frames, calibrations, instrument, settings, fibres and output folder.
    """

    parts: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """All parts in one."""
        return _hash(self.parts)

    def differences(self, earlier: Mapping[str, str]) -> tuple[str, ...]:
        """Name the parts that an earlier run had different, or did not tell."""
        return tuple(name for name, value in self.parts if earlier.get(name) != value)


def fingerprint(
    frames: Iterable[Stamp],
    chosen: Sequence[ChosenCalibration],
    profile: Profile,
    settings: Settings,
    *,
    fibers: Sequence[str],
    folder: str | Path,
) -> Fingerprint:
    """Take the fingerprint of a run.

    Parameters
    ----------
    frames
        The frames that are used.
    chosen
        Calibration files.
    fibers
        Those that are extracted.
    folder
        Where the products go.
    """
    parts: dict[str, Any] = {
        "version": version("flatcore"),
        "frames": sorted((stamp.path, stamp.size, stamp.time) for stamp in frames),
        "calibrations": sorted((file.keyname, file.fiber, file.sha256) for file in chosen),
        "instrument": profile.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json", exclude=BESIDE),
        "fibres": list(fibers),
        "output folder": str(folder),
    }
    return Fingerprint(tuple((name, _hash(part)) for name, part in parts.items()))


def fingerprint_of(night: Night) -> Fingerprint:
    """Take the fingerprint of a night whose frames and calibrations are chosen."""
    stamps = (Stamp.of(frame.path) for frame in night.selected.frames)
    return fingerprint(
        stamps, night.chosen, night.profile, night.settings, fibers=night.lit, folder=night.request.output_folder
    )


def _hash(part: Any) -> str:
    return hashlib.blake2b(json.dumps(part, sort_keys=True).encode(), digest_size=16).hexdigest()
