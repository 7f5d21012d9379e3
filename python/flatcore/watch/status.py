"""The watcher's state for monitoring: a Prometheus text file, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from flatcore.errors import OutputError
from flatcore.version import VERSION
from flatcore.watch.memory import COUNTED, Totals
from flatcore.watch.nagging import Nagging
from flatcore.writing import replacing

State = Literal["waiting", "stalled", "running", "done", "failed-qc", "failed"]
# The file is written at least so often [s].
HEARTBEAT_S = 15.0

STATES: tuple[State, ...] = ("waiting", "stalled", "running", "done", "failed-qc", "failed")


@dataclass(frozen=True)
class SetStatus:
    """A night's frames of one kind: how many there are, how it stands with them, and why.

    Attributes
    ----------
    unfinished
        Files that are not whole, with what is missing: they are waited for, or were left out.
    """

    obs_dir: str
    kind: str
    state: State
    frames: int
    why: str
    unfinished: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """The state of a watcher at a moment.

    Attributes
    ----------
    up
        Whether it goes on.
    tree
        What it follows.
    changes
        How it learns of changes: events or polling.
    written, looked
        Now, and when the whole tree was last looked at [s since 1970].
    readable
        Whether the tree can be read.
    sets
        What it knows of; nights with nothing to do since long are counted by ``settled`` alone.
    settled
        Nights with nothing to do since long.
    totals
        Counts over the watcher's life.
    """

    up: bool
    tree: str
    changes: str
    written: float
    looked: float | None
    readable: bool
    sets: Sequence[SetStatus]
    settled: int
    totals: Totals


class StatusFile:
    """The status file of a watcher; written where something has changed, and for its heart to be heard.

    Parameters
    ----------
    path
        The file; None where none is wanted.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else path.absolute()
        self._shown: tuple[bool, bool, tuple[SetStatus, ...]] | None = None
        self._written = 0.0
        self._nagging = Nagging()

    def write(self, snapshot: Snapshot) -> None:
        """Write the file in the form that its name asks for, whole or not at all; a disk that refuses is a warning."""
        if self._path is None:
            return
        shown = (snapshot.up, snapshot.readable, tuple(snapshot.sets))
        if shown == self._shown and abs(snapshot.written - self._written) < HEARTBEAT_S:
            return
        text = prometheus(snapshot) if self._path.suffix == ".prom" else as_json(snapshot)
        try:
            with replacing(self._path) as temporary:
                temporary.write_text(text, encoding="utf-8")
                # Whoever collects it is another user.
                temporary.chmod(0o644)
            self._nagging.cured("status")
        except OutputError as error:
            self._nagging.warn("status", str(error))
        self._shown, self._written = shown, snapshot.written


def as_json(snapshot: Snapshot) -> str:
    """Give the status as one JSON object."""
    told = {"version": VERSION, **asdict(snapshot)}
    told["nights"] = {state: sum(found.state == state for found in snapshot.sets) for state in STATES}
    return json.dumps(told, indent=1) + "\n"


def prometheus(snapshot: Snapshot) -> str:
    """Give the status in the text format of Prometheus, for the textfile collector of its node exporter.

    Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4.
    """
    tree = _escaped(snapshot.tree)
    label = f'{{tree="{tree}"}}'
    totals = snapshot.totals
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, samples: Sequence[tuple[str, float | None]]) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.extend((f"# HELP flatcore_watch_{name} {text}", f"# TYPE flatcore_watch_{name} {kind}"))
            lines.extend(f"flatcore_watch_{name}{labels} {value!r}" for labels, value in known)

    metric("info", "gauge", "Version, and how changes are learned of; always 1.",
           [(f'{{tree="{tree}",version="{VERSION}",changes="{snapshot.changes}"}}', 1)])  # fmt: skip
    metric("up", "gauge", "1 while the watcher goes on, 0 after its orderly end.", [(label, int(snapshot.up))])
    metric("tree_readable", "gauge", "Whether the tree can be read.", [(label, int(snapshot.readable))])
    metric("written_timestamp_seconds", "gauge", "When this file was written.", [(label, snapshot.written)])
    metric("last_scan_timestamp_seconds", "gauge", "When the tree was last looked at.", [(label, snapshot.looked)])
    counts = [
        (f'{{tree="{tree}",state="{state}"}}', sum(found.state == state for found in snapshot.sets)) for state in STATES
    ]
    metric("nights", "gauge", "Nights by state, each kind of frames by itself.", counts)
    unfinished = [
        (f'{{tree="{tree}",obs_dir="{_escaped(found.obs_dir)}",kind="{found.kind}"}}', len(found.unfinished))
        for found in snapshot.sets
        if found.unfinished
    ]
    metric("unfinished_files", "gauge", "Files that are not whole, waited for or left out.", unfinished)
    metric("settled_nights", "gauge", "Nights with nothing to do since long.", [(label, snapshot.settled)])
    runs = [(f'{{tree="{tree}",status="{status}"}}', totals.runs.get(status, 0)) for status in COUNTED]
    metric("runs_total", "counter", "Runs by how they ended.", runs)
    metric("hook_failures_total", "counter", "Commands that failed.", [(label, totals.hook_failures)])
    metric("last_success_timestamp_seconds", "gauge", "When a night was last done.", [(label, totals.last_success)])
    metric("last_run_seconds", "gauge", "How long the last run took.", [(label, totals.last_run_s)])
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
