"""What a full-size night costs: its two steps on a worker, what the client spends on it, bytes, and memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.scaling.nights import forget_runs
from flatcore.caldb import RunLog
from flatcore.caldb.keys import DAY_S, unix_of_mjd
from flatcore.nights.failure import Failure
from flatcore.nights.found import NightFilter, find_sets
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.ledger import Ledger
from flatcore.nights.plan import Planner, Task, Wish
from flatcore.nights.site import Folder
from flatcore.nights.work import Job, conclude_night, measure_night, verdicts_of_night
from flatcore.request import NightRequest


@dataclass(frozen=True)
class Costs:
    """What one night costs.

    Attributes
    ----------
    measure_s, conclude_s
        The two steps on a worker of one thread, files in the page cache [s].
    plan_s, client_s
        What the client spends before, on looking and planning, and between, on the database [s].
    read_bytes, written_bytes
        Frames and calibrations; products, and those that are copied to the calibrations.
    peak_bytes
        Resident memory of a worker at its highest.
    """

    measure_s: float
    conclude_s: float
    plan_s: float
    client_s: float
    read_bytes: int
    written_bytes: int
    peak_bytes: int

    @property
    def worker_s(self) -> float:
        """Both steps on a worker [s]."""
        return self.measure_s + self.conclude_s

    @property
    def moved_bytes(self) -> int:
        """Bytes that the storage gives and takes."""
        return self.read_bytes + self.written_bytes


def measured_costs(root: Path) -> Costs:
    """Measure in a process of its own, whose memory is a worker's."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling.costs", str(root)], check=True, capture_output=True, text=True
    )
    return Costs(**json.loads(done.stdout))


def _measure(root: Path) -> Costs:
    site = Folder(root)
    database, runs = site.database(), RunLog.open(root)
    known = KnownCalibrations.read(database)
    template = NightRequest("any", root, settings={"run": {"parallel": True}})
    begun = time.perf_counter()
    entries = Planner(site, Wish(template), runs, known).plan(find_sets(site, NightFilter()))
    plan_s = (time.perf_counter() - begun) / len(entries)
    tasks = [entry for entry in entries if isinstance(entry, Task)]
    ledger = Ledger(site, database, runs, known)
    spent: dict[str, list[float]] = {"measure": [], "conclude": [], "client": []}
    for task in tasks:
        start = time.perf_counter()
        run = ledger.begin(task)
        begun_s = time.perf_counter() - start
        start = time.perf_counter()
        measured = measure_night(Job(task, run, threads=1))
        verdicts_of_night(measured)
        spent["measure"].append(time.perf_counter() - start)
        start = time.perf_counter()
        # As a batch does: the latest flat and blaze of each fibre.
        earlier = known.made_before(unix_of_mjd(task.mjd_mid) - 0.5 * DAY_S, 7.0)
        latest = {(record.keyname, record.fiber): record for record in earlier}
        outcome = conclude_night(measured, tuple(latest.values()))
        spent["conclude"].append(time.perf_counter() - start)
        if isinstance(outcome, Failure):
            raise RuntimeError(outcome.text)
        start = time.perf_counter()
        ledger.end(outcome, ledger.add(task, outcome))
        spent["client"].append(begun_s + time.perf_counter() - start)
    last = tasks[-1]
    frames = sum(file.stamp.size for file in last.files)
    calibrations = sum((root / "calib" / record.filename).stat().st_size for record in last.snapshot.held)
    products = sum(product["bytes"] for product in outcome.record["products"])
    copied = sum(Path(one.path).stat().st_size for one in outcome.candidates)
    # The first night pays for the imports.
    return Costs(
        measure_s=median(spent["measure"][1:]),
        conclude_s=median(spent["conclude"][1:]),
        plan_s=plan_s,
        client_s=median(spent["client"][1:]),
        read_bytes=frames + calibrations,
        written_bytes=products + copied,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


if __name__ == "__main__":
    here = Path(sys.argv[1])
    forget_runs(here)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    json.dump(asdict(_measure(here)), sys.stdout)
