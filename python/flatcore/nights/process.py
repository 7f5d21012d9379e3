"""A batch of nights from beginning to end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from flatcore.caldb import RunLog
from flatcore.caldb.runs import ending_of
from flatcore.display import check_display
from flatcore.errors import FlatcoreError, UsageError
from flatcore.night import given_profile
from flatcore.nights.batch import Batch, Policy
from flatcore.nights.causes import Cause, causes
from flatcore.nights.crew import Alone, Crew
from flatcore.nights.found import NightFilter, find_sets
from flatcore.nights.item import Item
from flatcore.nights.known import KnownCalibrations
from flatcore.nights.ledger import Ledger, record_refusal
from flatcore.nights.plan import Entry, Planner, Refused, Skipped, Task, Wish
from flatcore.nights.site import Site, is_url, site_of
from flatcore.nights.staging import Stage
from flatcore.request import NightRequest
from flatcore.settings import run_settings

Status = Literal["done", "failed-qc", "error", "skipped", "not run", "would run"]


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run.

    Attributes
    ----------
    data_root
        A folder, or the URL of a storage.
    request
        What is asked of every night; its night and files are not looked at.
    nights
        Which nights.
    force, retry_failed
        Run what is unchanged too; only sets whose latest run came to nothing.
    dry_run
        Say what would be run, and why; do nothing.
    order
        Which nights begin first. The result does not depend on it.
    workers
        Processes of this machine.
    scheduler
        Address of a Dask cluster, in place of processes of this machine.
    threads
        Of each night; by default the cores of this machine shared among its workers, or one on a cluster.
    memory_limit
        Of each worker of this machine, as Dask takes it.
    policy
        When to give up.
    stage
        Folder in which nights of a storage are run; must be writable on every worker.
    storage_options
        Of the storage, as fsspec takes them.
    """

    data_root: str
    request: NightRequest
    nights: NightFilter = field(default_factory=NightFilter)
    force: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    order: Literal["newest", "oldest"] = "oldest"
    workers: int = 1
    scheduler: str | None = None
    threads: int | None = None
    memory_limit: str = "auto"
    policy: Policy = field(default_factory=Policy)
    stage: Path | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def database_url(self) -> str | None:
        """Of the database; None for SQLite in the data root."""
        return self.request.database_url

    @property
    def is_storage(self) -> bool:
        """Whether the data root is a storage rather than a folder."""
        return is_url(self.data_root)


@dataclass(frozen=True)
class NightReport:
    """What became of a set of flats.

    Attributes
    ----------
    obs_dir, kind
        The night's folder and DPRTYPE.
    status
        done; failed-qc: done, but a fibre failed quality control; error: could not be run; skipped; not run: given
        up before; would run.
    why
        Why it was run or skipped, or the error.
    pid
        The run, or the earlier one that made the products.
    exit_status
        As ``flatcore run`` would have ended.
    attempts, seconds
        How often it was begun, and the time from then to its end.
    record
        All that the run tells.
    """

    obs_dir: str
    kind: str
    status: Status
    why: str = ""
    pid: str = ""
    exit_status: int = 0
    attempts: int = 0
    seconds: float = 0.0
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Night and kind."""
        return f"{self.obs_dir} {self.kind}".rstrip()


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch, by night and kind in the order of their names.

    Attributes
    ----------
    nights
        One report for each set of flats.
    """

    nights: tuple[NightReport, ...]

    @property
    def causes(self) -> list[Cause]:
        """Why nights could not be run, each reason once."""
        failed = (night for night in self.nights if night.status == "error")
        return causes((night.obs_dir, night.label, night.why, night.exit_status) for night in failed)

    @property
    def exit_status(self) -> int:
        """3 if a night could not be run (1 for a fault of flatcore itself), else 4 if one failed quality control."""
        statuses = {night.status for night in self.nights}
        if {"error", "not run"} & statuses:
            return 1 if any(night.status == "error" and night.exit_status == 1 for night in self.nights) else 3
        return 4 if "failed-qc" in statuses or any(night.exit_status == 4 for night in self.nights) else 0


class Watching:
    """Takes notice of what a batch does; every method may be overridden."""

    def looking(self, done: int, of: int) -> None:
        """See that so many nights of all were looked into."""

    def planned(self, entries: list[Entry]) -> None:
        """See what is to be done."""

    def moved(self, item: Item) -> None:
        """See that a night's state has changed."""


def process(options: BatchOptions, watching: Watching | None = None) -> BatchResult:
    """Find nights, run what has changed or is new, and report on all.

    Parameters
    ----------
    options
        Which nights, and how.
    watching
        Takes notice.

    Raises
    ------
    UsageError
        An option or setting is wrong.
    InputError
        No nights, or no cluster.
    OutputError
        The database cannot be written.
    """
    watching = watching or Watching()
    site = site_of(options.data_root, options.database_url, options.storage_options)
    template = _template(options, site)
    settings = run_settings(template.preset, [template.settings], template.assignments)
    check_display(settings)
    runs = RunLog.open(site.data_root, options.database_url)
    database = site.database()
    try:
        known: KnownCalibrations | FlatcoreError = KnownCalibrations.read(database, elsewhere=options.is_storage)
    except FlatcoreError as error:
        known = error
    planner = Planner(site, Wish(template, options.force, options.retry_failed), runs, known)
    given = given_profile(template)
    keywords = given.keywords if given else None
    entries = planner.plan(find_sets(site, options.nights, watching.looking, keywords))
    watching.planned(entries)
    if options.dry_run:
        return BatchResult(tuple(_planned(entry) for entry in entries))
    refused = [
        replace(_planned(entry), pid=record_refusal(runs, entry, settings.run))
        for entry in entries
        if isinstance(entry, Refused)
    ]
    skipped = [_planned(entry) for entry in entries if isinstance(entry, Skipped)]
    tasks = in_order([entry for entry in entries if isinstance(entry, Task)], options.order)
    done: list[NightReport] = []
    if tasks and isinstance(known, KnownCalibrations):
        left = None if options.policy.max_failures is None else max(0, options.policy.max_failures - len(refused))
        with _crew(options, len(tasks)) as crew:
            batch = Batch(
                tasks,
                crew,
                Ledger(site, database, runs, known),
                replace(options.policy, max_failures=left),
                threads=options.threads or _share_of_cores(options),
                stage=_stage(options, site),
                tell=watching.moved,
            )
            done = [_report(item) for item in batch.run()]
    everything = [*refused, *skipped, *done]
    return BatchResult(tuple(sorted(everything, key=lambda night: (night.obs_dir, night.kind))))


def in_order(tasks: list[Task], order: Literal["newest", "oldest"]) -> list[Task]:
    """Sort tasks by time; the kinds of one night stay in their order."""
    nights: dict[str, float] = {}
    for task in tasks:
        nights[task.obs_dir] = min(nights.get(task.obs_dir, task.mjd_mid), task.mjd_mid)
    sign = -1.0 if order == "newest" else 1.0
    return sorted(tasks, key=lambda task: (sign * nights[task.obs_dir], task.obs_dir))


def _template(options: BatchOptions, site: Site) -> NightRequest:
    """Say of every night that it is one of several."""
    request = options.request
    run = {**request.settings.get("run", {}), "parallel": True}
    settings = {**request.settings, "run": run}
    if not run_settings(request.preset, [settings], request.assignments).output.save:
        raise UsageError("process: output.save = False: nothing would come of it; use flatcore run --nosave")
    return replace(request, data_root=site.data_root, database_url=None, settings=settings)


@contextlib.contextmanager
def _crew(options: BatchOptions, tasks: int) -> Iterator[Crew]:
    if options.scheduler is None and options.workers == 1:
        yield Alone()
        return
    from flatcore.nights.cluster import LocalWorkers, cluster_at, local_cluster  # noqa: PLC0415 - Dask only if needed

    if options.scheduler is not None:
        with cluster_at(options.scheduler) as cluster:
            yield cluster
    else:
        with local_cluster(LocalWorkers(min(options.workers, tasks), options.memory_limit)) as cluster:
            yield cluster


def _share_of_cores(options: BatchOptions) -> int:
    if options.scheduler is not None:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // options.workers)


def _stage(options: BatchOptions, site: Site) -> Stage | None:
    if not options.is_storage:
        return None
    from flatcore.nights.storage import Storage  # noqa: PLC0415 - fsspec only where the data root is a URL

    assert isinstance(site, Storage)
    if options.stage is None:
        raise UsageError(f"--data-root {options.data_root}: give a folder to run nights in by --stage DIR")
    return Stage(site, options.stage.absolute())


def _planned(entry: Entry) -> NightReport:
    if isinstance(entry, Refused):
        return NightReport(entry.obs_dir, entry.kind, "error", str(entry.error), exit_status=entry.error.exit_status)
    if isinstance(entry, Skipped):
        return NightReport(entry.obs_dir, entry.kind, "skipped", entry.why, entry.pid, 0 if entry.passed else 4)
    return NightReport(entry.obs_dir, entry.kind, "would run", entry.why)


def _report(item: Item) -> NightReport:
    task, pid = item.task, item.run.pid if item.run else ""
    base = NightReport(task.obs_dir, task.kind, "not run", task.why, pid, 0, item.attempts, item.seconds)
    if item.failure is not None:
        return replace(base, status="error", why=item.failure.text, exit_status=item.failure.exit_status)
    if item.outcome is None:
        return base
    status, exit_status = ending_of(item.outcome.passed)
    # A run that was to replace it may have begun and been given up.
    base = replace(base, pid=item.outcome.pid)
    return replace(base, status=status, exit_status=exit_status, record=item.outcome.record)
