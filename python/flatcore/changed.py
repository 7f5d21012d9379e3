"""What of a run's settings and profile is not as flatcore comes: the values someone chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flatcore.errors import UsageError
from flatcore.instrument import load_profile
from flatcore.settings import Settings


def changed_settings(settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give by name the settings that differ from this flatcore's defaults, with the default; unknown ones: None."""
    defaults = Settings().model_dump(mode="json")
    return {
        f"{section}.{key}": (value, defaults.get(section, {}).get(key))
        for section, table in settings.items()
        for key, value in table.items()
        if value != defaults.get(section, {}).get(key)
    }


def changed_profile(profile: Mapping[str, Any], asked: str) -> dict[str, tuple[Any, Any]] | None:
    """Give by name the values of a profile that differ from where it came from, with the value there.

    Parameters
    ----------
    profile
        As a run's record holds it.
    asked
        What the run was told by ``--instrument``: a packaged name or a TOML file; empty where it chose by itself.

    Returns
    -------
    dict or None
        None where there is nothing to compare with: the file is gone, or the profile is of another version.
    """
    source = asked or str(profile.get("name", ""))
    try:
        origin = load_profile(Path(source) if Path(source).is_file() else source).model_dump(mode="json")
    except UsageError:
        return None
    there = dict(_leaves("", origin))
    return {name: (value, there.get(name)) for name, value in _leaves("", profile) if value != there.get(name)}


def _leaves(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _leaves(name, value)
        else:
            yield name, value
