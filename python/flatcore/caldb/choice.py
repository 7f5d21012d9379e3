"""Which calibration serves an observation: the rule alone, on records already read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flatcore.caldb.keys import DAY_S
from flatcore.errors import UsageError

Mode = Literal["closest", "older", "newer"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class CalibrationRecord:
    """One row of the calibration database.

    Attributes
    ----------
    keyname
        What the file is: DARKREF, BADPIX, LOC, ...
    fiber
        The fibre; empty where the key has one file for all.
    reference
        Whether it is a reference calibration, which no age disqualifies.
    filename
        Name in the data root's calib folder.
    humantime, unixtime
        Time of the calibration: ISO 8601 in UTC, and seconds since 1970-01-01 UTC.
    pid
        The run that made the file; may be empty.
    pdate
        When it was added, ISO 8601 in UTC.
    used
        Whether it may be chosen; off for a file that was replaced by another of its name.
    sha256
        Of the file's bytes, hex digits.
    """

    keyname: str
    fiber: str
    reference: bool
    filename: str
    humantime: str
    unixtime: float
    pid: str
    pdate: str
    used: bool
    sha256: str


def checked_mode(mode: str) -> Mode:
    """Give the mode, if it is one.

    Raises
    ------
    UsageError
        It is not.
    """
    for known in MODES:
        if mode == known:
            return known
    raise UsageError(f"unknown choice of calibrations {mode!r}: expected {', '.join(MODES)}")


def checked_age(max_age_days: float) -> float:
    """Give the largest age [days], if it is zero or more; infinity is no limit.

    Raises
    ------
    UsageError
        It is negative or not a number.
    """
    if math.isnan(max_age_days) or max_age_days < 0:
        raise UsageError(f"largest age of a calibration = {max_age_days!r} days: must be 0 or more")
    return max_age_days


def allowed(records: Sequence[CalibrationRecord], unixtime: float, mode: Mode) -> list[CalibrationRecord]:
    """Give the records on the side of the observation that the mode asks for, the closest first.

    'older' is not after the observation, 'newer' not before. Of two equally far the older comes first, then the
    first by name; a file recorded both as reference and not comes first as reference.
    """
    sided = {
        "closest": records,
        "older": [record for record in records if record.unixtime <= unixtime],
        "newer": [record for record in records if record.unixtime >= unixtime],
    }[mode]
    return sorted(sided, key=lambda r: (abs(r.unixtime - unixtime), r.unixtime, r.filename, not r.reference))


def pick(
    records: Sequence[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float
) -> CalibrationRecord | None:
    """Choose the record that serves an observation, or none.

    Reference records compete by time as all do, on the side of the observation that the mode asks for, but age
    does not disqualify them: when the closest of all is too far and not a reference, the closest reference serves.

    Parameters
    ----------
    records
        Those of one key and fibre.
    unixtime
        The observation's time [s].
    mode
        closest, older or newer.
    max_age_days
        Largest distance in time of a record that is not a reference [days]; this far is still good.
    """
    for record in allowed(records, unixtime, mode):
        if record.reference or abs(record.unixtime - unixtime) <= max_age_days * DAY_S:
            return record
    return None


def why_none(records: Sequence[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float) -> str:
    """Say why :func:`pick` found none among records of which there is at least one."""
    first = next(iter(allowed(records, unixtime, mode)), None)
    if first is None:
        first = allowed(records, unixtime, "closest")[0]
        return f"none is {mode}; the closest, {first.filename}, is {_distance(first, unixtime)}"
    side = "" if mode == "closest" else f" {mode}"
    away = _distance(first, unixtime)
    return f"the closest{side} one, {first.filename}, is {away}, further than {max_age_days:g} days; no reference one"


def _distance(record: CalibrationRecord, unixtime: float) -> str:
    days = (record.unixtime - unixtime) / DAY_S
    size = f"{abs(days):.2f}" if abs(days) >= 1 else f"{abs(days):.2g}"
    return f"{size} days {'older' if days < 0 else 'newer'}"
