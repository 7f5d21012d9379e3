"""Nights with known truth: frames, calibrations and what went into them, for trials, tests and benchmarks."""

from flatcore.simulate.night import simulate_night
from flatcore.simulate.options import Lamp, SimulatedNight, SimulationOptions

__all__ = ["Lamp", "SimulatedNight", "SimulationOptions", "simulate_night"]
