"""Independent random streams, one per purpose, so that no part of a night disturbs another."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream of random numbers is for; the values are part of what a seed means and never change."""

    GEOMETRY = 0
    BLAZE = 1
    PIXEL_RESPONSE = 2
    BAD_PIXELS = 3
    DARK = 4
    CALIBRATION_NOISE = 5
    COSMICS = 6
    FRAME_NOISE = 7
    DARK_NOISE = 8
    OVERSCAN_NOISE = 9


def generator(seed: int, stream: Stream, number: int = 0) -> np.random.Generator:
    """Give the generator of one purpose.

    Parameters
    ----------
    seed
        The night's seed.
    stream
        The purpose.
    number
        Which of several draws of the same purpose, for example the frame.

    Returns
    -------
    numpy.random.Generator
        The child ``(stream, number)`` that ``SeedSequence(seed)`` spawns, reached without spawning those before it.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(stream), number)))
