"""Which nights there are, and the sets of flats in each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from flatcore.assembly import header_with
from flatcore.errors import FlatcoreError, InputError, UsageError
from flatcore.fitsio import Header
from flatcore.frames import FLAT_KINDS
from flatcore.instrument import Keywords
from flatcore.nights.site import File, Site

# A date at the beginning of a folder's name: 2020-08-31, 2020_08_31, 20200831.
DATE = re.compile(r"(?<!\d)(\d{4})[-_]?(\d{2})[-_]?(\d{2})(?!\d)")


@dataclass(frozen=True)
class FoundFrame:
    """A preprocessed flat: its file, and its header."""

    file: File
    header: Header


@dataclass(frozen=True)
class FoundSet:
    """The flats of one kind of a night, or why they cannot be told.

    Attributes
    ----------
    obs_dir
        The night's folder below ``tmp``.
    kind
        DPRTYPE; empty where the frames could not be read.
    frames
        By name.
    problem
        What is wrong with the night; None where nothing is.
    """

    obs_dir: str
    kind: str
    frames: tuple[FoundFrame, ...] = ()
    problem: FlatcoreError | None = None


@dataclass(frozen=True)
class NightFilter:
    """Which nights are meant.

    Attributes
    ----------
    names
        Folders, or globs of them; all where empty.
    first, last
        Dates in the folders' names, both included; None for no limit.
    include, exclude
        Globs of folders: one of the first, if there are any, and none of the second must fit.
    kinds
        DPRTYPE of the sets that are meant.

    Raises
    ------
    UsageError
        A kind is unknown, or the dates leave nothing.
    """

    names: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    kinds: tuple[str, ...] = FLAT_KINDS

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for kind in self.kinds:
            if kind not in FLAT_KINDS:
                raise UsageError(f"--kind {kind}: unknown, expected one of {', '.join(FLAT_KINDS)}")
        if self.first and self.last and self.last < self.first:
            raise UsageError(f"--until {self.last} is before --since {self.first}")

    def means(self, obs_dir: str) -> bool:
        """Tell whether a night is meant, as far as its name tells."""
        if self.names and not any(_fits(obs_dir, name) for name in self.names):
            return False
        if self.include and not any(_fits(obs_dir, pattern) for pattern in self.include):
            return False
        if any(_fits(obs_dir, pattern) for pattern in self.exclude):
            return False
        if not (self.first or self.last):
            return True
        day = date_of(obs_dir)
        return day is not None and (self.first or day) <= day <= (self.last or day)


def find_sets(
    site: Site,
    wanted: NightFilter,
    tell: Callable[[int, int], None] = lambda done, of: None,
    keywords: Keywords | None = None,
) -> list[FoundSet]:
    """Find the sets of flats of the nights that are meant, by night and kind.

    A night whose frames cannot be read is one set with its problem; a night without flats is none.

    Parameters
    ----------
    site
        Where the nights are.
    wanted
        Which of them.
    tell
        Called with the number of nights that were looked into, and of all.
    keywords
        Where the instrument's profile finds header values, for frames that do not have them by flatcore's names.

    Raises
    ------
    InputError
        A night that is named is not there.
    """
    there = site.nights()
    for name in wanted.names:
        if not any(_fits(obs_dir, name) for obs_dir in there):
            close = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
            raise InputError(f"{name}: no such night in {site.frames_root}" + (f"; there are {close}" if close else ""))
    meant = [obs_dir for obs_dir in there if wanted.means(obs_dir)]
    found: list[FoundSet] = []
    for number, obs_dir in enumerate(meant):
        tell(number, len(meant))
        found += _sets_of(site, obs_dir, wanted.kinds, keywords or {})
    tell(len(meant), len(meant))
    return found


def _sets_of(site: Site, obs_dir: str, kinds: Sequence[str], keywords: Keywords) -> Iterable[FoundSet]:
    """Sort a night's flats by kind; whatever is wrong is the night's own."""
    by_kind: dict[str, list[FoundFrame]] = {}
    try:
        for file in site.files(obs_dir):
            header = site.header(file)
            if str(header.get("DRSOUTID", "DRS_PP")).strip() != "DRS_PP":
                continue
            path = Path(file.path)
            header = header_with(header, {key: keywords[key] for key in keywords if key == "DPRTYPE"}, path)
            if "DPRTYPE" not in header:
                raise InputError(f"{file.path}: header keyword DPRTYPE is missing")
            if header["DPRTYPE"] in FLAT_KINDS:
                header = header_with(header, keywords, path)
            by_kind.setdefault(str(header["DPRTYPE"]), []).append(FoundFrame(file, header))
    except FlatcoreError as problem:
        return [FoundSet(obs_dir, "", (), problem)]
    return [FoundSet(obs_dir, kind, tuple(by_kind[kind])) for kind in FLAT_KINDS if kind in by_kind and kind in kinds]


def _fits(obs_dir: str, pattern: str) -> bool:
    name = pattern.rstrip("/")
    return obs_dir == name or fnmatchcase(obs_dir, name)


def date_of(obs_dir: str) -> date | None:
    """Give the date in a folder's name, if there is one."""
    for match in DATE.finditer(obs_dir):
        year, month, day = (int(part) for part in match.groups())
        try:
            return date(year, month, day)
        except ValueError:
            continue
    return None


def date_of_text(text: str, option: str, today: date | None = None) -> date:
    """Read a date, or a number of days or weeks before today: ``2020-08-31``, ``7d``, ``2w``.

    Raises
    ------
    UsageError
        It is neither; the message names the option.
    """
    span = re.fullmatch(r"(\d{1,5})([dw])", text.strip())
    if span:
        return (today or datetime.now(UTC).date()) - timedelta(days=int(span[1]) * (7 if span[2] == "w" else 1))
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option} {text}: expected a date such as 2020-08-31, or 7d or 2w before today") from None
