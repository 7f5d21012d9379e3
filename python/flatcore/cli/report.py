"""What a run tells the terminal when it is done: a table, or JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from flatcore.cli.watcher import STAGES
from flatcore.results import FiberResult, ImageResult, NightResult
from flatcore.session import SessionResult
from flatcore.spectra import Rung

if TYPE_CHECKING:
    from rich.table import Table

# Orders that share a line of the closing table.
ORDERS_PER_LINE = 10


def print_session(outcome: SessionResult) -> None:
    """Print the closing table, or that there was nothing to do."""
    from rich.console import Console  # noqa: PLC0415 - JSON does without

    if outcome.night is None:
        Console().print(f"nothing to do: {outcome.pid} made these products", soft_wrap=True)
    else:
        print_night(outcome.night)
    if outcome.figures:
        Console().print(f"{len(outcome.figures)} figures in {outcome.figures[0].parent}", soft_wrap=True)
    for page in outcome.pages:
        Console().print(f"page: {page}", soft_wrap=True)


def print_night(result: NightResult) -> None:
    """Print the closing table of every image, and where the products lie."""
    from rich.console import Console  # noqa: PLC0415 - JSON does without

    console = Console()
    for image in result.images:
        console.print(_image_table(result, image))
        if image.products:
            folder = image.products[0].path.parent
            console.print(f"{len(image.products)} products in {folder}", soft_wrap=True)
    seconds = sum(result.seconds.values())
    slowest = sorted(result.seconds.items(), key=lambda item: -item[1])[:3]
    console.print(f"{seconds:.2f} s: " + ", ".join(f"{STAGES[name]} {time:.2f}" for name, time in slowest) + ", …")


def _image_table(result: NightResult, image: ImageResult) -> Table:
    from rich.table import Table  # noqa: PLC0415 - JSON does without

    count = len(image.inputs)
    table = Table(
        title=f"{result.instrument} {result.obs_dir}: {count} frame{'s' if count > 1 else ''}, {image.stem}",
        caption=f"effective read noise {image.readnoise_e:.2f} e-",
    )
    table.add_column("fibre")
    for heading in ("orders", "S/N", "rms", "largest rms", "usable"):
        table.add_column(heading, justify="right")
    table.add_column("blaze")
    table.add_column("verdict")
    for name, fiber in image.fibers.items():
        orders = len(fiber.flat.rms)
        lines = -(-orders // ORDERS_PER_LINE)
        for number, block in enumerate(np.array_split(np.arange(orders), lines)):
            table.add_row(name if number == 0 else "", *_block(fiber, block), end_section=number == lines - 1)
    return table


def _block(fiber: FiberResult, orders: np.ndarray[Any, np.dtype[np.int_]]) -> list[str]:
    snr, rms = fiber.spectra.snr[orders], fiber.flat.rms[orders]
    verdicts = [fiber.qc.orders[order] for order in orders]
    failed = [str(order) for order, verdict in zip(orders, verdicts, strict=True) if verdict == "fail"]
    skipped = verdicts.count("skipped")
    text = f"[bold red]fail[/] ({', '.join(failed)})" if failed else "[green]pass[/]"
    if skipped:
        text += f", {skipped} skipped"
    whole = np.isfinite(rms)
    return [
        f"{orders[0]}–{orders[-1]}",
        f"{np.nanmin(snr):.0f}–{np.nanmax(snr):.0f}" if np.isfinite(snr).any() else "none",
        f"{np.median(rms[whole]):.4f}" if whole.any() else "none",
        f"{rms[whole].max():.4f}" if whole.any() else "none",
        f"{np.isfinite(fiber.flat.flat[orders]).mean():.1%}",
        _rungs(fiber, orders),
        text,
    ]


def _rungs(fiber: FiberResult, orders: np.ndarray[Any, np.dtype[np.int_]]) -> str:
    """How the orders' blazes are described; those that are no sinc^2 of the order's own stand out."""
    counts = Counter(fiber.flat.fits[order].rung for order in orders)
    if len(counts) == 1:
        return _coloured(next(iter(counts)), "")
    return ", ".join(_coloured(rung, f"{counts[rung]} ") for rung in sorted(counts))


def _coloured(rung: Rung, count: str) -> str:
    text = f"{count}{rung.words}"
    return f"[bold red]{text}[/]" if rung is Rung.NONE else f"[yellow]{text}[/]" if rung >= Rung.PREDICTED else text


def print_json(outcome: SessionResult) -> None:
    """Print one JSON object: products, quality control, seconds per stage."""
    json.dump(outcome.summary, sys.stdout, indent=1)
    sys.stdout.write("\n")
