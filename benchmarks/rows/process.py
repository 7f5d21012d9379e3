"""Whole processes: ``flatcore run`` on the full night, and its start-up on a small one."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import data, movement
from benchmarks.bench import Bench, Detail, Row
from benchmarks.measure import clean_environment, read_buffer, read_once, timed

IMPORTS = "import astropy.io.fits, scipy.optimize, sqlalchemy"
# The image, and an order profile for each of the four fibres, as the recipe in use does it.
STRAIGHTENINGS = 5


def whole_run(bench: Bench) -> list[Row]:
    """From the start of the process to its end, on a night on which nothing has run: ten frames, four fibres.

    The order profiles are straightened and written, all products have checksums, the database takes flats and blazes.
    """
    parts = sum_of_twins(bench)
    root = bench.root
    read_once([*data.frame_paths(root), *(root / "calib").glob("*.fits")], read_buffer())
    runs: dict[int, list[tuple[float, dict[str, Any]]]] = {bench.threads: [], 1: []}
    rounds = min(bench.repeats, 3)
    for number in range(1, rounds + 1):
        for threads, found in runs.items():
            bench.tell(f"flatcore run: {threads} threads, round {number} of {rounds}")
            found.append(run_once(root, bench.folder, "--threads", str(threads)))
    best = {threads: min(found, key=operator.itemgetter(0)) for threads, found in runs.items()}
    bench.record("flatcore run", {f"{threads} threads": [run[0] for run in found] for threads, found in runs.items()})
    seconds, summary = best[bench.threads]
    if bench.threads > 1:
        bench.details.append(_stages(best, bench.threads))
    bench.details.append(_sum(parts))
    bench.details.append(movement.floor(bench, summary, seconds))
    total = sum(parts.values())
    at_once = total - bench.twin_seconds["extract"] + bench.twin_seconds["extract at once"]
    note = f"with whole orders extracted at once the twins sum to {at_once:.1f} s, ratio {at_once / seconds:.1f}"
    return [
        Row("flatcore run, whole process", "sum of the twins", seconds, total, 25.0, note=note),
    ]


def sum_of_twins(bench: Bench) -> dict[str, float]:
    """Seconds of the twins of a night's steps; those not measured yet are measured now."""
    from benchmarks.rows.frames import median_of_frames  # noqa: PLC0415 - the table of rows imports this module
    from benchmarks.rows.image import background, hot_pixels, straightening  # noqa: PLC0415
    from benchmarks.rows.spectra import blaze_fits, extraction  # noqa: PLC0415

    for step, row in {
        "median": median_of_frames,
        "straighten": straightening,
        "background": background,
        "hot pixels": hot_pixels,
        "extract": extraction,
        "blaze": blaze_fits,
    }.items():
        if step not in bench.twin_seconds:
            row(bench)
    twin = bench.twin_seconds
    return {
        "read ten frames": twin["read"],
        "median": twin["median"],
        "background": twin["background"],
        "hot pixels": twin["hot pixels"],
        f"{STRAIGHTENINGS} straightenings": twin["positions"] + STRAIGHTENINGS * twin["straighten"],
        "extract four fibres": twin["extract"],
        "196 blaze fits": twin["blaze"],
    }


def startup(bench: Bench) -> list[Row]:
    """A small night, whole process, against a Python that only imports three libraries a run cannot do without."""
    bench.tell("start-up")
    root = data.small_night(bench.folder)
    ours: list[float] = []
    theirs: list[float] = []
    command = [sys.executable, "-c", IMPORTS]
    for _ in range(max(bench.repeats, 5)):
        ours.append(run_once(root, bench.folder)[0])
        theirs.append(timed(lambda: subprocess.run(command, check=True, env=clean_environment())))
    times = bench.record("start-up", {"flatcore": ours, "imports": theirs})
    work = "start-up: flatcore run, small night, whole process"
    return [Row(work, f'python -c "{IMPORTS}"', times["flatcore"], times["imports"], 2.0, faster=False)]


def run_once(root: Path, folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Seconds of a ``flatcore run`` process on a fresh copy of a night, and what it told as JSON."""
    with data.fresh_root(root, folder) as fresh:
        command = [str(data.FLATCORE), "run", data.OBS_DIR, "--data-root", str(fresh), "--json", "--quiet", *options]
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
        seconds = time.perf_counter() - start
        # 4: done, but a fibre failed quality control.
        if done.returncode not in (0, 4):
            raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")
        summary = json.loads(done.stdout)
        summary["product_bytes"] = sum(path.stat().st_size for path in (fresh / "red").rglob("*.fits"))
    return seconds, summary


def _stages(best: dict[int, tuple[float, dict[str, Any]]], threads: int) -> Detail:
    (whole_one, one), (whole_many, many) = best[1], best[threads]
    inside = {1: sum(one["seconds"].values()), threads: sum(many["seconds"].values())}
    lines = [(stage, one["seconds"][stage], many["seconds"][stage]) for stage in many["seconds"]]
    lines.append(("start and end of the process", whole_one - inside[1], whole_many - inside[threads]))
    lines.append(("whole process", whole_one, whole_many))
    return Detail(
        "flatcore run by stage",
        ["stage", "1 thread [s]", f"{threads} threads [s]", "speed-up"],
        [(stage, f"{first:.3f}", f"{second:.3f}", f"{first / second:.2f}") for stage, first, second in lines],
    )


def _sum(parts: dict[str, float]) -> Detail:
    lines = [(step, f"{seconds:.2f}") for step, seconds in parts.items()]
    return Detail("The twins of a night", ["step", "seconds"], [*lines, ("sum", f"{sum(parts.values()):.2f}")])
