"""A worker's copy of what a night needs, where the data root is a storage; products go back from there."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flatcore.caldb import CalibrationRecord, CalibrationSnapshot
from flatcore.errors import CalibrationError, FlatcoreError
from flatcore.fitsio import sha256_of
from flatcore.nights.storage import Storage
from flatcore.request import NightRequest
from flatcore.runlog import log_path

log = logging.getLogger("flatcore.nights")

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
        """Fetch a night's frames for as long as the block lasts, and give the request for them.

        Of a block that fails the log is brought to the storage.
        """
        with self._place(pid) as place:
            local = replace(request, data_root=place)
            for name in request.files:
                self.storage.fetch(self.storage.place("tmp", request.obs_dir, name), local.input_folder / name)
            with self._log_of_failure(place, pid):
                yield local

    @contextlib.contextmanager
    def _place(self, pid: str) -> Iterator[Path]:
        """Make a folder for a run, which goes with the block, and take away what killed workers left."""
        place = self.folder / pid
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock_of(place)):
            for other in sorted(self.folder.glob("PID-*")):
                if other != place:
                    self._remove_if_left(other)
            place.mkdir(exist_ok=True)
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
                self._lock_of(place).unlink(missing_ok=True)

    def _lock_of(self, place: Path) -> Path:
        return self.folder / f".{place.name}.lock"

    def _remove_if_left(self, place: Path) -> None:
        """Remove the folder of a run whose worker is gone: nobody holds its lock."""
        with contextlib.suppress(Timeout), FileLock(self._lock_of(place), timeout=0):
            shutil.rmtree(place, ignore_errors=True)
            self._lock_of(place).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _log_of_failure(self, place: Path, pid: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            path = log_path(place, pid)
            if path.is_file():
                self._bring_what_is_left(place, path)
            raise

    def _bring_what_is_left(self, place: Path, path: Path) -> None:
        """Bring a file of a run that failed; what hinders that must not hide why it failed."""
        try:
            self._bring(place, path)
        except (FlatcoreError, OSError) as error:
            log.warning("%s: cannot be brought to the storage: %s", path.name, error)

    def _bring(self, place: Path, path: Path) -> None:
        self.storage.bring(path, self.storage.place(path.relative_to(place).as_posix()))

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
    def products(self, pid: str, request: NightRequest, told: str) -> Iterator[NightRequest]:
        """Give the request for products made here, and bring them to the storage when the block has ended well.

        Parameters
        ----------
        told
            The run's log so far, perhaps on another machine.
        """
        with self._place(pid) as place:
            with self._log_of_failure(place, pid):
                path = log_path(place, pid)
                path.parent.mkdir()
                path.write_text(told, encoding="utf-8")
                yield replace(request, data_root=place)
            for path in made_in(place):
                self._bring(place, path)

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
