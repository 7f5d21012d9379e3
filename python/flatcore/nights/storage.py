"""A data root in an object storage or behind another URL, by fsspec."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from flatcore.caldb import CalibrationDatabase, CalibrationRecord, RunRecord
from flatcore.caldb.keys import iso_utc, unix_of_mjd
from flatcore.errors import InputError, OutputError, UsageError
from flatcore.fingerprint import Stamp
from flatcore.fitsio import Header, header_of_stream
from flatcore.nights.failure import is_of_network
from flatcore.nights.site import File, Site, is_fits
from flatcore.register import Candidate, Registered, unclaimed
from flatcore.results import ChosenCalibration

# What a storage calls the version of a file, by kind of storage: any of them tells a new file from an old one.
TAGS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class Storage(Site):
    """A data root that is read and written by URL, such as ``s3://bucket/spirou``.

    Attributes
    ----------
    url
        Of the folder that holds ``tmp/``, ``calib/`` and ``red/``.
    database_url
        Of the database, which is elsewhere.
    options
        For fsspec's file system.
    """

    url: str
    database_url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, url: str, database_url: str | None, options: Mapping[str, Any]) -> Storage:
        """Name a storage, and see that it can be spoken to at all.

        Raises
        ------
        UsageError
            fsspec, or what it needs for this kind of URL, is not installed; or no database is named.
        """
        if database_url is None:
            raise UsageError(
                f"--data-root {url}: a storage cannot hold the database; name one by --database-url, "
                "such as postgresql://user@host/name or sqlite:///FILE"
            )
        storage = cls(url, database_url, options)
        try:
            storage.files_system()
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"--data-root {url}: cannot be opened: {error}; pip install 'flatcore[cluster]'"
            ) from error
        return storage

    def files_system(self) -> Any:
        """Give fsspec's file system; it is kept, and shared by all who ask with the same options."""
        import fsspec  # noqa: PLC0415 - only where the data root is a URL

        return fsspec.core.url_to_fs(self.url, **self.options)[0]

    def place(self, *parts: str) -> str:
        """Give the URL of a file below the data root."""
        return "/".join((self.url, *parts))

    @property
    def frames_root(self) -> str:
        """Folder of the nights."""
        return self.place("tmp")

    @property
    def data_root(self) -> Path:
        """A folder that there is not: nothing of this data root is on this machine."""
        return Path("/nonexistent")

    def nights(self) -> list[str]:
        """Give the folders below ``tmp`` that hold FITS files, sorted.

        Raises
        ------
        InputError
            The storage cannot be read.
        """
        with _reading(self.frames_root):
            top = self._path("tmp")
            paths = self.files_system().find(top)
        folders = {
            str(PurePosixPath(path).parent.relative_to(top)) for path in paths if is_fits(PurePosixPath(path).name)
        }
        return sorted(name for name in folders if name != "." and not any(p.startswith(".") for p in name.split("/")))

    def files(self, obs_dir: str) -> list[File]:
        """Give the FITS files of a night by name."""
        with _reading(self.place("tmp", obs_dir)):
            entries = self.files_system().ls(self._path("tmp", obs_dir), detail=True, refresh=True)
        found = [
            File(self.place("tmp", obs_dir, PurePosixPath(entry["name"]).name), self._stamp(entry))
            for entry in entries
            if entry["type"] == "file" and is_fits(PurePosixPath(entry["name"]).name)
        ]
        return sorted(found, key=lambda file: file.path)

    def header(self, file: File) -> Header:
        """Read a file's header; of a large file the first blocks only."""
        with _reading(file.path), self.files_system().open(file.path, "rb") as stream:
            return header_of_stream(stream, file.path)

    def is_whole(self, run: RunRecord, chosen: Sequence[ChosenCalibration], fibers: Sequence[str]) -> bool:
        """Tell whether a run's products are all there, with the sizes they had."""
        system, made = self.files_system(), run.record.get("products", [])
        for product in made:
            try:
                with _reading(product["path"]):
                    found = system.info(product["path"], refresh=True)
            except InputError:
                return False
            if int(found["size"]) != product["bytes"]:
                return False
        return bool(made)

    def red_folder(self, obs_dir: str) -> str:
        """Where a night's products go."""
        return self.place("red", obs_dir)

    def database(self) -> CalibrationDatabase:
        """Name the database of calibrations; its files are in the storage."""
        return CalibrationDatabase.open(self.data_root, self.database_url)

    def register(
        self, made: Sequence[Candidate], database: CalibrationDatabase, pid: str, reference: bool
    ) -> Registered:
        """Copy flats and blazes to ``calib`` within the storage, and record them."""
        new, notices = unclaimed(made, database)
        added = iso_utc(time.time(), "seconds")
        for one in new:
            with _writing(self.place("calib", one.name)):
                self.files_system().copy(one.path, self.place("calib", one.name))
        records = tuple(_record(one, pid, added, reference) for one in new)
        if records:
            with database.table.writing() as rows:
                for record in records:
                    rows.write(record)
        return Registered(records, tuple(notices))

    def fetch(self, source: str, target: Path) -> None:
        """Bring a file to this machine; it appears whole or not at all.

        Raises
        ------
        InputError
            It is not there, or cannot be read.
        OutputError
            This machine's disk does not take it.
        """
        part = target.with_name(f".{target.name}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # A folder here that may not be written is not the storage's fault.
            part.touch()
            with _reading(source):
                self.files_system().get_file(source, str(part))
            part.replace(target)
        except OSError as error:
            if is_of_network(error):
                raise
            raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def bring(self, source: Path, target: str) -> None:
        """Put a file of this machine into the storage.

        Raises
        ------
        OutputError
            The storage does not take it.
        """
        with _writing(target):
            self.files_system().put_file(str(source), target)

    def _path(self, *parts: str) -> str:
        """Give a place as the file system names it, without the URL's scheme."""
        path: str = self.files_system()._strip_protocol(self.place(*parts))
        return path

    def _stamp(self, entry: Mapping[str, Any]) -> Stamp:
        tag = next((str(entry[name]) for name in TAGS if entry.get(name) is not None), "")
        return Stamp(str(entry["name"]), int(entry["size"] or 0), tag)


def _record(one: Candidate, pid: str, added: str, reference: bool) -> CalibrationRecord:
    unixtime = unix_of_mjd(one.mjd_mid)
    return CalibrationRecord(
        keyname=one.keyname,
        fiber=one.fiber,
        reference=reference,
        filename=one.name,
        humantime=iso_utc(unixtime),
        unixtime=unixtime,
        pid=pid,
        pdate=added,
        used=True,
        sha256=one.sha256,
    )


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Name what could not be read; a storage that does not answer stays an error of the network."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{what}: no such file or folder in the storage") from error
    except PermissionError as error:
        raise InputError(f"{what}: the storage refuses to let it be read: {error}") from error
    except Exception as error:
        if not is_of_network(error):
            raise
        raise InputError(f"{what}: cannot be read from the storage: {error}") from error


@contextlib.contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise OutputError(f"{what}: the storage refuses to have it written: {error}") from error
    except Exception as error:
        if not is_of_network(error):
            raise
        raise OutputError(f"{what}: cannot be written to the storage: {error}") from error
