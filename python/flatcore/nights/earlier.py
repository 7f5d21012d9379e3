"""Flats of earlier nights of the same batch, handed on before they are in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore.caldb.keys import DAY_S, unix_of_mjd
from flatcore.measured import Measurement
from flatcore.previous import SAME_NIGHT, EarlierNights, Previous
from flatcore.products import flat_name
from flatcore.products.context import unit_of
from flatcore.qc import check_fiber
from flatcore.stability import drift


@dataclass(frozen=True)
class HandedFlat:
    """A fibre's flat and blaze as their products will have them.

    Attributes
    ----------
    fiber, name
        The fibre, and the flat's file name.
    unixtime
        Its time [s].
    flat, blaze, unit
        Orders by columns, and the blaze's unit.
    """

    fiber: str
    name: str
    unixtime: float
    flat: NDArray[np.float64]
    blaze: NDArray[np.float64]
    unit: str


@dataclass(frozen=True)
class Verdict:
    """Whether a fibre of an image passes quality control, as far as its own night tells."""

    fiber: str
    passed: bool


def verdicts_of(measurement: Measurement) -> tuple[Verdict, ...]:
    """Judge every fibre without a look at other nights; a reference passes whole or not at all."""
    limits = measurement.night.profile.qc
    verdicts = [
        Verdict(
            fiber.spectra.fiber,
            check_fiber(
                fiber.flat, limits, fiber.diagnostics, change=None, frames=image.frames, drift=drift(image.frames)
            ).passed,
        )
        for image in measurement.images
        for fiber in image.fibers
    ]
    if measurement.night.settings.output.reference and not all(verdict.passed for verdict in verdicts):
        return tuple(Verdict(verdict.fiber, False) for verdict in verdicts)
    return tuple(verdicts)


def flats_of(measurement: Measurement) -> tuple[HandedFlat, ...]:
    """Give the flats and blazes of all fibres as they will be written."""
    handed = []
    for image in measurement.images:
        divisor, unit = unit_of(image.combined, measurement.context)
        time = unix_of_mjd(float(image.combined.header["MJDMID"]))
        for fiber in image.fibers:
            name = flat_name(image.combined.stem, fiber.spectra.fiber)
            handed.append(
                HandedFlat(fiber.spectra.fiber, name, time, fiber.flat.flat, fiber.flat.blaze / divisor, unit)
            )
    return tuple(handed)


@dataclass(frozen=True)
class EarlierInBatch:
    """The latest earlier flat of a fibre, be it in the database or handed on.

    Attributes
    ----------
    nights
        What the database has.
    handed
        Flats of nights of the batch that are not in it yet, and are to be.
    max_age_days
        How far back to look.
    """

    nights: EarlierNights
    handed: Sequence[HandedFlat]
    max_age_days: float

    def latest(self, fiber: str) -> tuple[Previous | None, str]:
        """Give it, or why there is none although there should be."""
        now = unix_of_mjd(self.nights.mjd_mid)
        mine = [
            one
            for one in self.handed
            if one.fiber == fiber and SAME_NIGHT < (now - one.unixtime) / DAY_S <= self.max_age_days
        ]
        if not mine:
            return self.nights.latest(fiber)
        latest = max(mine, key=lambda one: (one.unixtime, one.name))
        names = {one.name for one in mine}
        recorded = [r for r in self.nights.flats if r.fiber == fiber and r.filename not in names]
        if recorded and (recorded[-1].unixtime, recorded[-1].filename) > (latest.unixtime, latest.name):
            return self.nights.latest(fiber)
        age_days = (now - latest.unixtime) / DAY_S
        return Previous(latest.name, age_days, latest.flat, latest.blaze, latest.unit), ""
