"""Flats and blazes that passed quality control, to the calibration database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flatcore.caldb.keys import unix_of_mjd
from flatcore.results import NightResult

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase

# Calibrations of one night have the same time, but for the rounding of MJD.
SAME_TIME_S = 1.0

KINDS = ("FF_FLAT", "FF_BLAZE")


@dataclass(frozen=True)
class Candidate:
    """A product that may become a calibration, and the mean time of its frames [MJD]."""

    path: Path
    mjd_mid: float


def candidates(result: NightResult, reference: bool) -> tuple[Candidate, ...]:
    """Give the flats and blazes of the fibres that passed.

    Parameters
    ----------
    reference
        They come together or not at all.
    """
    if reference and not result.passed:
        return ()
    return tuple(
        Candidate(product.path, float(image.header["MJDMID"]))
        for image in result.images
        for product in image.products
        if product.kind in KINDS and image.fibers[product.fiber].qc.passed
    )


def register(
    made: Sequence[Candidate], database: CalibrationDatabase, pid: str, *, reference: bool = False
) -> list[str]:
    """Add flats and blazes to the database; one of another night that has the same name stays.

    Returns
    -------
    list of str
        What a user should know: which of them were not added, and why.

    Raises
    ------
    OutputError
        The database cannot be written; none is added.
    """
    new, notices = unclaimed(made, database)
    if new:
        database.add_files([one.path for one in new], pid=pid, reference=reference, replace=True)
    return notices


def unclaimed(made: Sequence[Candidate], database: CalibrationDatabase) -> tuple[list[Candidate], list[str]]:
    """Leave out those whose name another night's calibration has, and tell of them."""
    if not made:
        return [], []
    times = {unix_of_mjd(one.mjd_mid) for one in made}
    others = {
        record.filename
        for key in ("FLAT", "BLAZE")
        for record in (database.records(key) if database.exists else ())
        if not any(abs(record.unixtime - time) < SAME_TIME_S for time in times)
    }
    taken = [one.path.name for one in made if one.path.name in others]
    words = "not registered, since another night's calibrations have these names"
    notices = [f"{words}: {', '.join(taken)}"] if taken else []
    return [one for one in made if one.path.name not in others], notices
