"""The calibration database: what files there are, and which one serves an observation."""

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.database import CalibrationDatabase, StoredState

__all__ = ["CalibrationDatabase", "CalibrationRecord", "StoredState"]
