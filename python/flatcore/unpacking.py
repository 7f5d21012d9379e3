"""Plain copies of compressed files, in a scratch folder."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from flatcore.errors import InputError


def _scratch_file(path: Path, scratch: Path | None) -> Path:
    if scratch is None:
        raise InputError(f"{path}: compressed, and no folder for an uncompressed copy was given")
    handle, name = tempfile.mkstemp(suffix=".fits", dir=scratch)
    os.close(handle)
    return Path(name)


def gunzipped(path: Path, scratch: Path | None) -> Path:
    """Uncompress a ``.gz`` file.

    Raises
    ------
    InputError
        It cannot be uncompressed, or no scratch folder was given.
    """
    plain = _scratch_file(path, scratch)
    try:
        with gzip.open(path, "rb") as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be uncompressed: {error}") from error
    return plain


def untiled(hdu: Any, path: Path, scratch: Path | None) -> Path:
    """Write a tile-compressed image to a plain file, with its scale.

    Raises
    ------
    InputError
        No scratch folder was given.
    """
    plain = _scratch_file(path, scratch)
    bare = fits.PrimaryHDU(np.asarray(hdu.data))
    for keyword in ("BSCALE", "BZERO", "BLANK"):
        if keyword in hdu.header:
            bare.header[keyword] = hdu.header[keyword]
    bare.writeto(plain, overwrite=True)
    return plain
