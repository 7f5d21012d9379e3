"""``python -m benchmarks.truth``: simulate, measure, show, save."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.truth.figures import figures_of
from benchmarks.truth.nights import COMBINING, EXTRACTING, FRAMES, simulated_pair
from benchmarks.truth.table import COLUMNS, cells, lines, markdown

BEGIN, END = "<!-- truth: begin -->", "<!-- truth: end -->"
FIRST_SEED = 1000


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--nights", type=click.IntRange(min=1), default=20, help="Pairs of nights to simulate.")
@click.option("--frames", type=click.IntRange(min=1), default=FRAMES, help="Frames of each night.")
@click.option("--seed", type=click.IntRange(min=0), default=FIRST_SEED, help="Seed of the first pair.")
@click.option("--instrument", default="SMALL", help="Packaged profile or TOML file.")
@click.option(
    "--page", type=click.Path(path_type=Path, exists=True), help="Page to write the table in, between markers."
)
def command(nights: int, frames: int, seed: int, instrument: str, page: Path | None) -> None:
    """Measure flats of simulated nights against noiseless twins and against what was put in.

    Twenty nights of the small instrument take some three minutes.
    """
    terminal = Console(stderr=True)
    figures = []
    for number in range(nights):
        with tempfile.TemporaryDirectory(prefix="truth-") as folder:
            pair = simulated_pair(Path(folder), seed + number, frames, instrument)
        for combining in COMBINING:
            for extracting in EXTRACTING:
                figures += figures_of(pair, combining, extracting)
        terminal.print(f"night {number + 1} of {nights}", highlight=False)
    found = lines(figures)
    caption = f"{nights} nights of {frames} frames, {instrument}; median and 95th percentile over orders"
    table = Table(*COLUMNS, title="Flats against the truth", caption=caption)
    for line in found:
        table.add_row(*cells(line))
    Console(width=200).print(table)
    if page is not None:
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{caption[0].upper()}{caption[1:]}.\n\n{markdown(found)}\n\n{END}{after}")


if __name__ == "__main__":
    command()
