"""What a bootstrap makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.images import Image, Mask
from flatcore.locate import Trace


@dataclass(frozen=True)
class Made:
    """One calibration.

    Attributes
    ----------
    keyname, fiber
        As in the calibration database.
    path
        Where it is, or would be, in the store.
    figure
        What to know of it, in words.
    numbers
        The same for programs.
    """

    keyname: str
    fiber: str
    path: Path
    figure: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Window:
    """Extraction half-widths of a fibre [pixels]: what the profile has, and what the profile of the light proposes."""

    fiber: str
    below: float
    above: float
    proposed_below: float
    proposed_above: float


@dataclass(frozen=True)
class BootstrapImages:
    """Images that figures show, in the frame of the calibrations.

    Attributes
    ----------
    flat
        Flat without its background [electrons]; NaN where a pixel is bad.
    bad, unlit
        Bits of bad pixels; unlit pixels.
    dymap
        SHAPEY [pixels].
    traces, profiles
        By localisation: rows of the traces at every column, NaN where they were not followed, and the order profile.
    """

    flat: Image
    bad: Mask
    unlit: Mask
    dymap: Image
    traces: Mapping[str, NDArray[np.float64]]
    profiles: Mapping[str, Image]


@dataclass(frozen=True, eq=False)
class TracedFiber:
    """Traces of a localisation.

    Attributes
    ----------
    name
        Of the localisation.
    traces
        From low rows up, as in its LOC file.
    flat
        Flat that they were found on, in the frame of the calibrations [electrons]; None where images are not kept.
    """

    name: str
    traces: tuple[Trace, ...]
    flat: Image | None


@dataclass(frozen=True)
class BootstrapResult:
    """What came of a bootstrap.

    Attributes
    ----------
    made
        The calibrations, in the order in which they are told.
    skipped
        Whether an earlier bootstrap had made just these.
    registered
        Whether they are in the calibration database.
    windows
        Extraction windows by fibre.
    warnings
        What a user should know.
    seconds
        By stage.
    images
        Where they are kept.
    traced
        Traces by localisation, where they were looked for.
    """

    obs_dir: str
    instrument: str
    pid: str
    made: tuple[Made, ...]
    skipped: bool
    registered: bool
    windows: tuple[Window, ...]
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    frames: Mapping[str, int] = field(default_factory=dict)
    images: BootstrapImages | None = None
    traced: tuple[TracedFiber, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """The result in a form that JSON holds."""
        return {
            "obs_dir": self.obs_dir,
            "instrument": self.instrument,
            "pid": self.pid,
            "frames": dict(self.frames),
            "skipped": self.skipped,
            "registered": self.registered,
            "calibrations": [
                {"key": m.keyname, "fiber": m.fiber, "path": str(m.path), "figure": m.figure, **m.numbers}
                for m in self.made
            ],
            "windows": [vars(window) for window in self.windows],
            "warnings": list(self.warnings),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }
