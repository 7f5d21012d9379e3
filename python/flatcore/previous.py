"""The latest earlier night's flat and blaze of a fibre, and how tonight's differ from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.caldb.keys import DAY_S, unix_of_mjd
from flatcore.errors import CalibrationError, InputError
from flatcore.fitsio import read_doubles, read_header
from flatcore.results import FiberChange
from flatcore.spectra import FiberFlat, Spectra

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationRecord, CalibrationSource

# Flats closer in time than this are of the same night [days].
SAME_NIGHT = 0.5
# Structure wider than this is the blaze's, not the pixels' [pixels].
SLOW_WIDTH = 101


@dataclass(frozen=True)
class Previous:
    """An earlier night's flat and blaze, orders by columns; the flat's name and age, and the blaze's unit."""

    name: str
    age_days: float
    flat: Spectra
    blaze: Spectra
    unit: str = "electron"


class Earlier(Protocol):
    """Where the earlier night's flat and blaze of a fibre come from."""

    def latest(self, fiber: str) -> tuple[Previous | None, str]:
        """Give them, or why there are none although there should be."""
        ...


@dataclass(frozen=True)
class EarlierNights:
    """Records of earlier nights' flats and blazes, read once for all fibres.

    Attributes
    ----------
    database
        Where their files are.
    mjd_mid
        Tonight's time.
    flats, blazes
        In use, older than half a day and not too old; by time.
    problem
        Why they could not be read; empty where they could.
    """

    database: CalibrationSource
    mjd_mid: float
    flats: tuple[CalibrationRecord, ...]
    blazes: tuple[CalibrationRecord, ...]
    problem: str = ""

    @classmethod
    def of(cls, database: CalibrationSource, mjd_mid: float, max_age_days: float) -> EarlierNights:
        """Read them.

        Parameters
        ----------
        database
            Where they are recorded.
        mjd_mid
            Tonight's time.
        max_age_days
            How far back to look.
        """
        if not database.exists:
            return cls(database, mjd_mid, (), ())
        try:
            flats, blazes = (_earlier(database.records(key), mjd_mid, max_age_days) for key in ("FLAT", "BLAZE"))
        except CalibrationError as error:
            return cls(database, mjd_mid, (), (), str(error))
        return cls(database, mjd_mid, flats, blazes)

    def latest(self, fiber: str) -> tuple[Previous | None, str]:
        """Read the latest flat and blaze of a fibre; none where there are none.

        Returns
        -------
        previous, notice
            The notice says why there is none although there should be; it is empty otherwise.
        """
        flats, blazes = ([r for r in records if r.fiber == fiber] for records in (self.flats, self.blazes))
        problem = self.problem
        if flats and blazes:
            flat, blaze = flats[-1], min(blazes, key=lambda record: abs(record.unixtime - flats[-1].unixtime))
            age = (unix_of_mjd(self.mjd_mid) - flat.unixtime) / DAY_S
            try:
                paths = [self.database.path_of(record) for record in (flat, blaze)]
                unit = str(read_header(paths[1]).get("BUNIT", "electron"))
                return Previous(flat.filename, age, read_doubles(paths[0]), read_doubles(paths[1]), unit), ""
            except (CalibrationError, InputError) as error:
                problem = str(error)
        return None, f"fibre {fiber}: the previous night's flat cannot be compared: {problem}" if problem else ""


def _earlier(
    records: Sequence[CalibrationRecord], mjd_mid: float, max_age_days: float
) -> tuple[CalibrationRecord, ...]:
    """Give the records in use of earlier nights, by time."""
    ages = [(unix_of_mjd(mjd_mid) - record.unixtime) / DAY_S for record in records]
    used = [r for r, age in zip(records, ages, strict=True) if r.used and SAME_NIGHT < age <= max_age_days]
    return tuple(sorted(used, key=lambda record: (record.unixtime, record.filename)))


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
    if previous.unit != "electron":
        levels = np.full_like(levels, np.nan)
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
