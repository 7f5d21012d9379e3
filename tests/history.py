"""A database of runs on many nights, without the nights: records that a page about them reads."""

from flatcore.caldb import RunLog
from flatcore.settings import Settings

NIGHTS = 6
ORDERS = 3


def order(number, night):
    """What a record says of an order; centre and period are not known on the second night."""
    known = night != 1
    return {
        "order": number,
        "verdict": "pass",
        "rung": "full",
        "snr": 100.0 + 10 * number + night,
        "rms": 0.004 + 0.001 * number + 0.0001 * night,
        "flat_change": None if night == 0 else 0.001 * night,
        "blaze_change": None if night == 0 else 0.002 * night,
        "amplitude_e": 5e4 + night,
        "centre": 2000.0 + night if known else None,
        "period": 8000.0 if known else None,
    }


def record(night, name, scale=1.0):
    """The record of a run on a night of two fibres."""
    fibers = {}
    for fiber in ("AB", "C"):
        orders = [order(number, night) for number in range(ORDERS)]
        for one in orders:
            one["snr"] *= scale
        passed = (night, fiber) != (4, "C")
        fibers[fiber] = {"passed": passed, "checks": [], "previous": None, "orders": orders}
    frames = [{"name": "a.fits", "mjd_mid": 59092.5 + night, "level": 1.0, "spread": 0.0, "words": ""}]
    image = {"stem": name, "inputs": ["a.fits"], "frames": frames, "fibers": fibers}
    return {"images": [image], "warnings": ["a word"] * (night == 2), "settings": Settings().model_dump(mode="json")}


def written(root):
    """Record runs of six nights, the fourth of them twice; one that failed; one that goes on. Their identifiers."""
    runs = RunLog.open(root)
    pids = {}

    def put(key, night, status, contents):
        pids[key] = runs.start(obs_dir=f"2020-09-0{night + 1}", instrument="SPIRou")
        runs.finish(pids[key], status, 0, contents)

    # Not by date: a night may be made again years later.
    for night in (3, 0, 1, 2, 4, 5):
        put(night, night, "failed-qc" if night == 4 else "done", record(night, f"{night}_pp"))
    put("again", 3, "done", record(3, "3_pp", scale=2.0))
    put("error", 5, "error", {"error": "no such <b>file</b>"})
    pids["running"] = runs.start(obs_dir="2020-09-07", instrument="SPIRou")
    return pids
