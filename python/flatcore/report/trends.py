"""From night to night: what every order's figures did, as series that a page and a file show."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.caldb import RunRecord
from flatcore.report.packing import packed
from flatcore.report.record import Record, fibers_of, known, list_of, median, mjd_of, time_of
from flatcore.writing import replacing

MJD_1970 = 40587.0
DAY_MS = 86_400_000.0


@dataclass(frozen=True)
class Figure:
    """A figure of an order that is followed.

    Attributes
    ----------
    name
        In the record and the file.
    label
        On the page, with its unit.
    scale
        By which the record's value is multiplied for the page.
    """

    name: str
    label: str
    scale: float = 1.0


FIGURES = (
    Figure("rms", "rms of the flat"),
    Figure("snr", "S/N"),
    Figure("flat_change", "flat changed [%]", 100.0),
    Figure("blaze_change", "blaze changed [%]", 100.0),
    Figure("amplitude_e", "amplitude [e⁻]"),
    Figure("centre", "centre [pixel]"),
    Figure("period", "period [pixel]"),
)


@dataclass(frozen=True)
class Point:
    """A fibre on a night.

    Attributes
    ----------
    mjd
        Middle of the exposures.
    orders
        What the record says of each order.
    """

    mjd: float
    obs_dir: str
    stem: str
    pid: str
    passed: bool
    orders: Sequence[Record]


@dataclass(frozen=True)
class Series:
    """A fibre of an instrument from night to night, by time."""

    instrument: str
    fiber: str
    points: tuple[Point, ...]

    @property
    def orders(self) -> int:
        """Number of orders, the most of any night."""
        return max(len(point.orders) for point in self.points)

    def plane(self, figure: Figure) -> NDArray[np.float64]:
        """Give a figure of all orders: orders by nights; NaN where there is none."""
        plane = np.full((self.orders, len(self.points)), np.nan)
        for night, point in enumerate(self.points):
            for row, order in enumerate(point.orders):
                value = order.get(figure.name)
                plane[row, night] = np.nan if value is None else value * figure.scale
        return plane

    def medians(self, figure: Figure) -> list[float | None]:
        """Give the median of a figure over the orders of each night; None where no order has one."""
        found = [median(known(point.orders, figure.name)) for point in self.points]
        return [None if value is None else value * figure.scale for value in found]


def series_of(runs: Iterable[RunRecord]) -> tuple[Series, ...]:
    """Gather the series of every instrument and fibre.

    Of several runs on the same frames the latest that made products counts; images without a time are left out.

    Parameters
    ----------
    runs
        In any order.
    """
    latest: dict[tuple[str, str, str, str], Point] = {}
    for run in sorted(runs, key=lambda run: run.id):
        if run.status not in ("done", "failed-qc"):
            continue
        for image in list_of(run.record, "images"):
            mjd = mjd_of(image)
            if mjd is None:
                continue
            for fiber, quality in fibers_of(image):
                key = run.instrument, fiber, run.obs_dir, str(image["stem"])
                orders = list_of(quality, "orders")
                latest[key] = Point(mjd, run.obs_dir, key[-1], run.pid, bool(quality["passed"]), orders)
    by_fiber: dict[tuple[str, str], list[Point]] = {}
    for (instrument, fiber, *_), point in latest.items():
        by_fiber.setdefault((instrument, fiber), []).append(point)
    return tuple(
        Series(instrument, fiber, tuple(sorted(points, key=lambda point: (point.mjd, point.stem))))
        for (instrument, fiber), points in sorted(by_fiber.items())
    )


def packed_series(series: Sequence[Series]) -> dict[str, Any]:
    """Pack series in a form that JSON holds and ``trends.js`` reads."""
    return {
        "figures": [{"name": figure.name, "label": figure.label} for figure in FIGURES],
        "series": [
            {
                "name": f"{one.instrument} {one.fiber}",
                "orders": one.orders,
                "nights": [point.obs_dir for point in one.points],
                "times": [(point.mjd - MJD_1970) * DAY_MS for point in one.points],
                "values": {figure.name: packed(one.plane(figure)) for figure in FIGURES},
            }
            for one in series
        ],
    }


def write_csv(path: Path, series: Sequence[Series]) -> None:
    """Write every order of every night as a row.

    Raises
    ------
    OutputError
        The folder or the disk does not take the file.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([
            "time_utc", "mjd", "instrument", "fiber", "obs_dir", "stem", "pid", "fiber_passed", "order", "verdict",
            *(figure.name for figure in FIGURES),
        ])  # fmt: skip
        for one in series:
            for point in one.points:
                head = (time_of(point.mjd), f"{point.mjd:.6f}", one.instrument, one.fiber, point.obs_dir, point.stem)
                for row, order in enumerate(point.orders):
                    # What is not known stays empty.
                    values = [order.get(figure.name) for figure in FIGURES]
                    number = order.get("order", row)
                    writer.writerow([*head, point.pid, point.passed, number, order.get("verdict", ""), *values])
