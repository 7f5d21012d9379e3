"""What every product of a run says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flatcore.calibrations import Calibrations
from flatcore.images import CombinedImage
from flatcore.instrument import Profile
from flatcore.settings import Settings


@dataclass(frozen=True)
class RunContext:
    """What every product of a run says of it."""

    folder: Path
    pid: str
    profile: Profile
    settings: Settings
    calibrations: Calibrations


def new_pid() -> str:
    """Give a new identifier of a run: its start to the microsecond, UTC."""
    return f"PID-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"


def unit_of(combined: CombinedImage, run: RunContext) -> tuple[float, str]:
    """Divisor and name of the unit of E2DS-like products."""
    if run.settings.extract.fluxunits == "e-":
        return 1.0, "electron"
    return combined.exposure.electrons_per_unit, "adu / s"
