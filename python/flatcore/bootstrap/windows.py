"""Extraction windows as the light proposes them, as a profile."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flatcore.bootstrap.results import BootstrapResult
from flatcore.errors import UsageError
from flatcore.instrument import PACKAGED, load_profile
from flatcore.writing import replacing


def write_profile(path: Path, result: BootstrapResult, instrument: str | Path | None) -> Path:
    """Write a profile that extends the one used, with the proposed extraction windows.

    A file is extended by its path from the new one's folder: both may be moved together.

    Parameters
    ----------
    path
        The file; it is replaced.
    result
        Of the bootstrap.
    instrument
        What the bootstrap was given; the packaged profile of the frames where None.

    Raises
    ------
    UsageError
        There are no proposals, or the file is the one that is extended.
    OutputError
        The file cannot be written.
    """
    if not result.windows:
        raise UsageError(f"--write-profile {path}: this run traced no orders, and so proposes no windows")
    source = str(instrument or result.instrument)
    if source.upper() in PACKAGED:
        parent = source.upper()
    else:
        if path.resolve() == Path(source).resolve():
            raise UsageError(f"--write-profile {path}: is the profile itself; write another file, which extends it")
        parent = _path_from(path.parent, Path(source))
    # JSON's texts are TOML's too.
    lines = [f"name = {json.dumps(result.instrument)}", f"extends = {json.dumps(parent)}"]
    for window in result.windows:
        lines += [
            "",
            f"[fibers.{window.fiber}]",
            f"below = {window.proposed_below:.1f}  # was {window.below:g}",
            f"above = {window.proposed_above:.1f}  # was {window.above:g}",
        ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    load_profile(path)
    return path


def _path_from(folder: Path, profile: Path) -> str:
    """Give the path of a profile's file as one in a folder names it."""
    # A link is named, not what it leads to: what the profile extends itself is looked for beside the link.
    there = profile.parent.resolve() / profile.name
    words = os.path.relpath(there, folder.resolve())
    # A file of a packaged profile's name is that file.
    return f"./{words}" if words.upper() in PACKAGED else words
