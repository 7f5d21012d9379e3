"""A run's record as pages read it: parts that it does not have are empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

Record = Mapping[str, Any]

MJD_ZERO = datetime(1858, 11, 17)
DIGITS = 12


def table_of(record: Record, name: str) -> Record:
    """Give a table of a record; an empty one where there is none."""
    part: Record = record.get(name) or {}
    return part


def list_of(record: Record, name: str) -> Sequence[Any]:
    """Give a list of a record; an empty one where there is none."""
    part: Sequence[Any] = record.get(name) or ()
    return part


def fibers_of(image: Record) -> Iterator[tuple[str, Record]]:
    """Give the fibres of an image with what came of each."""
    yield from table_of(image, "fibers").items()


def known(orders: Sequence[Record], name: str) -> list[float]:
    """Give the values of a figure for the orders that have one."""
    return [float(order[name]) for order in orders if order.get(name) is not None]


def median(values: Sequence[float]) -> float | None:
    """Give the median; None of nothing."""
    return float(np.median(values)) if values else None


def mjd_of(image: Record) -> float | None:
    """Give the middle of an image's exposures; None where it is not known."""
    own = image.get("mjd_mid")
    if own is not None:
        return float(own)
    times = known(list_of(image, "frames"), "mjd_mid")
    return float(np.mean(times)) if times else None


def time_of(mjd: float | None) -> str:
    """Write a time to the second, UTC; empty where it is not known."""
    return "" if mjd is None else f"{MJD_ZERO + timedelta(days=mjd):%Y-%m-%d %H:%M:%S}"


def base_name(path: object) -> str:
    """Give the last part of a path."""
    return Path(str(path)).name


def short(sha256: object) -> str:
    """Give the first digits of a hash: enough to tell files apart by eye."""
    return str(sha256 or "")[:DIGITS]
