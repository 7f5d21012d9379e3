"""What was measured, on the terminal, as Markdown and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bench import Detail, Row
from flatcore.version import VERSION

COLUMNS = ("work", "flatcore", "against", "ratio", "target", "met")
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
VERDICTS = {True: "yes", False: "no", None: ""}


@dataclass(frozen=True)
class Report:
    """All of one run of the benchmarks."""

    rows: Sequence[Row]
    details: Sequence[Detail]
    threads: int
    machine: str
    remarks: Sequence[str] = ()
    rounds: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give numbers and verdicts in plain types."""
        rows = [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in self.rows]
        return {
            "machine": self.machine,
            "threads": self.threads,
            "rows": rows,
            "remarks": list(self.remarks),
            "rounds": {what: dict(rounds) for what, rounds in self.rounds.items()},
            "details": [asdict(detail) for detail in self.details],
        }


def machine(threads: int) -> str:
    """Processor, cores, load, versions and date in one sentence; asked before the benchmarks add to the load."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    libraries = ", ".join(
        f"{label} {metadata.version(name)}"
        for label, name in (("NumPy", "numpy"), ("SciPy", "scipy"), ("bottleneck", "bottleneck"))
    )
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {model[1] if model else platform.processor()}, "
        f"{cores}, {threads} threads of flatcore; flatcore {VERSION}, Python "
        f"{platform.python_version()}, {libraries}"
    )


def cells(row: Row) -> tuple[str, ...]:
    """Give a row's texts, in the order of the columns."""
    bound = "at least" if row.faster else "at most"
    target = "" if row.target is None else f"{bound} {row.target:g}"
    verdict = VERDICTS[row.met] if row.same_work else "differs"
    against = f"{row.against}: {quantity(row.other, row.unit)}"
    return row.work, quantity(row.flatcore, row.unit), against, f"{row.ratio:.2f}", target, verdict


def quantity(value: float, unit: str) -> str:
    """Write a time or a memory with as many digits as a measurement has."""
    if unit == "s":
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.0f} ms"
    return f"{value:.0f} {unit}"


def notes(rows: Sequence[Row]) -> list[str]:
    """Say how results compare, and what else to know."""
    lines = []
    work = ""
    for row in rows:
        work = row.work if row.work != "the same" else work
        said = "; ".join(text for text in (str(row.agreement or ""), row.note) if text)
        if said:
            lines.append(f"{work}: {said}")
    return lines


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    if report.rows:
        table = Table(title="flatcore beside NumPy, SciPy and bottleneck", caption=report.machine)
        for name in COLUMNS:
            table.add_column(name, justify="right" if name in ("flatcore", "ratio") else "left")
        for row in report.rows:
            style = {True: "green", False: "red", None: ""}[row.met]
            *texts, verdict = cells(row)
            table.add_row(*texts, f"[{style}]{verdict}[/]" if style else verdict)
        console.print(table)
        for line in notes(report.rows):
            console.print(f"  {line}", highlight=False, style="dim")
    for remark in report.remarks:
        console.print(f"  {remark}", highlight=False, style="yellow")
    for detail in report.details:
        table = Table(title=detail.title, caption=detail.note or None)
        for name in detail.columns:
            table.add_column(name)
        for line in detail.lines:
            table.add_row(*line)
        console.print(table)


def markdown(report: Report) -> str:
    """Give the tables as Markdown."""
    parts = [f"Measured on {report.machine}."]
    if report.rows:
        parts.append(_markdown_table(COLUMNS, [cells(row) for row in report.rows]))
        parts.append("\n".join(f"- {line}" for line in [*notes(report.rows), *report.remarks]))
    for detail in report.details:
        parts.append(f"### {detail.title}")
        parts.append(_markdown_table(detail.columns, detail.lines))
        if detail.note:
            parts.append(detail.note)
    return "\n\n".join(part for part in parts if part)


def _markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def save_markdown(report: Report, path: Path) -> None:
    """Write the tables to a file; in one that has the two markers, between them."""
    text = f"{BEGIN}\n\n{markdown(report)}\n\n{END}"
    if path.exists():
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if begin and end:
            path.write_text(f"{before}{text}{after}")
            return
    path.write_text(f"{text}\n")


def save_json(report: Report, path: Path) -> None:
    """Write numbers and verdicts."""
    path.write_text(json.dumps(report.as_json(), indent=1) + "\n")
