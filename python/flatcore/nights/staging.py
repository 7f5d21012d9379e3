"""A worker's copy of what a night needs, where the data root is a storage; products go back from there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from flatcore.caldb import CalibrationRecord, CalibrationSnapshot
from flatcore.errors import CalibrationError
from flatcore.fitsio import sha256_of
from flatcore.nights.storage import Storage
from flatcore.request import NightRequest

# Folders of a night's own copy that are fetched; all others were made, and go back.
FETCHED = ("tmp", "calib")


@dataclass(frozen=True)
class Stage:
    """A local folder in which nights of a storage are run.

    Attributes
    ----------
    storage
        The data root.
    folder
        Holds a folder for each run while it goes on, and the calibrations of all.
    """

    storage: Storage
    folder: Path

    @contextlib.contextmanager
    def frames(self, pid: str, request: NightRequest) -> Iterator[NightRequest]:
        """Fetch a night's frames for as long as the block lasts, and give the request for them."""
        local = replace(request, data_root=self.folder / pid)
        try:
            for name in request.files:
                self.storage.fetch(self.storage.place("tmp", request.obs_dir, name), local.input_folder / name)
            yield local
        finally:
            shutil.rmtree(local.input_folder, ignore_errors=True)

    def calibrations(self, snapshot: CalibrationSnapshot) -> CalibrationSnapshot:
        """Fetch calibrations that are not here yet; they stay for other nights.

        Raises
        ------
        CalibrationError
            A file is not the one that was recorded.
        """
        store = self.folder / "calib"
        store.mkdir(parents=True, exist_ok=True)
        for record in snapshot.held:
            self._calibration(record, store)
        return replace(snapshot, store=store, elsewhere=False)

    def _calibration(self, record: CalibrationRecord, store: Path) -> None:
        path, source = store / record.filename, self.storage.place("calib", record.filename)
        with FileLock(store / f".{record.filename}.lock"):
            if path.is_file() and sha256_of(path) == record.sha256:
                return
            self.storage.fetch(source, path)
            found = sha256_of(path)
        if found != record.sha256:
            raise CalibrationError(f"{source}: SHA-256 is {found}, recorded as {record.sha256}")

    @contextlib.contextmanager
    def products(self, pid: str, request: NightRequest) -> Iterator[NightRequest]:
        """Give the request for products made here, and bring them to the storage when the block has ended well."""
        local = replace(request, data_root=self.folder / pid)
        local.data_root.mkdir(parents=True, exist_ok=True)
        try:
            yield local
            for path in made_in(local.data_root):
                self.storage.bring(path, self.storage.place(path.relative_to(local.data_root).as_posix()))
        finally:
            shutil.rmtree(local.data_root, ignore_errors=True)

    def renamed(self, pid: str, record: Any) -> Any:
        """Put the storage's URL in place of the local folder in all texts of a record."""
        if isinstance(record, str):
            for here, there in ((self.folder / pid, ""), (self.folder / "calib", "/calib")):
                if record.startswith(f"{here}/"):
                    return self.storage.url + there + record.removeprefix(str(here))
            return record
        if isinstance(record, Mapping):
            return {key: self.renamed(pid, value) for key, value in record.items()}
        if isinstance(record, Sequence):
            return [self.renamed(pid, value) for value in record]
        return record


def made_in(folder: Path) -> list[Path]:
    """Give the files that a run made: not what was fetched, nor hidden ones."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.relative_to(folder).parts[0] not in FETCHED)
