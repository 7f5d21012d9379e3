"""The database of a data root: which calibration serves an observation, and what runs there were.

One database holds both tables. :class:`CalibrationDatabase` speaks of files, :class:`RunLog` of runs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatcore.caldb.choice import CalibrationRecord
    from flatcore.caldb.database import CalibrationDatabase, StoredState
    from flatcore.caldb.runs import RunLog, RunRecord
    from flatcore.caldb.source import CalibrationSnapshot, CalibrationSource

__all__ = [
    "CalibrationDatabase",
    "CalibrationRecord",
    "CalibrationSnapshot",
    "CalibrationSource",
    "RunLog",
    "RunRecord",
    "StoredState",
]

_HOMES = {
    "CalibrationDatabase": "database",
    "CalibrationRecord": "choice",
    "CalibrationSnapshot": "source",
    "CalibrationSource": "source",
    "RunLog": "runs",
    "RunRecord": "runs",
    "StoredState": "database",
}


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for: a list of runs needs no FITS reader."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flatcore.caldb' has no attribute {name!r}")
    return getattr(importlib.import_module(f"flatcore.caldb.{_HOMES[name]}"), name)
