"""Header values by the names that flatcore reads, from headers that name or have them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from flatcore.errors import InputError
from flatcore.fitsio import Header
from flatcore.instrument import Source

DAY_S = 86_400.0
MJD_OF_UNIX_EPOCH = 40_587.0
# Those that are times in MJD: text in the header is a date.
TIMES = ("MJDATE", "MJDMID", "MJDEND")


def header_with(header: Header, keywords: Mapping[str, Source], path: Path) -> Header:
    """Give a header with the values that a profile's ``[keywords]`` tell.

    Parameters
    ----------
    header
        A frame's; not changed.
    keywords
        Sources by the keyword that flatcore reads.
    path
        The file, for error messages.

    Raises
    ------
    InputError
        A keyword that a source names is missing, or its value cannot be understood.
    """
    if not keywords:
        return header
    mapped = header.copy()
    # Times may need EXPTIME.
    for keyword, source in sorted(keywords.items(), key=lambda item: item[0] in TIMES):
        mapped[keyword] = _value(keyword, source, header, mapped, path)
    return mapped


def _value(keyword: str, source: Source, header: Header, mapped: Header, path: Path) -> Any:
    if source.keyword is None:
        return source.value
    if source.keyword not in header:
        if source.otherwise is not None:
            return source.otherwise
        raise InputError(f"{path}: header keyword {source.keyword} is missing, which the profile has for {keyword}")
    found = header[source.keyword]
    named = f"{path}: header keyword {source.keyword} = {found!r}"
    if source.values:
        return _translated(str(found).strip(), source, f"{named}, which the profile has for {keyword}")
    if keyword in TIMES and isinstance(found, str):
        day = f"{found.strip()}T{str(header.get(source.time, '')).strip()}" if source.time else found.strip()
        found = mjd_of(day, f"{path}: header keyword {source.keyword} = {day!r}")
    if (source.factor, source.offset, source.exposures) == (1.0, 0.0, 0.0):
        return found
    if isinstance(found, (bool, str)):
        raise InputError(f"{named}: expected a number, which the profile scales to {keyword}")
    shift = source.exposures * _seconds(mapped, path) / DAY_S if source.exposures else 0.0
    return found * source.factor + source.offset + shift


def _translated(text: str, source: Source, named: str) -> Any:
    for pattern, value in source.values.items():
        if fnmatchcase(text.casefold(), pattern.casefold()):
            return value
    if source.otherwise is not None:
        return source.otherwise
    raise InputError(f"{named}: expected one of {', '.join(source.values)}")


def mjd_of(text: str, named: str) -> float:
    """Give the MJD of an ISO 8601 date, UTC where it says nothing else.

    Raises
    ------
    InputError
        The text is no such date; the message begins with ``named``.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{named}: expected a date as 2020-08-31T20:00:00") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return when.timestamp() / DAY_S + MJD_OF_UNIX_EPOCH


def _seconds(header: Header, path: Path) -> float:
    seconds = header.get("EXPTIME")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InputError(f"{path}: header keyword EXPTIME = {seconds!r}: expected a number of seconds")
    return float(seconds)
