"""When a set that failed is tried again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flatcore.caldb import CalibrationDatabase
from flatcore.watch.request import WatchRequest
from flatcore.watch.runner import RunOutcome

# Wait after the first failure that may pass by itself; every further wait is longer by a factor [s].
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 3600.0

# A run that crashes is tried so often: it may be the memory that others took, and may be the frames.
CRASHES = 3

# Products: a night that is done is no reason to try another again.
NO_INPUTS = ("FLAT", "BLAZE")


def wait_after(outcome: RunOutcome, attempt: int) -> float | None:
    """Give the time until a set is tried again [s]; None: not before its frames or the calibrations change.

    What the system refused, and other runs' locks, are waited for without end, ever longer up to an hour; crashes are
    tried three times. Whatever is wrong with frames, calibrations or options stays wrong.
    """
    if not outcome.passing or (outcome.ending == "crashed" and attempt >= CRASHES):
        return None
    # Bounded: a wait that doubles for a year is no number any more.
    wait: float = min(FIRST_WAIT_S * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT_S)
    return wait


def calibrations_digest(request: WatchRequest) -> str:
    """Hash of the calibrations that the database holds and of their files' sizes and times, products left out.

    Empty where there is no database.

    Raises
    ------
    CalibrationError
        The database cannot be read.
    """
    database = CalibrationDatabase.open(request.data_root, request.database_url)
    if not database.exists:
        return ""
    rows = sorted(
        f"{record.keyname}\0{record.fiber}\0{record.filename}\0{record.sha256}\0{record.used}\0{record.reference}\0"
        f"{_stamp(database.store / record.filename)}"
        for record in database.records()
        if record.keyname not in NO_INPUTS
    )
    return hashlib.blake2b("\n".join(rows).encode(), digest_size=8).hexdigest()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        # Missing, which is a state too: the file may come back.
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}"
