"""What a run tells the terminal: progress, warnings, the closing table, or JSON."""

from __future__ import annotations

import json
import logging
import sys
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from flatcore.results import FiberResult, ImageResult, NightResult

STAGES = {
    "frames": "select frames",
    "calibrations": "read calibrations",
    "straighten": "straighten",
    "combine": "combine frames",
    "calibrate": "calibrate",
    "extract": "extract",
    "blaze": "fit the blaze",
    "flat": "make the flat",
    "products": "write products",
    "database": "register",
}
# Orders that share a line of the closing table.
ORDERS_PER_LINE = 10


class Watcher:
    """Show a run's stages while it goes on, and its warnings, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self._console,
            disable=quiet or not sys.stderr.isatty(), transient=True,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}
        plain = logging.StreamHandler(sys.stderr)
        plain.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        terminal = RichHandler(console=self._console, show_time=False, show_path=False)
        self._handler: logging.Handler = terminal if sys.stderr.isatty() else plain

    def __enter__(self) -> Self:
        logging.getLogger("flatcore").addHandler(self._handler)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        logging.getLogger("flatcore").removeHandler(self._handler)

    def stage(self, name: str, seconds: float) -> None:
        """Take notice of a stage's start (0 seconds) or end."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(STAGES.get(name, name), total=1)
        elif seconds:
            self._progress.update(self._tasks[name], completed=1)


def print_night(result: NightResult) -> None:
    """Print the closing table of every image, and where the products lie."""
    console = Console()
    for image in result.images:
        console.print(_image_table(result, image))
        if image.products:
            folder = image.products[0].path.parent
            console.print(f"{len(image.products)} products in {folder}/{image.stem}_*.fits", soft_wrap=True)
    seconds = sum(result.seconds.values())
    slowest = sorted(result.seconds.items(), key=lambda item: -item[1])[:3]
    console.print(f"{seconds:.2f} s: " + ", ".join(f"{STAGES[name]} {time:.2f}" for name, time in slowest) + ", …")


def _image_table(result: NightResult, image: ImageResult) -> Table:
    count = len(image.inputs)
    table = Table(
        title=f"{result.instrument} {result.obs_dir}: {count} frame{'s' if count > 1 else ''}, {image.stem}",
        caption=f"effective read noise {image.readnoise_e:.2f} e-",
    )
    table.add_column("fibre")
    for heading in ("orders", "S/N", "rms", "largest rms", "usable"):
        table.add_column(heading, justify="right")
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
        text,
    ]


def print_json(result: NightResult) -> None:
    """Print one JSON object: products, quality control, seconds per stage."""
    json.dump(as_json(result), sys.stdout, indent=1)
    sys.stdout.write("\n")


def as_json(result: NightResult) -> dict[str, Any]:
    """Give a run's result in a form that JSON holds; NaN becomes null."""
    return {
        "obs_dir": result.obs_dir,
        "instrument": result.instrument,
        "passed": result.passed,
        "images": [
            {
                "stem": image.stem,
                "inputs": list(image.inputs),
                "readnoise_e": _number(image.readnoise_e),
                "fibers": {name: _fiber_json(fiber) for name, fiber in image.fibers.items()},
            }
            for image in result.images
        ],
        "products": [
            {"kind": p.kind, "fiber": p.fiber, "path": str(p.path), "sha256": p.sha256} for p in result.products
        ],
        "calibrations": [
            {"keyname": c.keyname, "fiber": c.fiber, "path": str(c.path), "reason": c.reason, "sha256": c.sha256}
            for c in result.calibrations
        ],
        "left_out": [{"path": str(frame.path), "reason": frame.reason} for frame in result.left_out],
        "warnings": list(result.warnings),
        "seconds": {name: round(seconds, 6) for name, seconds in result.seconds.items()},
    }


def _fiber_json(fiber: FiberResult) -> dict[str, Any]:
    return {
        "passed": fiber.qc.passed,
        "checks": [
            {"name": c.name, "value": _number(c.value), "limit": c.limit, "passed": c.passed} for c in fiber.qc.checks
        ],
        "orders": [
            {
                "order": order,
                "snr": _number(fiber.spectra.snr[order]),
                "rms": _number(fiber.flat.rms[order]),
                "rejected": fiber.spectra.rejected[order],
                "saturated": bool(fiber.spectra.saturated[order]),
                "verdict": verdict,
                "problem": fiber.flat.fits[order].problem,
            }
            for order, verdict in enumerate(fiber.qc.orders)
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
