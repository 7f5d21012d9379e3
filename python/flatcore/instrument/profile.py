"""A spectrograph as flatcore sees it, and where its profile is read from."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from flatcore.errors import InputError, UsageError
from flatcore.instrument.base import Section, explain
from flatcore.instrument.detector import Detector
from flatcore.instrument.keywords import Keywords
from flatcore.instrument.sections import Background, Blaze, Fiber, Input, Plot, Qc
from flatcore.instrument.simulated import Simulated

PACKAGED = ("SPIROU", "NIRPS_HA", "NIRPS_HE", "SMALL")


class Profile(Section):
    """A spectrograph as flatcore sees it.

    Attributes
    ----------
    name
        Name in products and messages.
    header
        Keywords and values by which a frame is recognised; INSTRUME = name where none is given.
    keywords
        Where the header values come from that the frames name or have otherwise.
    simulate
        What a simulated night of the instrument is like.
    """

    name: Annotated[str, Field(min_length=1)]
    header: dict[str, str] = Field(default_factory=dict)
    keywords: Keywords = Field(default_factory=dict)
    detector: Detector
    input: Input = Input()
    fibers: Annotated[dict[str, Fiber], Field(min_length=1)]
    background: Background = Background()
    blaze: Blaze = Blaze()
    qc: Qc = Qc()
    plot: Plot = Plot()
    simulate: Simulated | None = None

    def matches(self, header: Mapping[str, Any]) -> bool:
        """Tell whether a frame's header is this instrument's (values compared without regard to case)."""
        wanted = self.header or {"INSTRUME": self.name}
        return all(_folded(header.get(key, "")) == _folded(value) for key, value in wanted.items())


def load_profile(source: str | Path) -> Profile:
    """Read a profile by packaged name (``SPIROU``) or from a TOML file.

    Parameters
    ----------
    source
        A packaged name, without regard to case, or the path of a TOML file.

    Raises
    ------
    UsageError
        The file is missing, is not TOML, has an unknown key or a value out of range; the message names the key.
    """
    return _validated(_read(source, ()), f"instrument profile {source}")


def profile_from_text(text: str, origin: str) -> Profile:
    """Read a profile from TOML that extends no other.

    Parameters
    ----------
    text
        TOML.
    origin
        Where it comes from, for error messages.

    Raises
    ------
    UsageError
        As of :func:`load_profile`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not valid TOML: {error}") from error
    return _validated(table, origin)


def profile_from_table(table: Mapping[str, Any], origin: str) -> Profile:
    """Make a profile of nested tables as in the TOML form.

    Raises
    ------
    UsageError
        As of :func:`load_profile`.
    """
    return _validated(table, origin)


def profile_with(profile: Profile, changes: Mapping[str, Any], origin: str) -> Profile:
    """Give the profile with some values replaced.

    Parameters
    ----------
    changes
        Nested tables as in the TOML form, for example ``{"blaze": {"cut": 0.2}}``.
    origin
        Where the changes come from, for error messages.

    Raises
    ------
    UsageError
        An unknown key or a value out of range.
    """
    return _validated(_merged(profile.model_dump(mode="json"), changes), origin) if changes else profile


def profile_for_header(header: Mapping[str, Any], path: Path) -> Profile:
    """Choose the packaged profile by a frame's header.

    Raises
    ------
    InputError
        No packaged profile recognises the header.
    """
    for name in PACKAGED:
        profile = load_profile(name)
        if profile.matches(header):
            return profile
    found = ", ".join(f"{key} = {header.get(key, 'missing')!r}" for key in ("INSTRUME", "DRSMODE"))
    raise InputError(
        f"{path}: no packaged instrument profile fits this header ({found}); "
        f"packaged are {', '.join(PACKAGED)}; give one with --instrument FILE"
    )


def _folded(value: object) -> str:
    return str(value).strip().casefold()


def _read(source: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """Read a TOML profile and, below it, the profiles it extends."""
    if str(source).upper() in PACKAGED:
        origin = str(source).upper()
        text = resources.files("flatcore.instruments").joinpath(f"{origin}.toml").read_text()
        folder = Path()
    else:
        path = Path(source)
        if not path.is_file():
            close = difflib.get_close_matches(str(source).upper(), PACKAGED, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; packaged are {', '.join(PACKAGED)}"
            raise UsageError(f"instrument profile {source!s}: no such file{hint}")
        # Absolute: below the current folder, a file may be called as a packaged profile is.
        origin, folder = str(path.resolve()), path.absolute().parent
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"instrument profile {origin}: cannot be read as text: {error}") from error
    if origin in seen:
        raise UsageError(f"instrument profile {origin}: extends itself by way of {' -> '.join(seen)}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"instrument profile {origin}: not valid TOML: {error}") from error
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise UsageError(f"instrument profile {origin}: extends = {parent!r} must be a name or a path")
    parent_source = parent if parent.upper() in PACKAGED else folder / parent
    return _merged(_read(parent_source, (*seen, origin)), table)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay tables over one another, key by key."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        both_tables = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _validated(table: Mapping[str, Any], origin: str) -> Profile:
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{origin}: {explain(error)}") from error
