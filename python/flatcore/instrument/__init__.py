"""Instrument profiles: what a spectrograph is, read from TOML and checked value by value."""

from flatcore.instrument.base import explain
from flatcore.instrument.detector import Amplifier, Detector, Dispersion, Flip, Hdu, Region, Units
from flatcore.instrument.keywords import Keywords, Source
from flatcore.instrument.profile import (
    PACKAGED,
    Profile,
    load_profile,
    profile_for_header,
    profile_from_table,
    profile_from_text,
    profile_with,
)
from flatcore.instrument.sections import Background, Blaze, CheckName, Fiber, Input, Plot, Qc, Traces
from flatcore.instrument.simulated import Simulated

__all__ = [
    "PACKAGED",
    "Amplifier",
    "Background",
    "Blaze",
    "CheckName",
    "Detector",
    "Dispersion",
    "Fiber",
    "Flip",
    "Hdu",
    "Input",
    "Keywords",
    "Plot",
    "Profile",
    "Qc",
    "Region",
    "Simulated",
    "Source",
    "Traces",
    "Units",
    "explain",
    "load_profile",
    "profile_for_header",
    "profile_from_table",
    "profile_from_text",
    "profile_with",
]
