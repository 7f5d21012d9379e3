"""Where nights and calibrations are: a folder that all workers see, or a storage from which they are fetched."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from flatcore.caldb import CalibrationDatabase, RunRecord
from flatcore.errors import InputError, UsageError
from flatcore.fingerprint import Stamp
from flatcore.fitsio import FITS_SUFFIXES, Header, read_header
from flatcore.register import Candidate, Registered, register
from flatcore.results import ChosenCalibration
from flatcore.resume import all_there, straight_profiles


@dataclass(frozen=True)
class File:
    """A file of a night: where it is, and what tells it from another."""

    path: str
    stamp: Stamp

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(self.path).name


class Site(ABC):
    """A data root, as the process that plans sees it."""

    @property
    @abstractmethod
    def frames_root(self) -> str:
        """Folder of the nights, as messages show it."""

    @property
    @abstractmethod
    def data_root(self) -> Path:
        """The data root as a folder of this machine; for a storage elsewhere one that holds nothing."""

    @abstractmethod
    def nights(self) -> list[str]:
        """Give the folders below ``tmp`` that hold FITS files, sorted."""

    @abstractmethod
    def files(self, obs_dir: str) -> list[File]:
        """Give the FITS files of a night by name, each file once."""

    @abstractmethod
    def header(self, file: File) -> Header:
        """Read a file's header."""

    @abstractmethod
    def is_whole(self, run: RunRecord, chosen: Sequence[ChosenCalibration], fibers: Sequence[str]) -> bool:
        """Tell whether a run's products are all there, and still its own."""

    @abstractmethod
    def red_folder(self, obs_dir: str) -> str:
        """Where a night's products go."""

    @abstractmethod
    def database(self) -> CalibrationDatabase:
        """Name the database of calibrations, with its store as this machine sees it."""

    @abstractmethod
    def register(
        self, made: Sequence[Candidate], database: CalibrationDatabase, pid: str, reference: bool
    ) -> Registered:
        """Add flats and blazes to store and database."""


@dataclass(frozen=True)
class Folder(Site):
    """A data root that this machine and every worker see under the same path.

    Attributes
    ----------
    root
        Holds ``tmp/``, ``calib/`` and ``red/``.
    database_url
        Of the database; SQLite in the data root where None.
    """

    root: Path
    database_url: str | None = None

    @property
    def frames_root(self) -> str:
        """Folder of the nights, as messages show it."""
        return str(self.root / "tmp")

    @property
    def data_root(self) -> Path:
        """The data root."""
        return self.root

    def nights(self) -> list[str]:
        """Give the folders below ``tmp`` that hold FITS files, sorted.

        Raises
        ------
        InputError
            There is no such folder.
        """
        top = self.root / "tmp"
        with _reading(top):
            if not top.is_dir():
                raise InputError(f"{top}: no such folder; the data root holds the nights in tmp/")
        found: list[str] = []

        def unreadable(error: OSError) -> None:
            # It may be a night: whoever asks for its files is told what is wrong.
            found.append(str(error.filename))

        for folder, below, names in os.walk(top, onerror=unreadable, followlinks=True):
            below[:] = sorted(name for name in below if not name.startswith(".") and not _leads_up(folder, name))
            if any(is_fits(name) for name in names):
                found.append(folder)
        return sorted(Path(folder).relative_to(top).as_posix() for folder in found if folder != str(top))

    def files(self, obs_dir: str) -> list[File]:
        """Give the FITS files of a night by name, each file once: of a file and links to it, the file."""
        folder = self.root / "tmp" / obs_dir
        with _reading(folder):
            paths = [path for path in folder.iterdir() if is_fits(path.name)]
            by_file: dict[Path, Path] = {}
            for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
                by_file.setdefault(path.resolve(), path)
            return [File(str(path), Stamp.of(path)) for path in sorted(by_file.values())]

    def header(self, file: File) -> Header:
        """Read a file's header."""
        with _reading(Path(file.path)):
            return read_header(Path(file.path))

    def is_whole(self, run: RunRecord, chosen: Sequence[ChosenCalibration], fibers: Sequence[str]) -> bool:
        """Tell whether a run's products are all there, and still its own."""
        kept = straight_profiles(Path(self.red_folder(run.obs_dir)), chosen, fibers)
        return all_there(run, kept)

    def red_folder(self, obs_dir: str) -> str:
        """Where a night's products go."""
        return str(self.root / "red" / obs_dir)

    def database(self) -> CalibrationDatabase:
        """Name the database of calibrations."""
        return CalibrationDatabase.open(self.root, self.database_url)

    def register(
        self, made: Sequence[Candidate], database: CalibrationDatabase, pid: str, reference: bool
    ) -> Registered:
        """Add flats and blazes to store and database."""
        return register(made, database, pid, reference=reference)


def site_of(data_root: str, database_url: str | None, options: Mapping[str, Any] | None = None) -> Site:
    """Give the site of a data root: a folder, or a storage by URL such as ``s3://bucket/root``.

    Parameters
    ----------
    options
        Of the storage, as fsspec takes them.

    Raises
    ------
    UsageError
        Nothing can open such a URL, or it needs a database elsewhere.
    """
    if not is_url(data_root):
        if options:
            raise UsageError("--storage-option: the data root is a folder; options are for storages by URL")
        return Folder(Path(data_root.removeprefix("file://")).absolute(), database_url)
    from flatcore.nights.storage import Storage  # noqa: PLC0415 - fsspec only where the data root is a URL

    return Storage.open(data_root.rstrip("/"), database_url, options or {})


def is_url(data_root: str) -> bool:
    """Tell whether a data root is a storage behind a URL, not a folder."""
    return "://" in data_root and not data_root.startswith("file://")


@contextlib.contextmanager
def _reading(what: Path) -> Iterator[None]:
    """Name what the system does not let be read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or what}: cannot be read: {error.strerror or error}") from error


def _leads_up(folder: str, name: str) -> bool:
    """Tell whether a link leads to a folder that it is in itself: to follow it would never end."""
    path = Path(folder, name)
    return path.is_symlink() and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path))


def is_fits(name: str) -> bool:
    """Tell whether a file of this name is a frame, and not one that is being written."""
    return name.endswith(FITS_SUFFIXES) and not name.startswith(".")
