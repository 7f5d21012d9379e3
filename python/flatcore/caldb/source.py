"""What both the calibration database and a part of it that travels can do: choose a file for an observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flatcore.caldb import choice
from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.keys import fiber_of_key, iso_utc, same_key
from flatcore.errors import CalibrationError

HOW_TO_ADD = "add files with: flatcore calib add FILE"


class CalibrationSource(ABC):
    """Records of calibrations, and the folder of their files.

    Attributes
    ----------
    store
        Folder of the files.
    """

    store: Path

    @property
    @abstractmethod
    def name(self) -> str:
        """The source as messages show it."""

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is one."""

    @abstractmethod
    def records(self, keyname: str | None = None, fiber: str | None = None) -> list[CalibrationRecord]:
        """Give the records, of one key or fibre if asked, sorted by key, fibre and time."""

    def choose(
        self,
        keyname: str,
        fiber: str | None,
        unixtime: float,
        *,
        mode: str = "closest",
        max_age_days: float = 7.0,
    ) -> CalibrationRecord:
        """Choose the calibration that serves an observation; the rule is :func:`flatcore.caldb.choice.pick`.

        Parameters
        ----------
        keyname
            A key or another name of it.
        fiber
            The fibre; not looked at for the keys that have one file for all.
        unixtime
            The observation's time [s since 1970-01-01 UTC].
        mode
            ``closest``, ``older`` (not after the observation) or ``newer`` (not before it).
        max_age_days
            Largest distance in time, both ways, of a calibration that is not a reference [days].

        Raises
        ------
        UsageError
            The mode, the age or the time is not one.
        CalibrationError
            None serves; the message says what there is instead. Or the database cannot be read.
        """
        side = choice.checked_mode(mode)
        limit = choice.checked_age(max_age_days)
        key = same_key(keyname)
        fiber = fiber_of_key(key, fiber)
        observed = iso_utc(unixtime)
        there = self.records(key, fiber)
        usable = [record for record in there if record.used]
        chosen = choice.pick(usable, unixtime, side, limit)
        if chosen is not None:
            return chosen
        if usable:
            reason = choice.why_none(usable, unixtime, side, limit)
        else:
            reason = f"all of the {len(there)} there are out of use" if there else self._what_else(key)
        raise CalibrationError(
            f"no {key} calibration{of_fiber(fiber)} for the observation of {observed} in {self.name}: "
            f"{reason}; {HOW_TO_ADD}"
        )

    def path_of(self, record: CalibrationRecord) -> Path:
        """Give the path of a record's file.

        Raises
        ------
        CalibrationError
            The file is no longer in the store.
        """
        path = self.store / record.filename
        if not path.is_file():
            raise CalibrationError(
                f"{path}: missing, though recorded as {record.keyname}{of_fiber(record.fiber)} in {self.name}; "
                f"put it back, or {HOW_TO_ADD}"
            )
        return path

    def _what_else(self, key: str) -> str:
        everything = self.records()
        fibers = sorted({record.fiber for record in everything if record.keyname == key})
        if fibers:
            return f"none of this fibre; known fibres: {', '.join(fibers)}"
        keys = sorted({record.keyname for record in everything})
        return f"none with this key; known keys: {', '.join(keys) or 'none'}"


@dataclass(frozen=True)
class CalibrationSnapshot(CalibrationSource):
    """Some records of a database, for a process that has no access to it.

    Attributes
    ----------
    store
        Folder of their files, where that process finds them.
    origin
        The database, as messages show it.
    held
        The records.
    elsewhere
        Whether the files are yet to be brought to the folder.
    """

    store: Path
    origin: str
    held: tuple[CalibrationRecord, ...]
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """The database they are of."""
        return self.origin

    @property
    def exists(self) -> bool:
        """Whether there are any."""
        return bool(self.held)

    def path_of(self, record: CalibrationRecord) -> Path:
        """Give the path of a record's file; where the files are elsewhere, the path it will have."""
        return self.store / record.filename if self.elsewhere else super().path_of(record)

    def records(self, keyname: str | None = None, fiber: str | None = None) -> list[CalibrationRecord]:
        """Give the records, of one key or fibre if asked, sorted by key, fibre and time."""
        key = None if keyname is None else same_key(keyname)
        return in_order(r for r in self.held if key in (None, r.keyname) and fiber in (None, r.fiber))


def in_order(records: Iterable[CalibrationRecord]) -> list[CalibrationRecord]:
    """Sort records by key, fibre and time."""
    return sorted(records, key=lambda r: (r.keyname, r.fiber, r.unixtime, r.filename, not r.reference))


def of_fiber(fiber: str) -> str:
    """Say of which fibre something is, where it is of one."""
    return f" of fibre {fiber}" if fiber else ""
