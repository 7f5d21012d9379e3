"""What a calibration file is: its key in the calibration database, its fibre and its time."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flatcore.errors import InputError, UsageError
from flatcore.fitsio import read_header
from flatcore.header import failed_quality_control, required

DAY_S = 86_400.0
MJD_OF_UNIX_EPOCH = 40_587.0

# Key, whether there is one file per fibre, and the other names it goes by: DRSOUTID of the product, old keys.
_KINDS: tuple[tuple[str, bool, tuple[str, ...]], ...] = (
    ("DARKREF", False, ("DARKM", "DARK_MASTER")),
    ("BADPIX", False, ("BADPIX_MAP",)),
    ("BKGRDMAP", False, ("BKGRD_MAP",)),
    ("LOC", True, ("LOC_LOCO",)),
    ("ORDER_PROFILE", True, ("LOC_ORDERP",)),
    ("SHAPEX", False, ("SHAPE_X",)),
    ("SHAPEY", False, ("SHAPE_Y",)),
    ("SHAPEL", False, ("SHAPE_L",)),
    ("FLAT", True, ("FF_FLAT",)),
    ("BLAZE", True, ("FF_BLAZE",)),
)
KEYS = tuple(key for key, _, _ in _KINDS)
PER_FIBER = frozenset(key for key, per_fiber, _ in _KINDS if per_fiber)


def _folded(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


_BY_NAME = {_folded(name): key for key, _, others in _KINDS for name in (key, *others)}


@dataclass(frozen=True)
class Identity:
    """What a calibration file says it is.

    Attributes
    ----------
    keyname
        One of :data:`KEYS`.
    fiber
        The fibre; empty where the key has one file for all.
    unixtime
        Middle of the exposure [s since 1970-01-01 UTC].
    pid
        The run that made the file, from DRSPID; empty where the header does not tell.
    """

    keyname: str
    fiber: str
    unixtime: float
    pid: str


def same_key(name: str) -> str:
    """Give the key that a key, an alias or a DRSOUTID stands for; a name unknown to flatcore in upper case.

    Case and punctuation do not matter: DARKM, DARK_REF and darkref are all DARKREF.
    """
    folded = _folded(name)
    # Dark masters carry what they were made for in the rest of the name (DARKM_FP, ...).
    return "DARKREF" if folded.startswith("DARKM") else _BY_NAME.get(folded, name.strip().upper())


def known_key(name: str) -> str:
    """Give the key that a name stands for, as :func:`same_key`, and refuse unknown ones.

    Raises
    ------
    UsageError
        No such key; the message names the closest one and all.
    """
    key = same_key(name)
    if key not in KEYS:
        close = difflib.get_close_matches(key, KEYS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"unknown calibration key {name!r}: {hint}known keys are {', '.join(KEYS)}")
    return key


def fiber_of_key(keyname: str, fiber: str | None) -> str:
    """Give the fibre under which a key is recorded: none for the keys that have one file for all fibres."""
    return (fiber or "").strip() if keyname in PER_FIBER else ""


def identify(
    path: Path, *, keyname: str | None = None, fiber: str | None = None, unixtime: float | None = None
) -> Identity:
    """Tell what a calibration file is, from what is given and, for the rest, from its header.

    The key is the header's KEYNAME, or follows from DRSOUTID. The time is MJDMID, or MJDATE. A fibre given for
    a key without fibres is ignored.

    Raises
    ------
    UsageError
        The key or the time given is not one.
    InputError
        The file is no calibration, failed its quality control, or misses a keyword; the message names both.
    """
    header: Mapping[str, Any] = read_header(path)
    _refuse_failed(header, path)
    key = known_key(keyname) if keyname is not None else _key_of_header(header, path)
    time_s = _time_of_header(header, path) if unixtime is None else unixtime
    try:
        iso_utc(time_s)
    except UsageError as error:
        if unixtime is not None:
            raise
        raise InputError(f"{path}: {error} (from MJDMID or MJDATE)") from error
    return Identity(key, _fiber_of_header(header, path, key, fiber), time_s, str(header.get("DRSPID", "")).strip())


def unix_of_mjd(mjd: float) -> float:
    """Convert a modified Julian date [days, UTC] to Unix time [s]."""
    return (mjd - MJD_OF_UNIX_EPOCH) * DAY_S


def unix_of_text(text: str) -> float:
    """Read a time [s since 1970-01-01 UTC]: ISO 8601, in UTC unless it has a zone, or a modified Julian date.

    Raises
    ------
    UsageError
        The text is neither.
    """
    try:
        # A number of eight digits is a date without hyphens; no calibration is of its MJD.
        if not re.fullmatch(r"\d{8}", text.strip()):
            return unix_of_mjd(float(text))
    except ValueError:
        pass  # no number, so a date
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time: expected ISO 8601 (2020-08-31T12:00:00) or MJD (59092.5)") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def time_of_file(path: Path) -> float:
    """Read a FITS file's time, MJDMID or MJDATE of its header [s since 1970-01-01 UTC].

    Raises
    ------
    InputError
        The file cannot be read, or its header has neither.
    """
    return _time_of_header(read_header(path), path)


def iso_utc(unixtime: float, timespec: str = "milliseconds") -> str:
    """Write a Unix time [s] as ISO 8601 in UTC, without a zone as in FITS headers.

    Raises
    ------
    UsageError
        The time is not finite, or not within the years 1 to 9999.
    """
    try:
        if not math.isfinite(unixtime):
            raise OverflowError
        # Rounded first: isoformat cuts, and would print 29.999 for what is 30 but for the last bit.
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(unixtime, 3))
    except OverflowError as error:
        raise UsageError(f"{unixtime!r} s since 1970 is not a time") from error
    return moment.replace(tzinfo=None).isoformat(timespec=timespec)


def _refuse_failed(header: Mapping[str, Any], path: Path) -> None:
    if failed_quality_control(header):
        raise InputError(
            f"{path}: failed its quality control (QCC_ALL = {header['QCC_ALL']!r}); it cannot be a calibration"
        )


def _key_of_header(header: Mapping[str, Any], path: Path) -> str:
    for keyword in ("KEYNAME", "DRSOUTID"):
        if keyword in header:
            value = required(header, keyword, path, str)
            key = same_key(value)
            if key not in KEYS:
                raise InputError(
                    f"{path}: header keyword {keyword} = {value!r} is not a calibration; known keys are "
                    f"{', '.join(KEYS)}; if it is one of them, say which with --key"
                )
            return key
    raise InputError(f"{path}: header keywords KEYNAME and DRSOUTID are missing; say what the file is with --key")


def _fiber_of_header(header: Mapping[str, Any], path: Path, key: str, given: str | None) -> str:
    if key not in PER_FIBER:
        return ""
    if given is None and "FIBER" in header:
        given = required(header, "FIBER", path, str)
    fiber = fiber_of_key(key, given)
    if not fiber:
        raise InputError(
            f"{path}: header keyword FIBER is missing; a {key} file is of one fibre: say which with --fiber"
        )
    return fiber


def _time_of_header(header: Mapping[str, Any], path: Path) -> float:
    for keyword in ("MJDMID", "MJDATE"):
        if keyword in header:
            return unix_of_mjd(required(header, keyword, path))
    raise InputError(f"{path}: header keywords MJDMID and MJDATE are missing; one must give the file's time")
