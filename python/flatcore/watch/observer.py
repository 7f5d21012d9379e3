"""Looking at the tree: all of it, or the nights where something happened."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from flatcore.watch.memory import Memory
from flatcore.watch.nagging import Nagging
from flatcore.watch.request import WatchRequest
from flatcore.watch.tracking import NightTracker
from flatcore.watch.tree import Listing, Night, find_nights, list_folder

log = logging.getLogger("flatcore")

DAY_S = 86_400.0

# A night with nothing left to do is followed file by file for so long after its last change [s] ...
AWAKE_S = 3600.0
# ... and, once it is a day old, listed so often where the time of its folder does not change [s].
ASLEEP_S = 3600.0


@dataclass(frozen=True)
class _Asleep:
    """A night with nothing to do: how its listing and its folder looked, when, and how old its latest change is."""

    digest: str
    folder_mtime_ns: int
    looked_at: float
    youngest: float


class Observer:
    """The nights of a tree, as they were when they were last looked at.

    Parameters
    ----------
    request
        Where, and which nights.
    memory
        Tells of which nights nothing is left to do.
    clock, wall
        Seconds that nobody sets, and since 1970.
    told_to_end
        Asked between nights: a first look at a large tree takes minutes.

    Attributes
    ----------
    trackers
        Nights with something to do, or that changed not long ago, by name.
    linked
        Names of nights behind a symbolic link: the system does not tell of changes there.
    missing
        Why the tree cannot be read; None where it can.
    looked_at
        When the whole tree was last looked at [s since 1970].
    """

    def __init__(
        self,
        request: WatchRequest,
        memory: Memory,
        clock: Callable[[], float],
        wall: Callable[[], float],
        told_to_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self._told_to_end = told_to_end
        self._nagging = Nagging()
        self._request, self._memory, self._clock, self._wall = request, memory, clock, wall
        self.trackers: dict[str, NightTracker] = {}
        self.linked: set[str] = set()
        self.missing: str | None = None
        self.looked_at: float | None = None
        self._asleep: dict[str, _Asleep] = {}
        self._active_at: dict[str, float] = {}

    def look_everywhere(self) -> None:
        """Look at every night of the tree."""
        try:
            nights = [night for night in find_nights(self._request.tree) if self._is_wanted(night.name)]
        except OSError as error:
            if self.missing is None:
                log.warning("%s: cannot be read, waiting for it: %s", self._request.tree, error)
            self.missing = str(error)
            return
        if self.missing is not None:
            log.info("%s: is there again", self._request.tree)
        self.missing = None
        for name in [*(self.trackers.keys() | self._asleep.keys())]:
            if name not in {night.name for night in nights}:
                self._forget(name)
        self.linked = {night.name for night in nights if night.linked}
        for night in nights:
            if self._told_to_end():
                return
            if not self._sleeps_on(night):
                self._look(night)
        self.looked_at = self._wall()

    def look_at(self, names: Collection[str]) -> None:
        """Look at some nights."""
        for name in sorted(names):
            if self._is_wanted(name):
                self._look(Night(name, self._request.tree / name, name in self.linked))

    def look_where(self, paths: Collection[Path], everywhere: bool = False) -> None:
        """Look where paths are said to have changed: at their nights, and everywhere where a folder came or went."""
        names = set()
        for path in paths:
            try:
                name = str(path.parent.relative_to(self._request.tree))
            except ValueError:
                # The tree itself.
                name = "."
            everywhere = everywhere or not self._knows(name) or self._knows(f"{name}/{path.name}") or path.is_dir()
            names.add(name)
        if everywhere:
            self.look_everywhere()
        # These also where all was looked at: that passes over nights that seem to sleep.
        self.look_at({name for name in names if self._knows(name)})

    @property
    def settled(self) -> int:
        """Number of nights that are not followed, as there is nothing to do for them."""
        return len(self._asleep)

    def _knows(self, name: str) -> bool:
        return name in self.trackers or name in self._asleep

    def _is_wanted(self, name: str) -> bool:
        patterns = self._request.nights
        return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    def _sleeps_on(self, night: Night) -> bool:
        """Tell whether a night with nothing to do need not be listed: it is old, and its folder is as it was."""
        asleep = self._asleep.get(night.name)
        if asleep is None or self._wall() - asleep.youngest < DAY_S:
            return False
        if self._clock() - asleep.looked_at > ASLEEP_S:
            return False
        try:
            return night.folder.stat().st_mtime_ns == asleep.folder_mtime_ns
        except OSError:
            return False

    def _look(self, night: Night) -> None:
        try:
            mtime_ns = night.folder.stat().st_mtime_ns
            listing = list_folder(night.folder)
        except FileNotFoundError:
            self._forget(night.name)
            return
        except OSError as error:
            # A network disk that does not answer is no reason to take its nights for changed.
            self._nagging.warn(night.name, f"{night.folder}: cannot be read now: {error}")
            return
        self._nagging.cured(night.name)
        tracker = self.trackers.get(night.name)
        if tracker is None:
            if self._may_sleep(night.name, listing):
                now = self._clock()
                self._asleep[night.name] = _Asleep(listing.digest, mtime_ns, now, listing.youngest())
                return
            self._asleep.pop(night.name, None)
            tracker = self.trackers[night.name] = NightTracker(night.name, night.folder, self._request.keywords)
        elif listing == tracker.listing:
            if self._clock() - self._active_at[night.name] > AWAKE_S and self._may_sleep(night.name, listing):
                del self.trackers[night.name]
            return
        self._active_at[night.name] = self._clock()
        tracker.update(listing, self._clock())

    def _may_sleep(self, name: str, listing: Listing) -> bool:
        oldest = self._request.max_age_days
        too_old = oldest is not None and self._wall() - listing.youngest() > oldest * DAY_S
        return too_old or self._memory.is_settled(name, listing.digest)

    def _forget(self, name: str) -> None:
        """Leave a night that is gone; what is remembered of it stays, as a disk may come back."""
        self.trackers.pop(name, None)
        self._asleep.pop(name, None)
