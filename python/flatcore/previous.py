"""The latest earlier night's flat and blaze of a fibre, and how tonight's differ from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.caldb.keys import DAY_S, unix_of_mjd
from flatcore.errors import FlatcoreError
from flatcore.fitsio import read_doubles
from flatcore.results import FiberChange
from flatcore.spectra import FiberFlat, Spectra

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord

# Flats closer in time than this are of the same night [days].
SAME_NIGHT = 0.5
# Structure wider than this is the blaze's, not the pixels' [pixels].
SLOW_WIDTH = 101


@dataclass(frozen=True)
class Previous:
    """Flat and blaze of an earlier night, orders by columns, with the name of the flat's file and its age [days]."""

    name: str
    age_days: float
    flat: Spectra
    blaze: Spectra


def find_previous(
    database: CalibrationDatabase, fiber: str, mjd_mid: float, max_age_days: float
) -> tuple[Previous | None, str]:
    """Read the latest earlier night's flat and blaze; none where there are none.

    Parameters
    ----------
    database
        Where they are recorded.
    fiber
        The fibre.
    mjd_mid
        Tonight's time.
    max_age_days
        How far back to look.

    Returns
    -------
    previous, notice
        The notice says why there is none although there should be; it is empty otherwise.
    """
    try:
        flats, blazes = (_earlier(database.records(key, fiber), mjd_mid, max_age_days) for key in ("FLAT", "BLAZE"))
        if not flats or not blazes:
            return None, ""
        flat, blaze = flats[-1], min(blazes, key=lambda record: abs(record.unixtime - flats[-1].unixtime))
        age = (unix_of_mjd(mjd_mid) - flat.unixtime) / DAY_S
        arrays = [read_doubles(database.path_of(record)) for record in (flat, blaze)]
    except FlatcoreError as error:
        return None, f"fibre {fiber}: the previous night's flat cannot be compared: {error}"
    return Previous(flat.filename, age, *arrays), ""


def _earlier(records: Sequence[CalibrationRecord], mjd_mid: float, max_age_days: float) -> list[CalibrationRecord]:
    """Give the records in use of earlier nights, by time."""
    ages = [(unix_of_mjd(mjd_mid) - record.unixtime) / DAY_S for record in records]
    used = [r for r, age in zip(records, ages, strict=True) if r.used and SAME_NIGHT < age <= max_age_days]
    return sorted(used, key=lambda record: (record.unixtime, record.filename))


def changes(flat: FiberFlat, previous: Previous) -> FiberChange | None:
    """Measure how flat and blaze changed, per order; None where the earlier ones have another shape.

    Parameters
    ----------
    flat
        Tonight's.
    previous
        The earlier night's.
    """
    if previous.flat.shape != flat.flat.shape or previous.blaze.shape != flat.blaze.shape:
        return None
    rows = [_change(*arrays) for arrays in zip(flat.flat, previous.flat, flat.blaze, previous.blaze, strict=True)]
    flats, blazes, levels = np.array(rows, dtype=float).reshape(len(rows), 3).T
    return FiberChange(previous.name, previous.age_days, flats, blazes, levels)


def _change(
    flat: NDArray[np.float64],
    earlier_flat: NDArray[np.float64],
    blaze: NDArray[np.float64],
    earlier_blaze: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Scatter of the flats' ratio, greatest change of the blaze's shape, and change of its level."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, blaze_ratio = flat / earlier_flat, blaze / earlier_blaze
    slow = _core.running_nan_median(np.ascontiguousarray(ratio), SLOW_WIDTH)
    with np.errstate(invalid="ignore", divide="ignore"):
        fast = ratio / slow - 1.0
    fast, shape = fast[np.isfinite(fast)], blaze_ratio[np.isfinite(blaze_ratio)]
    if not fast.size or not shape.size:
        return np.nan, np.nan, np.nan
    level = float(np.median(shape))
    return float(_core.robust_sigma(fast)), float(np.percentile(np.abs(shape / level - 1.0), 95)), level
