"""Where the headers of an unknown instrument have what flatcore reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatcore.fitsio import Header

# Names in use for what flatcore reads, its own first.
EXPOSURES = ("EXPTIME", "EXPOSURE", "ITIME", "ELAPTIME", "TEXPTIME", "EXP_TIME", "EXPT", "TELAPSE", "ITEMP", "DIT",
             "HIERARCH ESO DET WIN1 UIT1", "HIERARCH ESO DET WIN1 DIT1", "HIERARCH ESO DET DIT")  # fmt: skip
MIDDLES = ("MJDMID", "MJD-MID", "MJD_MID", "MJD-AVG")
STARTS = ("MJD-OBS", "MJDATE", "MJD-STR", "MJD", "MJDSTART", "MJD-BEG", "MJDOBS")
ENDS = ("MJDEND", "MJD-END")
JULIAN = ("JD", "JD-OBS", "JD_UTC")
DATES = ("DATE-OBS", "DATE_OBS", "DATE-BEG", "DATEOBS")
TIMES = ("UTC", "UT", "UTSTART", "TIME-OBS", "UTC-OBS", "UT-OBS", "TIME_OBS")
READNOISES = ("RDNOISE", "RON", "READNOIS", "READNOISE", "ENOISE", "RNOISE", "RDNOISE1", "HIERARCH ESO DET OUT1 RON")
GAINS = ("GAIN", "EGAIN", "CCDGAIN", "EPERDN", "GAIN1", "HIERARCH ESO DET OUT1 CONAD")
SATURATIONS = ("SATURATE", "SATLEVEL", "DATAMAX", "MAXLIN", "FULLWELL")
NAMES = ("INSTRUME", "INSTRUM", "INSTR", "INSTNAME", "DETNAM", "CAMERA", "DETECTOR")
KINDS = ("IMAGETYP", "IMTYPE", "OBSTYPE", "OBS_TYPE", "OBS-TYPE", "EXPTYPE", "FRAMETYP", "HIERARCH ESO DPR TYPE",
         "CALTYPE", "OBSMODE", "DATATYP", "DATA-TYP", "LAMP", "LAMPNAME", "OBJECT")  # fmt: skip
FLAT_KINDS = ("FLAT_FLAT", "DARK_FLAT", "FLAT_DARK")
FLAT_WORDS = ("flat", "lamp", "tung", "quartz", "halogen", "continuum", "white", "sphere")

JD_OF_MJD_0 = 2_400_000.5


@dataclass(frozen=True)
class Found:
    """Where a value comes from.

    Attributes
    ----------
    source
        As in a profile's ``[keywords]``; None where the header has it by flatcore's own name.
    value
        What the first flat has.
    origin
        In words.
    """

    source: Mapping[str, Any] | str | float | None
    value: Any
    origin: str


def number(header: Header, names: Sequence[str], above: float = 0.0) -> tuple[str, float] | None:
    """Give the first of some keywords that holds a number above a limit, and the number."""
    for name in names:
        value = header.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > above:
            return name, float(value)
    return None


def words(header: Header, names: Sequence[str]) -> tuple[str, str] | None:
    """Give the first of some keywords that holds text, and the text."""
    for name in names:
        value = header.get(name)
        if isinstance(value, str) and value.strip():
            return name, value.strip()
    return None


def find_exposure(header: Header) -> Found | None:
    """Find the exposure time; one whose comment says milliseconds is scaled."""
    found = number(header, EXPOSURES, -1.0)
    if found is None:
        return None
    name, seconds = found
    comment = str(header.comments[name]).casefold()
    if "[ms]" in comment or "millisec" in comment:
        return Found({"keyword": name, "factor": 0.001}, seconds / 1000, f"{name}, milliseconds by its comment")
    return Found(None if name == "EXPTIME" else name, seconds, name)


def find_times(header: Header) -> dict[str, Found]:
    """Find MJDMID and MJDEND, from the start of the exposure where need be."""
    middle, end, start = number(header, MIDDLES), number(header, ENDS), _start(header)
    found: dict[str, Found] = {}
    if middle is not None:
        found["MJDMID"] = Found(None if middle[0] == "MJDMID" else middle[0], middle[1], middle[0])
    elif start is not None:
        found["MJDMID"] = Found(start.source | {"exposures": 0.5}, start.value, f"{start.origin} and half of EXPTIME")
    if end is not None:
        found["MJDEND"] = Found(None if end[0] == "MJDEND" else end[0], end[1], end[0])
    elif start is not None:
        found["MJDEND"] = Found(start.source | {"exposures": 1.0}, start.value, f"{start.origin} and EXPTIME")
    return found


@dataclass(frozen=True)
class _Start:
    source: dict[str, Any]
    value: Any
    origin: str


def _start(header: Header) -> _Start | None:
    start = number(header, STARTS)
    if start is not None:
        return _Start({"keyword": start[0]}, start[1], start[0])
    julian = number(header, JULIAN, JD_OF_MJD_0)
    if julian is not None:
        return _Start({"keyword": julian[0], "offset": -JD_OF_MJD_0}, julian[1], julian[0])
    date = words(header, DATES)
    if date is None:
        return None
    if "T" in date[1]:
        return _Start({"keyword": date[0]}, date[1], date[0])
    time = next((found for name in TIMES if (found := words(header, [name])) and ":" in found[1]), None)
    if time is None:
        return None
    return _Start({"keyword": date[0], "time": time[0]}, f"{date[1]} {time[1]}", f"{date[0]} with {time[0]}")


def find_kind(flats: Sequence[Header], darks: Sequence[Header], biases: Sequence[Header], dprtype: str) -> Found | None:
    """Find the keyword that tells flats from other frames.

    Parameters
    ----------
    flats, darks, biases
        Headers.
    dprtype
        What such flats are to flatcore.

    Returns
    -------
    Found or None
        None where no keyword does.
    """
    own = [header.get("DPRTYPE") for header in flats]
    if all(kind in FLAT_KINDS for kind in own):
        return Found(None, own[0], "DPRTYPE")
    others = [*darks, *biases]
    ranked: list[tuple[tuple[bool, bool, int], str, str]] = []
    for rank, name in enumerate(KINDS):
        values = {str(header.get(name, "")).strip() for header in flats}
        if len(values) != 1 or values == {""}:
            continue
        (value,) = values
        apart = all(str(header.get(name, "")).strip() != value for header in others)
        speaking = any(word in value.casefold() for word in FLAT_WORDS)
        if apart and (speaking or others):
            ranked.append(((not speaking, bool(others) and not apart, rank), name, value))
    if not ranked:
        return None
    _, name, value = min(ranked)
    values_of = {_pattern(value): dprtype}
    for headers, kind in ((biases, "BIAS"), (darks, "DARK_DARK")):
        for header in headers:
            if str(header.get(name, "")).strip():
                values_of[_pattern(str(header[name]).strip())] = kind
    return Found({"keyword": name, "values": values_of, "otherwise": "OTHER"}, value, f"{name} = {value!r}")


def _pattern(text: str) -> str:
    """Give a pattern that fits a text: what patterns use themselves stands for any character."""
    return "".join("?" if letter in "[]*?" else letter for letter in text)
