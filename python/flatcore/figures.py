"""Figures of a run, drawn by processes of their own: whatever becomes of those, the run is what it was.

matplotlib is imported there, not here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flatcore.errors import UsageError
from flatcore.handover import Drawing, save_drawing

log = logging.getLogger("flatcore")

# What the processes run.
COMMAND = ("-m", "flatcore.plots")
# A process takes about 200 MB, and there are a few figures per fibre only.
MOST_PROCESSES = 4
# A process that finishes nothing for so long hangs [s].
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Drawn:
    """The files that were written, and what went wrong, in words that name the figure."""

    paths: tuple[Path, ...]
    problems: tuple[str, ...]


def check_matplotlib() -> None:
    """Look for matplotlib without importing it.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot: figures need matplotlib: pip install 'flatcore[plots]'")


def draw_figures(drawing: Drawing, processes: int | None = None, patience_s: float = PATIENCE_S) -> Drawn:
    """Draw in processes of their own, and wait for them.

    A figure that cannot be drawn is a warning: it fails, or its process is killed, crashes or hangs. The other figures
    are drawn all the same.

    Parameters
    ----------
    drawing
        What is to be drawn.
    processes
        So many at a time, four at most; as many as there are cores where None.
    patience_s
        A process that finishes no figure for so long is killed.

    Raises
    ------
    OSError
        The temporary folder takes no more, or no process can be started.
    """
    count = min(processes or os.cpu_count() or 1, MOST_PROCESSES)
    with tempfile.TemporaryDirectory(prefix="flatcore-figures-") as folder:
        save_drawing(drawing, Path(folder))
        crew = _Crew(Path(folder), patience_s)
        with ThreadPoolExecutor(count) as pool, crew.ended():
            for done in [pool.submit(crew.work) for _ in range(count)]:
                done.result()
    return Drawn(tuple(sorted(crew.paths)), tuple(crew.problems))


@dataclass
class _Crew:
    """The processes at work on one drawing, and what they told."""

    folder: Path
    patience_s: float
    paths: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """See to it that no process outlives the block."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._ended = True
                for process in self._running:
                    process.kill()
            raise

    def work(self) -> None:
        """Run processes, one after the other, until one of them finds nothing left to draw."""
        while self._one_process():
            pass

    def _one_process(self) -> bool:
        """Run a process to its end, and tell whether there may be something left."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            with self._lock:
                if self._ended:
                    return False
                process = _start(self.folder, errors)
                self._running.append(process)
            with process:
                begun, hung = self._listen(process)
            with self._lock:
                self._running.remove(process)
                if process.returncode == 0 or self._ended:
                    return False
            errors.seek(0)
            why = "it took too long" if hung else _ending(process.returncode, errors.read())
        if begun:
            self._problem(f"figure {begun} could not be drawn: {why}")
        else:
            self._problem(f"figures could not be drawn: {why}")
        # One that ended before its first figure would do so again.
        return bool(begun)

    def _listen(self, process: subprocess.Popen[str]) -> tuple[str, bool]:
        """Take in what a process tells; give the figure it ended at, and whether it hung."""
        begun = ""
        hung = threading.Event()

        def lose_patience() -> None:
            hung.set()
            process.kill()

        assert process.stdout is not None
        watch = _watch(self.patience_s, lose_patience)
        for line in process.stdout:
            watch.cancel()
            watch = _watch(self.patience_s, lose_patience)
            if not line.endswith("\n"):
                # It ended in the middle of a word.
                break
            told: dict[str, Any] = json.loads(line)
            begun = told.get("begun", begun)
            self._take(told)
        watch.cancel()
        return begun, hung.is_set()

    def _take(self, told: dict[str, Any]) -> None:
        if "written" in told:
            with self._lock:
                self.paths.append(Path(told["written"]))
        if "failed" in told:
            self._problem(f"figure {told['failed']} could not be drawn: {told['why']}")
            log.info("%s", told["details"], extra={"file_only": True})
        if "warning" in told:
            # Each process says it.
            with self._lock:
                new = told["warning"] not in self._told
                self._told.add(told["warning"])
            if new:
                log.warning("%s", told["warning"])

    def _problem(self, text: str) -> None:
        with self._lock:
            if text in self.problems:
                return
            self.problems.append(text)
        log.warning("%s", text)


def _watch(seconds: float, action: Any) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


def _start(folder: Path, errors: Any) -> subprocess.Popen[str]:
    """Start a process that finds the modules which this one finds, whatever lies in the working directory."""
    found = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-P", *COMMAND, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        encoding="utf-8",
        # A window's backend is of no use to files, and may not be there.
        env={**os.environ, "PYTHONPATH": found, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "agg"},
    )


def _ending(code: int, errors: str) -> str:
    """Say how a process ended that should not have."""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    lines = errors.strip().splitlines()
    return f"its process ended with status {code}{f': {lines[-1]}' if lines else ''}"
