"""Flat field and blaze of fibre-fed échelle spectrographs.

:func:`run_night` does a night's flats end to end. The stages can be used by themselves on plain arrays:
``flatcore.combine``, ``calibrate``, ``straighten``, ``localisation``, ``extract``, ``blaze``, ``flat`` and ``qc``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flatcore.version import VERSION

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase
    from flatcore.errors import FlatcoreError
    from flatcore.instrument import Profile, load_profile
    from flatcore.recipe import run_night
    from flatcore.results import NightResult
    from flatcore.settings import Settings

__version__ = VERSION

__all__ = [
    "CalibrationDatabase",
    "FlatcoreError",
    "NightResult",
    "Profile",
    "Settings",
    "__version__",
    "load_profile",
    "run_night",
]

_HOMES = {
    "CalibrationDatabase": "caldb",
    "FlatcoreError": "errors",
    "NightResult": "results",
    "Profile": "instrument",
    "Settings": "settings",
    "load_profile": "instrument",
    "run_night": "recipe",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when it is first asked for; the package itself imports in no time."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flatcore' has no attribute {name!r}")
    return getattr(importlib.import_module(f"flatcore.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
