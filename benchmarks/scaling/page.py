"""Tables and figure of docs/scaling.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.scaling.costs import Costs
from benchmarks.scaling.simulation import Plant
from benchmarks.scaling.throughput import Throughput

BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
HOUR = 3600.0
GB = 1e9

# Nights per second simulated and by the model, and what limits them.
Played = Mapping[Plant, tuple[float, float, str]]


def tables(where: str, costs: Costs, whole: Throughput, played: Played, nights: int) -> str:
    """Write all tables of the page."""
    return "\n\n".join([f"Measured on {where}", _costs(costs), _whole(whole), _projection(played, costs, nights)])


def _costs(costs: Costs) -> str:
    rows = [
        ("measured on a worker, one thread, files in the page cache", f"{costs.measure_s:.2f} s"),
        ("concluded on a worker: judged, written, synced", f"{costs.conclude_s:.2f} s"),
        ("read: frames and calibrations", f"{costs.read_bytes / 1e6:,.0f} MB"),
        ("written: products, and copies among the calibrations", f"{costs.written_bytes / 1e6:,.0f} MB"),
        ("highest memory of a worker", f"{costs.peak_bytes / 1e6:,.0f} MB"),
        ("looked into and planned by the client, before", f"{costs.plan_s * 1e3:.0f} ms"),
        ("recorded and registered by the client, between", f"{costs.client_s * 1e3:.0f} ms"),
    ]
    return _table(("of one night", "cost"), rows)


def _whole(whole: Throughput) -> str:
    def row(name: str, seconds: float) -> tuple[str, ...]:
        return (
            name,
            f"{seconds:.1f}",
            f"{whole.nights / seconds * HOUR:,.0f}",
            f"{seconds / whole.loop_s:.3f}",
        )

    rows = [
        row("plain loop over the nights, one process, all cores", whole.loop_s),
        row("flatcore process --workers 1", whole.one_worker_s),
        row("flatcore process --workers 1 --threads 1", whole.one_worker_one_thread_s),
        row("flatcore process --workers 2 --threads 1", whole.two_workers_s),
    ]
    return _table((f"{whole.nights} full-size nights, whole command", "seconds", "nights/h", "of the loop"), rows)


def _projection(played: Played, costs: Costs, nights: int) -> str:
    rows = []
    for plant, (rate, model, limited_by) in played.items():
        rows.append(
            (
                f"{plant.workers}",
                f"{plant.bandwidth / GB:g} GB/s",
                f"{rate * HOUR:,.0f}",
                f"{model * HOUR:,.0f}",
                f"{rate / model:.3f}",
                f"{nights / rate / HOUR + nights * costs.plan_s / HOUR:.2f}",
                limited_by,
            )
        )
    heads = ("workers", "storage", "nights/h, simulated", "by the model", "ratio", f"hours for {nights:,}", "limit")
    return _table(heads, rows)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_between(page: Path, text: str) -> None:
    """Put the tables between the page's markers."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def draw(path: Path, played: Played) -> None:
    """Draw nights per hour against workers, simulated and by the model."""
    import matplotlib  # noqa: PLC0415

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    for number, bandwidth in enumerate(sorted({plant.bandwidth for plant in played})):
        plants = sorted((plant for plant in played if plant.bandwidth == bandwidth), key=lambda plant: plant.workers)
        workers = [plant.workers for plant in plants]
        colour = f"C{number}"
        axes.plot(workers, [played[plant][1] * HOUR for plant in plants], color=colour, alpha=0.6)
        axes.plot(
            workers,
            [played[plant][0] * HOUR for plant in plants],
            "o",
            color=colour,
            label=f"storage of {bandwidth / GB:g} GB/s",
        )
    axes.plot([], [], color="0.4", alpha=0.6, label="model (lines), simulated (points)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("workers of one thread")
    axes.set_ylabel("nights per hour")
    axes.set_title("Full-size SPIRou nights")
    axes.grid(which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
