"""``python -m benchmarks``: measure, show, save."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.report import Report, machine, save_json, save_markdown, show
from benchmarks.rows import ROWS
from flatcore import _core

KEPT = Path(__file__).parent / "data"


def _chosen(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    names = value.split(",") if value else list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(ROWS)}")
    return [name for name in ROWS if name in names]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--data", "folder", type=click.Path(path_type=Path), default=KEPT, help="Where nights are kept.")
@click.option("--only", callback=_chosen, metavar="NAME,...", help=f"Rows to measure: {', '.join(ROWS)}.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Rounds of short measurements; the best counts.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of flatcore; all cores by default.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the tables here, between markers if any.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the numbers here.")
def command(
    *,
    folder: Path,
    only: list[str],
    repeats: int,
    threads: int | None,
    markdown: Path | None,
    as_json: Path | None,
) -> None:
    """Measure flatcore beside NumPy, SciPy and bottleneck, at the full size of SPIRou.

    All rows take some five minutes, 4 GB of memory, and 4 GB of disk of which 1.3 GB are kept. A row that misses its
    target is shown as missed; the exit status is 0 all the same.
    """
    console, terminal = Console(), Console(stderr=True)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _core.set_threads(threads or 0)
    rows = []
    with terminal.status("") as status:

        def tell(text: str) -> None:
            # Where nobody watches a spinner, a line each.
            status.update(text) if terminal.is_terminal else terminal.print(text, highlight=False)

        bench = Bench(folder, repeats, _core.threads(), tell)
        where = machine(bench.threads)
        for name in only:
            rows += ROWS[name](bench)
    report = Report(rows, bench.details, bench.threads, where, bench.remarks, bench.rounds)
    show(report, console)
    if markdown:
        save_markdown(report, markdown)
    if as_json:
        save_json(report, as_json)


if __name__ == "__main__":
    command()
