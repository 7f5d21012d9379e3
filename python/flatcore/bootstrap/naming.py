"""Names of a bootstrap's files, and what an earlier one left under them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flatcore.bootstrap.inputs import Inputs
from flatcore.combine import product_stem
from flatcore.errors import InputError
from flatcore.fitsio import read_header
from flatcore.header import ascii_text

# Keywords of the night that a file was made from, and of the hash of all that it depends on.
NIGHT, HASH = "BOOTOBS", "BOOTHASH"
SUFFIXES = {
    "DARKREF": "dark_ref",
    "BADPIX": "badpixel",
    "BKGRDMAP": "bmap",
    "LOC": "loco",
    "ORDER_PROFILE": "order_profile",
    "SHAPEX": "shapex",
    "SHAPEY": "shapey",
    "SHAPEL": "shapel",
}
OUTPUT_IDS = {
    "DARKREF": "DARKREF",
    "BADPIX": "BADPIX",
    "BKGRDMAP": "BKGRD_MAP",
    "LOC": "LOC_LOCO",
    "ORDER_PROFILE": "LOC_ORDERP",
    "SHAPEX": "SHAPE_X",
    "SHAPEY": "SHAPE_Y",
    "SHAPEL": "SHAPEL",
}


def file_name(obs_dir: str, frames: Iterable[str], keyname: str, fiber: str) -> str:
    """Name a calibration by its night, its frames, and what it is.

    The night is in the name since frames of two nights may have the same names.
    """
    night = re.sub(r"[^A-Za-z0-9.-]", "-", obs_dir)
    suffix = f"{SUFFIXES[keyname]}_{fiber}" if fiber else SUFFIXES[keyname]
    return f"{night}_{product_stem(sorted(frames))}_{suffix}.fits"


def fingerprint(inputs: Inputs, arcs: Iterable[Path], parts: Mapping[str, Any]) -> str:
    """Hash all that the calibrations depend on: frames (name, size, time), and ``parts``, which JSON can hold."""
    frames = []
    for path in sorted({*(frame.path for frame in inputs.frames), *arcs}):
        status = path.stat()
        frames.append((path.name, status.st_size, status.st_mtime_ns))
    text = json.dumps({"frames": frames, **parts}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def made_just_so(path: Path, fingerprint: str) -> bool:
    """Tell whether a file is there that was made from the same frames in the same way."""
    return path.is_file() and read_header(path).get(HASH) == fingerprint


def refuse_foreign(paths: Iterable[Path], obs_dir: str, replace: bool) -> None:
    """Refuse to take the place of a file of another night or origin, and of any where nobody asked for that.

    Raises
    ------
    InputError
        Naming the file.
    """
    for path in paths:
        if not path.is_file():
            continue
        night = read_header(path).get(NIGHT)
        if night != ascii_text(obs_dir):
            raise InputError(f"{path}: {NIGHT} = {night!r}, expected {obs_dir!r}: it is not replaced; rename it")
        if not replace:
            raise InputError(
                f"{path}: an earlier bootstrap of {obs_dir} made it from other contents or settings; "
                "--replace makes it anew"
            )
