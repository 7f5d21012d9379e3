"""What lies in a tree of observation directories: frames, and files that are still being copied."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from flatcore.fitsio import FITS_SUFFIXES

# Names that programs give a file while they copy it; the name it will have is the rest.
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".incomplete", "~")

# Of a file that macOS keeps beside another, and of one that NFS keeps for who still reads it: neither is copied.
NO_COPIES = ("._", ".nfs")

_FITS_WITHIN = re.compile(r"\.fits(\.gz|\.fz)?([._~-]|$)")


class Stamp(NamedTuple):
    """What changes when a file does: size [bytes], times of its contents and of its entry [ns], and its number."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True)
class Listing:
    """The files of an observation directory.

    Attributes
    ----------
    frames
        FITS files under their final names.
    copying
        Files whose names say that they are still being copied.
    others
        All other files: an end marker may be among them.
    """

    frames: Mapping[str, Stamp]
    copying: Mapping[str, Stamp]
    others: Mapping[str, Stamp]

    @property
    def digest(self) -> str:
        """Hash of all names, sizes and times; what only reading a directory changes is not in it."""
        files = sorted([*self.frames.items(), *self.copying.items(), *self.others.items()])
        text = "\n".join(f"{name}\0{stamp.size}\0{stamp.mtime_ns}" for name, stamp in files)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def youngest(self) -> float:
        """Time of the latest change of a frame's contents or entry, or of a copy's [s since 1970]; 0 where none is."""
        stamps = [*self.frames.values(), *self.copying.values()]
        return max((max(stamp.mtime_ns, stamp.ctime_ns) / 1e9 for stamp in stamps), default=0.0)

    def marker(self, pattern: str) -> str | None:
        """Give the name of a file that matches a pattern, case counting; None where there is none."""
        names = sorted([*self.others, *self.frames])
        return next((name for name in names if fnmatch.fnmatchcase(name, pattern)), None)


def is_frame(name: str) -> bool:
    """Tell whether a file's name is that of a finished FITS file."""
    return name.endswith(FITS_SUFFIXES) and not name.startswith(".")


def is_copying(name: str) -> bool:
    """Tell whether a name is one that a FITS file has while it is copied: ``.x.fits.Ab12Cd``, ``x.fits.part``, …."""
    if name.startswith(NO_COPIES):
        return False
    if name.endswith(UNFINISHED):
        return True
    return name.startswith(".") and _FITS_WITHIN.search(name) is not None


def list_folder(folder: Path) -> Listing:
    """List the files of a folder; one that vanishes meanwhile is left out.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    frames: dict[str, Stamp] = {}
    copying: dict[str, Stamp] = {}
    others: dict[str, Stamp] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stamp = _stamp(entry)
            if stamp is not None:
                kind = frames if is_frame(entry.name) else copying if is_copying(entry.name) else others
                kind[entry.name] = stamp
    return Listing(frames, copying, others)


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """Give a file's stamp, that of its target where it is a link; None for folders, and for what is gone."""
    try:
        if not entry.is_file():
            return None
        # Not entry.stat(): what it gives may be from before this call.
        status = Path(entry.path).stat()
    except OSError:
        # Gone between the listing and the look, or a link to nowhere: not a file now.
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Night(NamedTuple):
    """An observation directory: its name below the root, its folder, and whether a symbolic link leads to it."""

    name: str
    folder: Path
    linked: bool


def find_nights(root: Path) -> Iterator[Night]:
    """Find every folder below a root, at any depth, each once; links are followed, hidden folders left alone.

    A folder goes by its own name, where it has one below the root, rather than by that of a link to it.

    Raises
    ------
    OSError
        The root cannot be read; a folder below that cannot be is left out.
    """
    seen = {_identity(root)}
    pending, links = _folders(root, Path(), False)
    while pending or links:
        night = (pending or links).pop(0)
        try:
            identity = _identity(night.folder)
            found, linked = _folders(root, Path(night.name), night.linked) if identity not in seen else ([], [])
        except OSError:
            # Removed while we look, or closed to us.
            continue
        if identity not in seen:
            seen.add(identity)
            yield night
            pending, links = [*pending, *found], [*links, *linked]


def _folders(root: Path, below: Path, linked: bool) -> tuple[list[Night], list[Night]]:
    """List the folders in a folder: those that are there, and links to others."""
    with os.scandir(root / below) as entries:
        found = sorted((entry.name, entry.is_symlink()) for entry in entries if _is_folder(entry))
    nights = [(Night(str(below / name), root / below / name, linked or is_link), is_link) for name, is_link in found]
    return [night for night, is_link in nights if not is_link], [night for night, is_link in nights if is_link]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
