"""``python -m benchmarks.scaling``: measure what nights cost, simulate thousands, write tables and figure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from benchmarks.report import machine
from benchmarks.scaling.costs import Costs, measured_costs
from benchmarks.scaling.nights import nights_in
from benchmarks.scaling.page import draw, tables, write_between
from benchmarks.scaling.simulation import Plant, limit, model_rate, played_seconds
from benchmarks.scaling.throughput import Throughput, measured_throughput

KEPT = Path(__file__).parents[1] / "data"
GB = 1e9
# Bandwidths of the storage, and of one worker's link to it [bytes/s].
BANDWIDTHS = (1 * GB, 5 * GB, 20 * GB)
LINK = 1.25 * GB
WORKERS = (1, 2, 5, 10, 20, 50, 100, 200)
NIGHTS = 10_000


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--data", "folder", type=click.Path(path_type=Path), default=KEPT, help="Where nights are kept.")
@click.option("--nights", type=click.IntRange(min=3), default=4, help="Nights to measure.")
@click.option("--rounds", type=click.IntRange(min=1), default=2, help="Rounds of whole commands; the best counts.")
@click.option("--instrument", default="SPIROU", help="Packaged profile.")
@click.option("--measured", type=click.Path(path_type=Path), help="Keep the measured numbers here, or read them.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page to write the tables in.")
@click.option("--figure", type=click.Path(path_type=Path), help="Figure of the projection.")
def command(
    *,
    folder: Path,
    nights: int,
    rounds: int,
    instrument: str,
    measured: Path | None,
    page: Path | None,
    figure: Path | None,
) -> None:
    """Measure what a night costs on this machine, and project it.

    Full-size nights take 0.7 GB of disk each, and some minutes.
    """
    terminal = Console(stderr=True)
    if measured is not None and measured.is_file():
        kept = json.loads(measured.read_text())
        costs, whole, where = Costs(**kept["costs"]), Throughput(**kept["throughput"]), kept["machine"]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        terminal.print("nights to measure")
        root = nights_in(folder.absolute(), nights, instrument)
        terminal.print("what a night costs")
        costs = measured_costs(root)
        terminal.print("whole batches")
        whole, where = measured_throughput(root, rounds), machine(2)
        if measured is not None:
            kept = {"costs": asdict(costs), "throughput": asdict(whole), "machine": where}
            measured.write_text(json.dumps(kept, indent=1))
    terminal.print(f"{NIGHTS:,} nights, simulated")
    played = {}
    for bandwidth in BANDWIDTHS:
        for workers in WORKERS:
            plant = Plant(workers, bandwidth, LINK)
            rate = NIGHTS / played_seconds(NIGHTS, plant, costs)
            played[plant] = rate, model_rate(plant, costs), limit(plant, costs)
    text = tables(where, costs, whole, played, NIGHTS)
    Console(width=160).print(text, markup=False, highlight=False)
    if page is not None:
        write_between(page, text)
    if figure is not None:
        draw(figure, played)


if __name__ == "__main__":
    command()
