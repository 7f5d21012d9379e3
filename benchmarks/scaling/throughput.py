"""Whole batches, timed beside one another: a plain loop, one worker, two workers."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scaling.nights import forget_runs

# A loop that somebody would write without flatcore process: one process, one night after the other.
LOOP = """
import sys
from pathlib import Path
from flatcore.request import NightRequest
from flatcore.session import run_session
root = Path(sys.argv[1])
for night in sorted(path.name for path in (root / "tmp").iterdir()):
    run_session(NightRequest(night, root, threads=int(sys.argv[2]) or None))
"""


@dataclass(frozen=True)
class Throughput:
    """Seconds of whole commands, the best of the rounds."""

    nights: int
    loop_s: float
    one_worker_s: float
    one_worker_one_thread_s: float
    two_workers_s: float


def measured_throughput(root: Path, rounds: int) -> Throughput:
    """Time the commands in turn, round after round."""
    nights = sum(path.is_dir() for path in (root / "tmp").iterdir())
    process = [sys.executable, "-m", "flatcore", "process", "--data-root", str(root), "--quiet"]
    commands = {
        "loop": [sys.executable, "-c", LOOP, str(root), "0"],
        "one": [*process, "--workers", "1"],
        "one thread": [*process, "--workers", "1", "--threads", "1"],
        "two": [*process, "--workers", "2", "--threads", "1"],
    }
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, command in commands.items():
            forget_runs(root)
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            best[name] = min(best[name], time.perf_counter() - start)
    return Throughput(nights, best["loop"], best["one"], best["one thread"], best["two"])
