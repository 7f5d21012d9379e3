"""What a bootstrap costs beside the run that it is for: ``python -m benchmarks.bootstrap DATA_ROOT [OBS_DIR]``.

The data root holds a simulated night (``flatcore simulate DATA_ROOT --instrument SPIROU --frames 10 --darks 5``);
nothing is written to it. Both take turns, so that they meet the same machine; the least of each counts.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3


def timed(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command of flatcore, imports included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "flatcore", *arguments, "--quiet"], check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table of the two, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("obs_dir", nargs="?", default="2020-08-31")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    runs, boots = [], []
    with tempfile.TemporaryDirectory() as folder:
        given, bare = Path(folder) / "given", Path(folder) / "bare"
        for root in (given, bare):
            root.mkdir()
            (root / "tmp").symlink_to((asked.data_root / "tmp").absolute())
        shutil.copytree(asked.data_root / "calib", given / "calib")
        for _ in range(asked.rounds):
            runs.append(timed(["run", asked.obs_dir, "--data-root", str(given), "--database", "False"]))
            shutil.rmtree(given / "red")
            boots.append(timed(["bootstrap", asked.obs_dir, "--data-root", str(bare)]))
            shutil.rmtree(bare / "calib")
    best = [[min(times[k] for times in all_times) for k in (0, 1)] for all_times in (runs, boots)]
    lines = ["| | wall [s] | processor [s] |", "| --- | --- | --- |"]
    for name, (wall, processor) in zip(("run", "bootstrap"), best, strict=True):
        lines.append(f"| `flatcore {name}` | {wall:.2f} | {processor:.2f} |")
    lines.append(f"| ratio | {best[1][0] / best[0][0]:.2f} | {best[1][1] / best[0][1]:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
