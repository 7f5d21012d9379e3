"""What a watcher says of a run: a line at its beginning, and one at its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from flatcore.watch.jobs import Task
from flatcore.watch.runner import RunOutcome
from flatcore.watch.sets import Standing

log = logging.getLogger("flatcore")


def tell_begin(task: Task, standings: Sequence[Standing]) -> None:
    """Say that a run begins, why, and without which frames."""
    why = next((found.status.why for found in standings if found.task == task), "complete")
    count = f"{len(task.files)} frame{'' if len(task.files) == 1 else 's'}"
    again = f", attempt {task.attempt}" if task.attempt > 1 else ""
    log.info("%s: %s, %s%s; running", task.name, count, why, again)
    for name, fault in task.left_out.items():
        log.warning("%s: left out: %s %s", task.name, name, fault)


def tell_end(task: Task, outcome: RunOutcome, wait_s: float | None) -> None:
    """Say how a run ended, and what will be done about it."""
    for line in outcome.warnings if outcome.ending != "stopped" else ():
        log.warning("%s: %s", task.name, _message(line))
    took = f"in {outcome.seconds:.1f} s"
    if outcome.ending == "stopped":
        log.info("%s: stopped after %.1f s; it is run again at the next start", task.name, outcome.seconds)
    elif outcome.skipped:
        log.info("%s: nothing to do, %s made it", task.name, outcome.summary.get("pid"))
    elif outcome.ending == "done":
        log.info("%s: done %s, %s", task.name, took, _quality(outcome.summary))
    elif outcome.ending == "failed-qc":
        log.warning("%s: failed quality control, done %s, %s", task.name, took, _quality(outcome.summary))
    else:
        then = (
            "not tried again before its frames or the calibrations change"
            if wait_s is None
            else f"tried again in {wait_s:g} s"
        )
        log.error("%s: %s %s: %s; %s", task.name, outcome.ending, took, outcome.error, then)


def _quality(summary: dict[str, Any]) -> str:
    """Sum up the quality of a run: the largest rms, the orders that failed, and where its page is."""
    orders = [
        (order["rms"], name, order["order"], order["verdict"])
        for image in summary.get("images", [])
        for name, fiber in image["fibers"].items()
        for order in fiber["orders"]
    ]
    parts = []
    measured = [found for found in orders if found[0] is not None and found[3] != "skipped"]
    if measured:
        rms, fiber, order, _ = max(measured)
        parts.append(f"largest rms {rms:.4f} (fibre {fiber}, order {order})")
    failed = sorted({f"{name} {order}" for _, name, order, verdict in orders if verdict == "fail"})
    if failed:
        more = ", …" if len(failed) > 5 else ""
        parts.append(f"failed: {', '.join(failed[:5])}{more}")
    parts += [f"page {page}" for page in summary.get("pages", [])[:1]]
    return ", ".join(parts) or "no order was measured"


def _message(line: str) -> str:
    """Give the text of a line of a run's log, which is date | program | message."""
    parts = line.split(" | ", 2)
    return parts[2].removeprefix("warning: ") if len(parts) == 3 else line
