"""The errors flatcore raises on purpose, each with the exit status the command line gives it."""

from __future__ import annotations

from typing import ClassVar


class FlatcoreError(Exception):
    """Base of all errors raised on purpose; ``exit_status`` is what the command line returns."""

    exit_status: ClassVar[int] = 1


class UsageError(FlatcoreError):
    """An option, a setting or a profile is wrong."""

    exit_status = 2


class InputError(FlatcoreError):
    """A file or folder cannot be used: missing, broken, or not what is expected."""

    exit_status = 3


class BusyError(InputError):
    """Another run holds what this one needs; later it may not."""


class CalibrationError(FlatcoreError):
    """A calibration is missing, too old or of the wrong kind."""

    exit_status = 3


class OutputError(FlatcoreError):
    """A product or the database could not be written; nothing half-written is left."""

    exit_status = 3


class QualityError(FlatcoreError):
    """Quality control failed where it must not."""

    exit_status = 4
