"""Flats against what the simulation put in: ``python -m benchmarks.truth``.

Nights come in pairs, one with photon and read noise and its twin without. ``nights`` simulates a pair and takes it
through the stages, ``figures`` measures noise, errors and bias of every order, ``table`` sums them up.
"""
