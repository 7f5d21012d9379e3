"""What a batch of nights tells the terminal: progress while it goes on, and a table when it is done."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from flatcore.nights import BatchResult, Item, NightReport, Watching
from flatcore.nights.plan import Entry, Task

# Nights that were simply done, as far as the table shows them.
MOST_DONE = 40
# Nights of one cause that are named.
MOST_NAMED = 4

COLOURS = {"done": "green", "failed-qc": "bold red", "error": "bold red", "not run": "yellow", "would run": "cyan"}
WORDS = {"failed-qc": "failed QC", "error": "could not be run"}
SHORT_WORDS = WORDS | {"error": "failed"}


class BatchWatcher(Watching):
    """Shows how far a batch is, on standard error: a bar on a terminal, else a line per night.

    Parameters
    ----------
    quiet
        Warnings and errors only.
    """

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("left"),
            console=self._console, disable=quiet or not self._console.is_terminal, transient=True,
        )  # fmt: skip
        self._bar: Any = None
        self._begun = self._started = time.monotonic()
        self._ended = 0
        self._handler = _Lines(self._console)
        self._quieted = logging.NullHandler()

    def __enter__(self) -> Self:
        logging.getLogger("flatcore.nights").addHandler(self._handler)
        # What runs tell is in their logs, and counted in the table.
        logging.getLogger("flatcore").addHandler(self._quieted)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        logging.getLogger("flatcore.nights").removeHandler(self._handler)
        logging.getLogger("flatcore").removeHandler(self._quieted)

    @property
    def seconds(self) -> float:
        """Time since the plan was made [s]."""
        return time.monotonic() - self._begun

    def looking(self, done: int, of: int) -> None:
        """Show how many nights were looked into."""
        if self._bar is None:
            self._bar = self._progress.add_task("look for nights", total=of, rate="")
        self._progress.update(self._bar, completed=done)

    def planned(self, entries: list[Entry]) -> None:
        """Begin to count nights that are run."""
        self._begun = time.monotonic()
        count = sum(isinstance(entry, Task) for entry in entries)
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task("nights", total=count, rate="")

    def moved(self, item: Item) -> None:
        """Tell of a night that has ended."""
        if item.state not in ("done", "failed"):
            return
        self._ended += 1
        rate = self._ended / max(self.seconds, 1e-9) * 3600.0
        self._progress.update(self._bar, completed=self._ended, rate=f"{rate:,.0f} nights/h")
        if not self._quiet:
            self._console.print(_line(item), markup=False, highlight=False, soft_wrap=True, style=_style(item))

    def tell_causes(self, result: BatchResult) -> None:
        """Tell why nights could not be run, each reason once."""
        _print_causes(self._console, result)


def _style(item: Item) -> str | None:
    failed = item.failure is not None or (item.outcome is not None and not item.outcome.passed)
    return "yellow" if failed else None


def _line(item: Item) -> str:
    time_of_day = time.strftime("%Y-%m-%d %H:%M:%S")
    if item.failure is not None:
        return f"{time_of_day} | {item.task.label} | could not be run: {item.failure.text}"
    verdict = "done" if item.outcome is not None and item.outcome.passed else "failed quality control"
    return f"{time_of_day} | {item.task.label} | {verdict}, {item.seconds:.1f} s"


class _Lines(logging.Handler):
    """Warnings of the batch itself, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
            text = f"{moment} | warning: {record.getMessage()}"
            self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console


def print_batch(result: BatchResult, *, dry_run: bool, seconds: float, database: str) -> None:
    """Print the table of nights, what lies behind the failures, where warnings are told, and the sum of it all.

    Parameters
    ----------
    database
        The option by which another command finds the same runs.
    """
    console = Console()
    if not result.nights:
        console.print("no flats")
        return
    console.print(_table(result, dry_run))
    _print_causes(console, result)
    _print_warned(console, result, database)
    counts = Counter(night.status for night in result.nights)
    text = ", ".join(f"{count} {WORDS.get(status, status)}" for status, count in sorted(counts.items()))
    ran = counts["done"] + counts["failed-qc"]
    rate = f"; {ran} in {seconds:.1f} s, {ran / seconds * 3600.0:,.0f} per hour" if ran and seconds > 0 else ""
    number = len(result.nights)
    console.print(f"{number} {'set' if number == 1 else 'sets'} of flats: {text}{rate}", soft_wrap=True)


def _table(result: BatchResult, dry_run: bool) -> Table:
    table = Table()
    table.add_column("night", overflow="fold", min_width=10)
    for heading in ("kind", "what"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", overflow="fold", min_width=8)
    if not dry_run:
        # In two lines, since rich cuts a table off rather than break one heading: 80 columns are enough for all.
        for heading in ("largest\nrms", "warnings", "seconds"):
            table.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
    shown = {id(night) for night in _shown(result.nights)}
    left_out = 0
    for night in result.nights:
        if id(night) in shown:
            table.add_row(*_row(night, dry_run))
        else:
            left_out += 1
    if left_out:
        table.caption = f"and {left_out} more that were done or skipped"
    return table


def _shown(nights: tuple[NightReport, ...]) -> list[NightReport]:
    """Give all that need a look, and as many of the others as people read."""
    plain = [night for night in nights if night.status in ("done", "skipped", "would run")]
    return [night for night in nights if night not in plain] + plain[:MOST_DONE]


def _row(night: NightReport, dry_run: bool) -> list[str]:
    colour = COLOURS.get(night.status)
    what = SHORT_WORDS.get(night.status, night.status)
    # The error itself stands below the table, once for all nights that have it.
    why = "" if night.status == "error" else night.why
    row = [escape(night.obs_dir), night.kind, f"[{colour}]{what}[/]" if colour else what, escape(why)]
    if dry_run:
        return row
    rms = _largest_rms(night)
    warnings = len(night.record.get("warnings", ()))
    seconds = f"{night.seconds:.1f}" if night.seconds else ""
    return [*row, "" if rms is None else f"{rms:.4f}", str(warnings) if _was_run(night) else "", seconds]


def _was_run(night: NightReport) -> bool:
    return night.status in ("done", "failed-qc")


def _largest_rms(night: NightReport) -> float | None:
    values = [
        check["value"]
        for image in night.record.get("images", ())
        for fiber in image["fibers"].values()
        for check in fiber["checks"]
        if check["name"] == "max_rms" and check["value"] is not None
    ]
    return max(values, default=None)


def _print_causes(console: Console, result: BatchResult) -> None:
    """Print each reason once, with the nights that have it."""
    for cause in result.causes:
        count = len(cause.labels)
        named = ", ".join(cause.labels[:MOST_NAMED]) + (f" and {count - MOST_NAMED} more" if count > MOST_NAMED else "")
        console.print(f"{count} × ", style="bold red", end="", highlight=False)
        console.print(f"{cause.text}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"    {named}", markup=False, highlight=False, soft_wrap=True)


def _print_warned(console: Console, result: BatchResult, database: str) -> None:
    """Print which command tells the warnings that the table counts, and the runs to ask it for."""
    warned = [night for night in result.nights if _was_run(night) and night.record.get("warnings")]
    if not warned:
        return
    lines = [f"warnings are told by: flatcore runs show PID {database}"]
    lines += [f"    {night.pid}  {night.label}" for night in warned[:MOST_NAMED]]
    if len(warned) > MOST_NAMED:
        lines.append(f"    and {len(warned) - MOST_NAMED} more: flatcore runs list {database}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_batch_json(result: BatchResult) -> None:
    """Print one JSON object: every night, what lies behind the failures, and the exit status."""
    nights = [
        {
            "obs_dir": night.obs_dir,
            "dprtype": night.kind,
            "status": night.status,
            "why": night.why,
            "pid": night.pid,
            "exit_status": night.exit_status,
            "attempts": night.attempts,
            "seconds": round(night.seconds, 3),
            "largest_rms": _largest_rms(night),
            "warnings": list(night.record.get("warnings", ())),
            "products": [product["path"] for product in night.record.get("products", ())],
        }
        for night in result.nights
    ]
    causes = [
        {"error": cause.text, "nights": list(cause.labels), "exit_status": cause.exit_status} for cause in result.causes
    ]
    json.dump({"nights": nights, "causes": causes, "exit_status": result.exit_status}, sys.stdout, indent=1)
    sys.stdout.write("\n")
