"""What a batch records in the one database: runs that begin and end, and the calibrations they made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flatcore.caldb import CalibrationDatabase, RunLog, RunRecord
from flatcore.caldb.runs import ending_of
from flatcore.nights.failure import Failure
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.plan import Refused, Task
from flatcore.nights.site import Site
from flatcore.nights.work import Outcome
from flatcore.products import new_pid
from flatcore.settings import RunSettings


@dataclass(frozen=True)
class Ledger:
    """Writes to the database, for all workers.

    Attributes
    ----------
    site
        Where calibrations go.
    database, runs
        The two tables.
    known
        Learns of calibrations that are added.
    """

    site: Site
    database: CalibrationDatabase
    runs: RunLog
    known: KnownCalibrations

    def begin(self, task: Task) -> RunRecord:
        """Record a task as running, under a new identifier."""
        run, pid = task.settings.run, new_pid()
        self.runs.start(
            pid=pid,
            obs_dir=task.obs_dir,
            instrument=task.instrument,
            program=run.program,
            shortname=run.shortname,
            recipe_kind=run.recipe_kind,
        )
        return self.runs.get(pid)

    def add(self, task: Task, outcome: Outcome) -> tuple[str, ...]:
        """Add what passed to the calibrations; the notices say what was not, and why."""
        added = self.site.register(outcome.candidates, self.database, outcome.pid, task.settings.output.reference)
        self.known.learn(added.records)
        return added.notices

    def end(self, outcome: Outcome, notices: tuple[str, ...]) -> Outcome:
        """Record how a run ended, and give all that it tells."""
        record = outcome.record | {"warnings": [*outcome.record["warnings"], *notices]}
        self.runs.finish(outcome.pid, *ending_of(outcome.passed), record)
        return replace(outcome, record=record)

    def reopen(self, pid: str) -> None:
        """Record that a run that had ended is made again, under the same identifier."""
        self.runs.reopen(pid)

    def fail(self, pid: str, task: Task, failure: Failure) -> None:
        """Record that a run came to nothing."""
        record = {"error": failure.text, "dprtype": task.kind}
        if failure.details:
            record["traceback"] = failure.details
        self.runs.finish(pid, "error", failure.exit_status, record)

    def interrupt(self, pid: str, task: Task, exit_status: int) -> None:
        """Record that a run was interrupted."""
        self.runs.finish(pid, "interrupted", exit_status, {"error": "interrupted", "dprtype": task.kind})


def record_refusal(runs: RunLog, refused: Refused, run: RunSettings) -> str:
    """Record a set that could not even begin, where there is a database, and give the run's identifier."""
    if not runs.exists():
        return ""
    pid = runs.start(
        pid=new_pid(),
        obs_dir=refused.obs_dir,
        instrument="",
        program=run.program,
        shortname=run.shortname,
        recipe_kind=run.recipe_kind,
    )
    record = {"error": str(refused.error), "dprtype": refused.kind}
    runs.finish(pid, "error", refused.error.exit_status, record)
    return pid
