"""What a watcher remembers across restarts, beside the log of runs: what it saw, and what it gave up."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flatcore.errors import InputError
from flatcore.writing import replacing

VERSION = 1

# Outcomes of runs that are counted.
COUNTED = ("done", "failed-qc", "error", "crashed")


@dataclass
class Made:
    """A run that made a set: its frames by name with size and time, the run's identifier, and how it ended.

    Attributes
    ----------
    without
        Frames that it was run without, with what is missing of them.
    """

    frames: dict[str, str]
    pid: str
    status: str
    without: dict[str, str] = field(default_factory=dict)


@dataclass
class Failed:
    """A run that did not: its frames, what was wrong, how often, and when to try again [s since 1970]; None: not.

    Attributes
    ----------
    without
        As of :class:`Made`.
    """

    frames: dict[str, str]
    error: str
    exit_status: int
    attempts: int
    calibrations: str
    retry_at: float | None
    without: dict[str, str] = field(default_factory=dict)


@dataclass
class SetMemory:
    """What is remembered of a set.

    Attributes
    ----------
    seen, since
        Digest of its files, and since when they are as they are [s since 1970].
    begun
        Frames of a run that was begun, and of which nobody was told yet how it ended.
    """

    seen: str = ""
    since: float = 0.0
    begun: dict[str, str] | None = None
    made: Made | None = None
    failed: Failed | None = None


@dataclass
class Totals:
    """Counts over the watcher's life, restarts included, and the last run that was done."""

    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    hook_failures: int = 0
    last_success: float | None = None
    last_run_s: float | None = None


class Memory:
    """The state file of a watcher; written whole or not at all.

    Attributes
    ----------
    totals
        Counts.
    changed
        Whether there is something to save.
    """

    def __init__(self, path: Path, tree: Path) -> None:
        self._path, self._tree = path, tree
        self._sets: dict[str, dict[str, SetMemory]] = {}
        self._settled: dict[str, str] = {}
        self.totals = Totals()
        self.changed = False

    @classmethod
    def load(cls, path: Path, tree: Path) -> Memory:
        """Read a state file; one that is not there yet is empty.

        Raises
        ------
        InputError
            It cannot be read, is no state file, or is of another tree.
        """
        memory = cls(path, tree)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return memory
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}; {_CURE}") from error
        try:
            if told["version"] != VERSION:
                raise InputError(f"{path}: is of version {told['version']}, expected {VERSION}; {_CURE}")
            if told["tree"] != str(tree):
                raise InputError(f"{path}: is of a watcher of {told['tree']}, not of {tree}; name another by --state")
            memory._sets = {
                night: {kind: _set_memory(entry) for kind, entry in sets.items()}
                for night, sets in told["sets"].items()
            }
            memory._settled = dict(told["settled"])
            memory.totals = Totals(**told["totals"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not the state of a watcher ({error!r}); {_CURE}") from error
        return memory

    def of(self, night: str, kind: str) -> SetMemory:
        """Give what is remembered of a set, to be changed; whoever does so sets ``changed``."""
        return self._sets.setdefault(night, {}).setdefault(kind, SetMemory())

    def is_settled(self, night: str, digest: str) -> bool:
        """Tell whether nothing is left to do for a night whose listing has this digest."""
        return self._settled.get(night) == digest

    def settle(self, night: str, digest: str | None) -> None:
        """Remember that nothing is left to do for a night as it is; None: something is."""
        if self._settled.get(night) != digest:
            self.changed = True
            if digest is None:
                del self._settled[night]
            else:
                self._settled[night] = digest

    def believe(self, pids: Collection[str]) -> None:
        """Forget runs that the log of runs does not have as done: what it tells counts."""
        for night, sets in self._sets.items():
            for entry in sets.values():
                if entry.made is not None and entry.made.pid not in pids:
                    entry.made, self.changed = None, True
                    self._settled.pop(night, None)

    def forget_failures(self, exit_status: int | None = None) -> None:
        """Let every set that failed be tried again, or those whose run had an exit status."""
        for sets in self._sets.values():
            for entry in sets.values():
                if entry.failed is not None and exit_status in (None, entry.failed.exit_status):
                    entry.failed, self.changed = None, True

    def save(self) -> None:
        """Write the file.

        Raises
        ------
        OutputError
            It cannot be written; the one before stays.
        """
        told = {
            "version": VERSION,
            "tree": str(self._tree),
            "sets": {
                night: {kind: asdict(entry) for kind, entry in sets.items()} for night, sets in self._sets.items()
            },
            "settled": self._settled,
            "totals": asdict(self.totals),
        }
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(told), encoding="utf-8")
        self.changed = False


_CURE = "remove it to begin anew: a night that was done is not run again, its record tells"


def _set_memory(entry: Mapping[str, Any]) -> SetMemory:
    made, failed = entry["made"], entry["failed"]
    return SetMemory(
        entry["seen"],
        entry["since"],
        entry["begun"],
        None if made is None else Made(**made),
        None if failed is None else Failed(**failed),
    )
