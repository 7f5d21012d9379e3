"""To which earlier nights a night is held: those of its batch, and those in the database."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from flatcore.caldb import CalibrationRecord
from flatcore.caldb.keys import DAY_S
from flatcore.nights.item import Item
from flatcore.nights.known import KnownCalibrations
from flatcore.previous import SAME_NIGHT


class Lookback:
    """Looks from a night of a batch to the earlier ones.

    Parameters
    ----------
    items
        All nights of the batch.
    known
        The calibrations in the database, with those that the batch adds.
    """

    def __init__(self, items: Sequence[Item], known: KnownCalibrations) -> None:
        self._known = known
        self._by_time = sorted(items, key=lambda item: (item.task.mjd_mid, item.task.label))
        self._times = [item.unixtime for item in self._by_time]

    def lenders(self, item: Item) -> list[Item] | None:
        """Give the nights whose flats are to be handed on; None where that is not known yet."""
        lenders: list[Item] = []
        for fiber in item.task.fibers:
            for other in self._before(item, fiber):
                if other.state == "done":
                    if other.passed(fiber):
                        break
                elif other.state in ("failed", "not run"):
                    continue
                elif not other.verdicts or other.task.comparing:
                    return None
                elif other.passed(fiber):
                    if other not in lenders:
                        lenders.append(other)
                    break
        return lenders

    def _before(self, item: Item, fiber: str) -> Iterable[Item]:
        """Give the earlier nights of the batch that a fibre may be held to, the latest first."""
        span_s = item.task.settings.calibration.max_age_days * DAY_S
        recorded = self._recorded(item, "FLAT", fiber)
        latest = recorded[-1].unixtime if recorded else -float("inf")
        first = bisect_left(self._times, max(item.unixtime - span_s, latest - 1.0))
        last = bisect_left(self._times, item.unixtime - SAME_NIGHT * DAY_S)
        for other in reversed(self._by_time[first:last]):
            if other.task.registers and fiber in other.task.fibers:
                yield other

    def _recorded(self, item: Item, key: str, fiber: str) -> list[CalibrationRecord]:
        """Give the flats or blazes of a fibre in the database that are earlier than a night, by time."""
        last = item.unixtime - SAME_NIGHT * DAY_S
        made = self._known.made_before(last, item.task.settings.calibration.max_age_days)
        return [r for r in made if r.keyname == key and r.fiber == fiber and r.used]

    def recorded_for(self, item: Item) -> tuple[CalibrationRecord, ...]:
        """Give the latest earlier flats in the database, with the blazes closest to them."""
        chosen: list[CalibrationRecord] = []
        for fiber in item.task.fibers:
            # Images of one night, made of one frame each, may see different flats as the latest.
            for flat in self._recorded(item, "FLAT", fiber)[-2:]:
                blazes = self._recorded(item, "BLAZE", fiber)
                chosen += [flat, *sorted(blazes, key=lambda r: (abs(r.unixtime - flat.unixtime), r.filename))[:1]]
        return tuple(dict.fromkeys(chosen))
