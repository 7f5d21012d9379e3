"""Flats and blazes that passed quality control, to the calibration database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from flatcore.caldb.keys import unix_of_mjd
from flatcore.results import NightResult

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase, CalibrationRecord

# Calibrations of one night have the same time, but for the rounding of MJD.
SAME_TIME_S = 1.0

# The products that become calibrations, and their keys.
KEYS = {"FF_FLAT": "FLAT", "FF_BLAZE": "BLAZE"}


@dataclass(frozen=True)
class Candidate:
    """A product that may become a calibration.

    Attributes
    ----------
    path
        The product: a path, or a URL where it is in a storage.
    keyname, fiber
        What it would be.
    mjd_mid
        Mean time of its frames.
    sha256
        Of its bytes.
    """

    path: str
    keyname: str
    fiber: str
    mjd_mid: float
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(self.path).name


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
        Candidate(str(made.path), KEYS[made.kind], made.fiber, float(image.header["MJDMID"]), made.sha256)
        for image in result.images
        for made in image.products
        if made.kind in KEYS and image.fibers[made.fiber].qc.passed
    )


@dataclass(frozen=True)
class Registered:
    """What was added, and what a user should know: which products were not, and why."""

    records: tuple[CalibrationRecord, ...] = ()
    notices: tuple[str, ...] = ()


def register(
    made: Sequence[Candidate], database: CalibrationDatabase, pid: str, *, reference: bool = False
) -> Registered:
    """Add flats and blazes to the database; one of another night that has the same name stays.

    Raises
    ------
    OutputError
        The database cannot be written; none is added.
    """
    new, notices = unclaimed(made, database)
    paths = [one.path for one in new]
    records = database.add_files(paths, pid=pid, reference=reference, replace=True) if new else []
    return Registered(tuple(records), tuple(notices))


def unclaimed(made: Sequence[Candidate], database: CalibrationDatabase) -> tuple[list[Candidate], list[str]]:
    """Leave out those whose name another night's calibration has, and tell of them."""
    if not made:
        return [], []
    times = {unix_of_mjd(one.mjd_mid) for one in made}
    others = {
        record.filename
        for record in (database.table.of_files({one.name for one in made}) if database.exists else ())
        if record.keyname in KEYS.values() and not any(abs(record.unixtime - time) < SAME_TIME_S for time in times)
    }
    taken = [one.name for one in made if one.name in others]
    words = "not registered, since another night's calibrations have these names"
    notices = [f"{words}: {', '.join(taken)}"] if taken else []
    return [one for one in made if one.name not in others], notices
