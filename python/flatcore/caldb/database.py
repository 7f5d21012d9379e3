"""The calibration database: files in the data root's calib folder, and the table that tells what each of them is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.engine import Backend
from flatcore.caldb.incoming import FORMER, abandoned
from flatcore.caldb.keys import identify, iso_utc, same_key
from flatcore.caldb.source import CalibrationSource, in_order
from flatcore.caldb.store import Delivery, delete, put_back
from flatcore.caldb.table import CalibrationTable
from flatcore.errors import CalibrationError
from flatcore.fitsio import sha256_of

__all__ = ["CalibrationDatabase", "CalibrationRecord", "StoredState"]

StoredState = Literal["intact", "changed", "missing"]


@dataclass(frozen=True)
class CalibrationDatabase(CalibrationSource):
    """The calibrations of a data root.

    Attributes
    ----------
    store
        Folder of the files, ``<data root>/calib``.
    table
        What each file is.
    """

    store: Path
    table: CalibrationTable

    @classmethod
    def open(cls, data_root: str | Path, url: str | None = None) -> CalibrationDatabase:
        """Name a data root's database; nothing is read or created yet.

        Parameters
        ----------
        data_root
            The folder that holds ``calib``.
        url
            Of the table, as SQLAlchemy writes it: ``postgresql://user@host/name`` or ``sqlite:///FILE``; SQLite in
            ``<data root>/calib/flatcore.db`` where none is given. The files are in the data root anyway.

        Raises
        ------
        UsageError
            The URL is not one, is of another kind of database, or needs a driver that is not installed.
        """
        return cls(Path(data_root) / "calib", CalibrationTable(Backend.of(data_root, url)))

    @property
    def name(self) -> str:
        """The database as messages show it: the file, or the URL without its password."""
        return self.table.name

    @property
    def exists(self) -> bool:
        """Whether there is a database; one that is not a file is taken to be there."""
        return self.table.backend.exists

    def add(
        self,
        path: str | Path,
        *,
        keyname: str | None = None,
        fiber: str | None = None,
        unixtime: float | None = None,
        reference: bool = False,
        pid: str = "",
        replace: bool = False,
    ) -> CalibrationRecord:
        """Copy a file into the store and record it, as :meth:`add_files` does with several."""
        return self.add_files(
            [path], keyname=keyname, fiber=fiber, unixtime=unixtime, reference=reference, pid=pid, replace=replace
        )[0]

    def add_files(
        self,
        paths: Sequence[str | Path],
        *,
        keyname: str | None = None,
        fiber: str | None = None,
        unixtime: float | None = None,
        reference: bool = False,
        pid: str = "",
        replace: bool = False,
    ) -> list[CalibrationRecord]:
        """Copy files into the store and record them: all of them or, on any error, none.

        Parameters
        ----------
        paths
            FITS files. One that is in the store already is recorded where it is.
        keyname, fiber, unixtime
            Said of every file in place of what its header says (see :func:`flatcore.caldb.keys.identify`).
        reference
            Record them as reference calibrations, which age does not disqualify.
        pid
            The run that made them; the header's DRSPID where it is empty.
        replace
            Let a file take the place of a different one of the same name. Other records of the replaced file are
            kept, but not used any more.

        Returns
        -------
        list of CalibrationRecord
            In the order of the files.

        Raises
        ------
        UsageError
            The key or the time given is not one.
        InputError
            A file is no calibration, or the store has a different one of the same name.
        OutputError
            The store or the database cannot be written.
        """
        sources = [Path(path) for path in paths]
        if not sources:
            return []
        identities = [identify(source, keyname=keyname, fiber=fiber, unixtime=unixtime) for source in sources]
        added = iso_utc(time.time(), "seconds")
        records = [
            CalibrationRecord(
                keyname=identity.keyname,
                fiber=identity.fiber,
                reference=reference,
                filename=source.name,
                humantime=iso_utc(identity.unixtime),
                unixtime=identity.unixtime,
                pid=pid or identity.pid,
                pdate=added,
                used=True,
                sha256="",
            )
            for source, identity in zip(sources, identities, strict=True)
        ]
        return self.take_in(sources, records, replace=replace)

    def take_in(
        self, sources: Sequence[Path], records: Sequence[CalibrationRecord], *, replace: bool = False
    ) -> list[CalibrationRecord]:
        """Copy files into the store and record what is said of each: all of them or, on any error, none.

        Parameters
        ----------
        sources
            The files; one may come several times.
        records
            What each of them is. The hash is filled in here.
        replace
            As in :meth:`add_files`.

        Raises
        ------
        InputError
            The store has a different file of that name.
        OutputError
            The store or the database cannot be written.
        """
        self._repair()
        with Delivery(self.store, replace) as delivery:
            hashes = delivery.stage(sources)
            hashed = [
                dataclasses.replace(record, sha256=sha256) for record, sha256 in zip(records, hashes, strict=True)
            ]
            # The files change names under the table's write lock: two processes cannot place one name at once.
            with self.table.writing() as rows:
                for record in hashed:
                    rows.write(record)
                delivery.place()
            delivery.keep()
        return hashed

    def _repair(self) -> None:
        """Take back what killed processes have brought into the store and not recorded."""
        with abandoned(self.store) as folders:
            formers = [former for folder in folders for former in sorted((folder / FORMER).glob("*"))]
            if not formers:
                return
            with self.table.writing() as rows:
                for former in formers:
                    put_back(former, self.store / former.name, rows.hashes_in_use(former.name))

    def remove(self, records: Collection[CalibrationRecord], *, keep_files: bool = False) -> list[Path]:
        """Delete records, and their files unless others are of the same file.

        The records go first, all or none: whatever happens in between, no record is left without its file.

        Parameters
        ----------
        records
            As they were read; one that was renewed since is left alone.
        keep_files
            Leave all files in the store.

        Returns
        -------
        list of Path
            The files that were deleted.

        Raises
        ------
        OutputError
            The database cannot be written: nothing is done. Or a file cannot be deleted; its records are gone.
        """
        with self.table.writing() as rows:
            gone = {record.filename for record in records if rows.delete(record)}
        if keep_files or not gone:
            return []
        # Under the lock again: a file must not go while another process records it.
        with self.table.writing() as rows:
            paths = [self.store / filename for filename in sorted(gone) if not rows.has_file(filename)]
            return [path for path in paths if delete(path)]

    def records(self, keyname: str | None = None, fiber: str | None = None) -> list[CalibrationRecord]:
        """Give the records, of one key or fibre if asked, sorted by key, fibre and time.

        Parameters
        ----------
        keyname
            A key or another name of it (DARKM for DARKREF).
        fiber
            A fibre; empty for the keys that have one file for all.

        Raises
        ------
        CalibrationError
            The database does not exist or cannot be read.
        """
        return in_order(self.table.read(None if keyname is None else same_key(keyname), fiber))

    def state_of(self, record: CalibrationRecord) -> StoredState:
        """Tell whether a record's file is in the store with the bytes that were recorded.

        Raises
        ------
        CalibrationError
            The file is there, but cannot be read.
        """
        path = self.store / record.filename
        if not path.is_file():
            return "missing"
        try:
            return "intact" if sha256_of(path) == record.sha256 else "changed"
        except OSError as error:
            raise CalibrationError(f"{path}: cannot be read: {error}") from error
