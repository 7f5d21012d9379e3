"""All runs on one page, and how the instrument's figures went from night to night on another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from flatcore.caldb import RunRecord
from flatcore.report.browser import plotting_script
from flatcore.report.page import page_path
from flatcore.report.panels import trend_panels
from flatcore.report.record import fibers_of, known, list_of, median
from flatcore.report.render import run_of_page, write_page
from flatcore.report.sparkline import sparkline
from flatcore.report.tables import NONE, Cell, Column, Table, number, text
from flatcore.report.trends import FIGURES, Series, packed_series, series_of, write_csv

TONES = {"done": "good", "running": "warn"}
# Figures that have a sparkline.
SHOWN = FIGURES[:3]
COLUMNS = (
    Column("run", numeric=True),
    Column("night", wraps="anywhere"),
    Column("page"),
    Column("status"),
    Column("instrument", wraps="between-words"),
    Column("started (UTC)", wraps="between-words"),
    Column("took [s]", numeric=True),
    Column("fibres", wraps="between-words"),
    Column("S/N", "median of all orders", numeric=True),
    Column("largest rms", "of the flat of any order", numeric=True),
    Column("warnings", numeric=True),
    Column("identifier", wraps="anywhere"),
)


def write_index(runs: Sequence[RunRecord], data_root: Path) -> tuple[Path, ...]:
    """Write ``report/index.html``, ``trends.html`` and ``trends.csv`` over runs.

    Parameters
    ----------
    runs
        The latest first.
    data_root
        Folder that holds ``report/``.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    folder = data_root / "report"
    index, trends, table = folder / "index.html", folder / "trends.html", folder / "trends.csv"
    series = series_of(runs)
    write_csv(table, series)
    plots = {"script": Markup(plotting_script()), "panels": trend_panels(FIGURES), "data": packed_series(series)}
    write_page(trends, "trends.html", plots=plots if series else None)
    rows = tuple(_row(run, data_root) for run in runs)
    counts = {status: sum(run.status == status for run in runs) for status in dict.fromkeys(run.status for run in runs)}
    write_page(
        index,
        "index.html",
        table=Table("runs", f"{len(runs)} run{'' if len(runs) == 1 else 's'}, the latest first", COLUMNS, rows),
        counts=", ".join(f"{count} {status}" for status, count in counts.items()),
        sparks=[_sparks(one) for one in series],
    )
    return index, trends, table


def _row(run: RunRecord, data_root: Path) -> tuple[Cell, ...]:
    record = run.record
    fibers = [pair for image in list_of(record, "images") for pair in fibers_of(image)]
    orders = [order for _, fiber in fibers for order in list_of(fiber, "orders")]
    warnings = len(list_of(record, "warnings"))
    return (
        number(run.id, "d"),
        text(run.obs_dir),
        _page(run, data_root),
        Cell(run.status, tone=TONES.get(run.status, "bad")),
        text(run.instrument),
        text(run.started.replace("T", " ")[:19]),
        number(_seconds(run), ".1f"),
        text(" ".join(dict.fromkeys(f"{name}{'' if fiber['passed'] else ' ✗'}" for name, fiber in fibers))),
        number(median(known(orders, "snr")), ".0f"),
        number(max(known(orders, "rms"), default=None), ".4f"),
        number(warnings, "d", "warn" if warnings else ""),
        text(run.pid),
    )


def _page(run: RunRecord, data_root: Path) -> Cell:
    """Lead to the run's own page, if it is there: a later run of the same frames writes over it."""
    names = [str(image["stem"]) for image in list_of(run.record, "images")] or [run.pid]
    for name in names:
        path = page_path(data_root, run.obs_dir, name)
        if run_of_page(path) == run.pid:
            return Cell("page", "0", link=quote(f"{run.obs_dir}/{path.name}"))
    return Cell(NONE, "")


def _seconds(run: RunRecord) -> float | None:
    if run.finished is None:
        return None
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()


def _sparks(series: Series) -> dict[str, Any]:
    """Give a fibre's sparklines, each with its latest value and its range."""
    nights = len(series.points)
    lines = []
    for figure in SHOWN:
        values = series.medians(figure)
        there = [value for value in values if value is not None]
        if there:
            label = f"{figure.label}, {series.instrument} {series.fiber}, {nights} nights"
            lines.append({
                "label": figure.label,
                "line": sparkline(values, label),
                "latest": f"{there[-1]:.4g}",
                "range": f"{min(there):.4g} – {max(there):.4g}",
            })  # fmt: skip
    return {"name": f"{series.instrument} {series.fiber}", "nights": nights, "lines": lines}
