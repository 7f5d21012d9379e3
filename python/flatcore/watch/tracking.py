"""Which frames of a night belong together, and when they last changed, by a clock that nobody sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flatcore.instrument.keywords import Source
from flatcore.watch.tree import Listing, Stamp
from flatcore.watch.wholeness import kind_of, look_into

# Stands for the kind of files of which none can be told yet.
UNKNOWN = "unknown"


@dataclass
class _File:
    """A file of the night, under its final name or while it is copied."""

    stamp: Stamp
    changed_at: float
    copying: bool
    kind: str | None = None
    fault: str | None = None
    looked: bool = False

    @property
    def unsure(self) -> bool:
        """Whether it may yet become a flat: it is being copied, or cannot be read; what is none has an empty kind."""
        return self.kind is None or (self.copying and bool(self.kind))


@dataclass(frozen=True)
class FrameSet:
    """The flats of one kind in an observation directory, and the files of which it may yet become clear.

    Attributes
    ----------
    kind
        DPRTYPE of the frames.
    frames
        Their names and stamps, whole or not.
    unsure
        Names and stamps of files that are being copied, or cannot be read yet, and may be of this kind.
    changed_at
        When any of them last changed [s, by the monotonic clock].
    """

    kind: str
    frames: Mapping[str, Stamp]
    unsure: Mapping[str, Stamp]
    changed_at: float

    @property
    def names(self) -> tuple[str, ...]:
        """All its files."""
        return (*self.frames, *self.unsure)

    @property
    def contents(self) -> dict[str, str]:
        """What of each frame a run depends on: its size and time."""
        return {name: f"{stamp.size}-{stamp.mtime_ns}" for name, stamp in sorted(self.frames.items())}

    @property
    def digest(self) -> str:
        """Hash of all its files, also those of which it is not sure."""
        files = sorted([*self.frames.items(), *self.unsure.items()])
        text = "\n".join(f"{name}\0{stamp.size}\0{stamp.mtime_ns}" for name, stamp in files)
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def youngest(self) -> float:
        """Time of the latest change of contents or entry, by the clock of the disk [s since 1970]."""
        stamps = [*self.frames.values(), *self.unsure.values()]
        return max(max(stamp.mtime_ns, stamp.ctime_ns) / 1e9 for stamp in stamps)


@dataclass
class NightTracker:
    """The files of an observation directory from look to look.

    Attributes
    ----------
    name, folder
        The observation directory, and where it lies.
    keywords
        Where the instrument's headers have what flatcore reads.
    listing
        What there was at the latest look.
    """

    name: str
    folder: Path
    keywords: Mapping[str, Source] = field(default_factory=dict)
    listing: Listing = field(default_factory=lambda: Listing({}, {}, {}))
    _files: dict[str, _File] = field(default_factory=dict)
    # When a file of each kind vanished; of an unknown one it is of all.
    _vanished_at: dict[str | None, float] = field(default_factory=dict)

    def update(self, listing: Listing, now: float) -> None:
        """Take in what there is now [s, by the monotonic clock]: what is new or other than before changed now."""
        self.listing = listing
        for copying, files in ((False, listing.frames), (True, listing.copying)):
            for name, stamp in files.items():
                known = self._files.get(name)
                if known is None or known.stamp != stamp:
                    # Of a file that is written the start is there before the end: try again while it grows.
                    self._files[name] = _File(stamp, now, copying, kind_of(self.folder / name, self.keywords))
        for name in [name for name in self._files if name not in listing.frames and name not in listing.copying]:
            self._vanished_at[self._files.pop(name).kind] = now

    def sets(self) -> dict[str, FrameSet]:
        """Give the sets by kind; a kind that only files being copied are of is none yet."""
        kinds = sorted({file.kind for file in self._files.values() if file.kind and not file.copying})
        return {kind: self._set(kind) for kind in kinds}

    @property
    def unsure(self) -> bool:
        """Whether a file may yet become a flat."""
        return any(file.unsure for file in self._files.values())

    def unknown(self) -> FrameSet | None:
        """Give the files that may become flats in a night that has no set yet, as a set of an unknown kind."""
        unsure = {name: file for name, file in self._files.items() if file.unsure}
        if not unsure or self.sets():
            return None
        times = [*(file.changed_at for file in unsure.values()), *self._vanished_at.values()]
        return FrameSet(UNKNOWN, {}, {name: file.stamp for name, file in unsure.items()}, max(times))

    def _set(self, kind: str) -> FrameSet:
        frames = {name: f for name, f in self._files.items() if f.kind == kind and not f.copying}
        unsure = {name: f for name, f in self._files.items() if f.kind is None or (f.copying and f.kind == kind)}
        times = [file.changed_at for file in (*frames.values(), *unsure.values())]
        times += [at for of, at in self._vanished_at.items() if of in (None, kind)]
        return FrameSet(
            kind,
            {name: file.stamp for name, file in frames.items()},
            {name: file.stamp for name, file in unsure.items()},
            max(times),
        )

    def faults(self, names: Iterable[str]) -> dict[str, str]:
        """Tell what of files is missing, by name; files are read for it only once for every change."""
        found = {}
        for name in names:
            file = self._files[name]
            if file.copying:
                found[name] = "is being copied"
                continue
            if not file.looked:
                file.looked, look = True, look_into(self.folder / name, self.keywords)
                file.fault = look.fault
                file.kind = look.kind if file.kind is None else file.kind
            if file.fault is not None:
                found[name] = file.fault
        return found

    def was_quiet(self, frames: FrameSet, since: float) -> None:
        """Learn that a set has not changed for longer than this tracker has looked at it [s, monotonic clock]."""
        for name in (*frames.frames, *frames.unsure):
            file = self._files[name]
            file.changed_at = min(file.changed_at, since)
