"""What is known of each trace, for people, programs and FITS tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flatcore.hdu import Hdu, table_hdu
from flatcore.locate import Trace

# Columns of the table, and their units.
UNITS = {
    "ROW": "pixel",
    "FIRST": "pixel",
    "LAST": "pixel",
    "RMS": "pixel",
    "ERROR": "pixel",
    "FWHM": "pixel",
    "LOWER": "pixel",
    "UPPER": "pixel",
    "BELOW": "pixel",
    "ABOVE": "pixel",
}


def trace_records(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """Give a record of each trace, in plain types; a number that could not be measured is None.

    The row is that of the polynomial's domain centre.
    """
    return [
        {
            "order": trace.order,
            "strip": trace.fiber,
            "row": trace.middle,
            "first": trace.first,
            "last": trace.last,
            "rms": _finite(trace.rms),
            "error": _finite(trace.error),
            "points": trace.points,
            "fwhm": _finite(trace.fwhm),
            "lower": _finite(trace.lower),
            "upper": _finite(trace.upper),
            "below": _finite(trace.below),
            "above": _finite(trace.above),
            "snr": _finite(trace.peak_snr),
            "left": trace.ends[0],
            "right": trace.ends[1],
        }
        for trace in traces
    ]


def trace_table(traces: Sequence[Trace]) -> Hdu:
    """Make the table TRACES of a LOC file: a row for each trace, in the order of its coefficients."""
    records = trace_records(traces)
    columns = {
        key.upper(): [np.nan if record[key] is None else record[key] for record in records] for key in records[0]
    }
    return table_hdu("TRACES", columns, UNITS)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
