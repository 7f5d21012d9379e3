"""The calibrations that are known while many nights are planned: read once, and looked up by time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from flatcore.caldb import CalibrationDatabase, CalibrationRecord, CalibrationSnapshot
from flatcore.caldb.keys import DAY_S, fiber_of_key, same_key
from flatcore.caldb.source import HOW_TO_ADD, in_order
from flatcore.errors import CalibrationError

# What runs make and register.
MADE = ("FLAT", "BLAZE")


@dataclass
class KnownCalibrations:
    """Records by key and fibre, sorted by time.

    Attributes
    ----------
    store
        Folder of the files.
    origin
        The database, as messages show it.
    elsewhere
        Whether the files are not on this machine.
    """

    store: Path
    origin: str
    elsewhere: bool = False
    _by_need: dict[tuple[str, str], list[CalibrationRecord]] = field(default_factory=dict)
    _latest: dict[tuple[str, str, bool, str], CalibrationRecord] = field(default_factory=dict)

    @classmethod
    def read(cls, database: CalibrationDatabase, elsewhere: bool = False) -> KnownCalibrations:
        """Read all records.

        Raises
        ------
        CalibrationError
            There is no database, or it cannot be read.
        """
        known = cls(database.store, database.name, elsewhere)
        known.learn(database.records())
        return known

    def learn(self, records: Iterable[CalibrationRecord]) -> None:
        """Add records; one of the same key, fibre, reference mark and file name takes the place of the former."""
        time = attrgetter("unixtime")
        for record in records:
            of_need = self._by_need.setdefault((record.keyname, record.fiber), [])
            former = self._latest.get(_identity(record))
            if former is not None:
                del of_need[of_need.index(former, bisect_left(of_need, former.unixtime, key=time))]
            self._latest[_identity(record)] = record
            insort(of_need, record, key=time)

    def around(self, needs: Iterable[tuple[str, str]], unixtime: float, max_age_days: float) -> CalibrationSnapshot:
        """Give all records among which the choice for an observation lies, and those that say why there is none.

        Parameters
        ----------
        needs
            Keys and fibres.
        unixtime
            Of the observation [s].
        max_age_days
            Largest distance in time of a calibration that is not a reference [days].
        """
        held = [record for need in needs for record in self._near(*need, unixtime, max_age_days)]
        if not held and not self._by_need:
            raise CalibrationError(f"no calibration in {self.origin}; {HOW_TO_ADD}")
        return CalibrationSnapshot(self.store, self.origin, tuple(in_order(held)), self.elsewhere)

    def made_before(self, unixtime: float, max_age_days: float) -> tuple[CalibrationRecord, ...]:
        """Give the flats and blazes of the days before an observation."""
        found = [
            record
            for need in self._by_need
            if need[0] in MADE
            for record in self._between(need, unixtime - max_age_days * DAY_S, unixtime)
        ]
        return tuple(in_order(found))

    def _near(self, key: str, fiber: str, unixtime: float, max_age_days: float) -> list[CalibrationRecord]:
        key = same_key(key)
        need = (key, fiber_of_key(key, fiber))
        everything = self._by_need.get(need, [])
        span_s = max_age_days * DAY_S
        near = self._between(need, unixtime - span_s, unixtime + span_s)
        if any(record.used for record in near):
            return near + [record for record in everything if record.reference and record not in near]
        # None is near enough: the message says what there is instead.
        return everything or [record for (k, _), records in self._by_need.items() if k == key for record in records]

    def _between(self, need: tuple[str, str], first: float, last: float) -> list[CalibrationRecord]:
        records = self._by_need.get(need, [])
        time = attrgetter("unixtime")
        return records[bisect_left(records, first, key=time) : bisect_right(records, last, key=time)]


def _identity(record: CalibrationRecord) -> tuple[str, str, bool, str]:
    return record.keyname, record.fiber, record.reference, record.filename
