"""A profile in the making: its values, where each comes from, and its TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flatcore.survey.sections import FoundAmplifier

WIDTH = 40


@dataclass(frozen=True)
class Draft:
    """Values of a profile.

    Attributes
    ----------
    name
        Of the instrument.
    header
        Keywords and values by which its frames are recognised.
    keywords
        The ``[keywords]`` table.
    detector
        The ``[detector]`` table without amplifiers.
    amplifiers
        Theirs, with their gains [electrons per ADU].
    fibers
        Names, and the windows' half-widths below and above [pixels].
    box
        Of the background [pixels].
    origins
        By ``table.key``: where a value comes from, for the comment beside it.
    """

    name: str
    header: Mapping[str, str]
    keywords: Mapping[str, Any]
    detector: Mapping[str, Any]
    amplifiers: Sequence[tuple[FoundAmplifier, float]]
    fibers: Mapping[str, tuple[float, float]]
    box: int
    origins: Mapping[str, str] = field(default_factory=dict)


def toml_text(draft: Draft) -> str:
    """Write a profile, with a comment beside each value on where it comes from."""
    lines = [
        f"# {draft.name}: drafted from its files. Every value says where it comes from; correct what is wrong.",
        "# Keys and their meaning: docs/profiles.md of flatcore.",
        f"name = {_value(draft.name)}",
    ]
    if draft.header:
        lines += ["", "[header]                                # a frame is this instrument's by", *_rows(draft.header)]
    if draft.keywords:
        lines += ["", "[keywords]                              # what flatcore reads, and where these headers have it"]
        lines += _rows(draft.keywords, draft.origins, "keywords")
    lines += ["", "[detector]", *_rows(draft.detector, draft.origins, "detector")]
    for i, (amplifier, gain) in enumerate(draft.amplifiers):
        table: dict[str, Any] = {"hdu": amplifier.hdu, "data": amplifier.data}
        if amplifier.overscan is not None:
            table["overscan"] = amplifier.overscan
        table |= {"gain": gain, "at": amplifier.at, "flip": amplifier.flip}
        lines += ["", "[[detector.amplifiers]]", *_rows(table, draft.origins, f"amplifiers.{i}")]
    for i, (name, (below, above)) in enumerate(draft.fibers.items()):
        table = {"channel": min(i, 1), "localisation": name, "traces": "all", "below": below, "above": above}
        lines += ["", f"[fibers.{name}]", *_rows(table, draft.origins, "fibers")]
    lines += ["", "[background]", *_rows({"box": draft.box}, draft.origins, "background"), ""]
    return "\n".join(lines)


def _rows(table: Mapping[str, Any], origins: Mapping[str, str] | None = None, prefix: str = "") -> list[str]:
    rows = []
    for key, value in table.items():
        text = f"{key} = {_value(value)}"
        origin = (origins or {}).get(f"{prefix}.{key}", "")
        rows.append(f"{text:<{WIDTH - 1}} # {origin}" if origin else text)
    return rows


def _value(value: Any) -> str:
    """Write a value as TOML; its strings are those of JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(below)}" for key, below in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(below) for below in value) + "]"
    if isinstance(value, float):
        return repr(float(f"{value:.6g}"))
    return json.dumps(value)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)
