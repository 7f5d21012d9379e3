"""Which traces belong to which fibre."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flatcore.errors import InputError, UsageError
from flatcore.images import Image
from flatcore.instrument import Profile
from flatcore.locate import Located, Trace

# Columns at which traces are compared, rows to both sides that are summed there, and columns that are enough.
SAMPLES, REACH, LEAST_SAMPLES = 96, 2, 24
# Ratio of the scatters from which they tell the pair.
LEAST_CONTRAST = 1.5
PAIRED = ("even", "odd", "pair-mean")


@dataclass(frozen=True)
class Localisation:
    """Fibres that share LOC and ORDER_PROFILE files.

    Attributes
    ----------
    name
        As in the profile.
    channel
        Which half of DPRTYPE lights it.
    members
        Traces per order: 2 for a pair.
    below, above
        Widest extraction window of its fibres, about a single trace [pixels].
    """

    name: str
    channel: int
    members: int
    below: float
    above: float


@dataclass(frozen=True)
class Illumination:
    """A lamp, and the localisations whose traces are taken from its flats, from low rows up."""

    dprtype: str
    localisations: tuple[Localisation, ...]

    @property
    def members(self) -> int:
        """Traces per order."""
        return sum(one.members for one in self.localisations)


def localisations(profile: Profile, order: Sequence[str] = ()) -> tuple[Localisation, ...]:
    """Localisations of a profile, from low rows up.

    Parameters
    ----------
    order
        Their names from low rows up; that of the profile by default.

    Raises
    ------
    UsageError
        The order does not name each of them once, or fibres of one localisation do not agree.
    """
    names = list(dict.fromkeys(fiber.localisation for fiber in profile.fibers.values()))
    if order and sorted(order) != sorted(names):
        raise UsageError(f"--fiber-order {','.join(order)}: expected each of {', '.join(names)} once")
    found = []
    for name in order or names:
        fibers = [fiber for fiber in profile.fibers.values() if fiber.localisation == name]
        if len({fiber.channel for fiber in fibers}) > 1 or len({fiber.traces in PAIRED for fiber in fibers}) > 1:
            raise UsageError(
                f"{profile.name}: the fibres localised as {name} must agree in channel, and in whether they are pairs"
            )
        found.append(
            Localisation(
                name,
                fibers[0].channel,
                2 if fibers[0].traces in PAIRED else 1,
                max(fiber.below for fiber in fibers),
                max(fiber.above for fiber in fibers),
            )
        )
    return tuple(found)


def illuminations(
    every: Sequence[Localisation], lamps: Collection[str]
) -> tuple[tuple[Illumination, ...], tuple[Localisation, ...]]:
    """Choose the flats for each localisation: those of a lamp that lights its channel alone, if there are such.

    Returns
    -------
    lit
        One per lamp that is used.
    dark
        Localisations that no lamp lights.
    """
    by_lamp: dict[str, list[Localisation]] = {}
    dark = []
    for one in every:
        alone = ("FLAT_DARK", "DARK_FLAT")[one.channel]
        lamp = next((kind for kind in (alone, "FLAT_FLAT") if kind in lamps), None)
        if lamp is None:
            dark.append(one)
        else:
            by_lamp.setdefault(lamp, []).append(one)
    return tuple(Illumination(lamp, tuple(own)) for lamp, own in by_lamp.items()), tuple(dark)


def pair_is_lower(located: Located, image: Image) -> bool | None:
    """Tell which two of three traces per order are the pair: its halves have the same blaze, and the third another.

    The measure is the scatter along the order of the ratio of neighbouring traces, median over the orders.

    Parameters
    ----------
    located
        Three traces per order.
    image
        Flat without background, rows by columns.

    Returns
    -------
    bool or None
        Whether the pair is the lower two; None where the ratios do not tell.
    """
    rows = located.rows()
    columns = np.linspace(0, image.shape[1] - 1, SAMPLES).astype(int)
    lit: dict[tuple[int, int], NDArray[np.float64]] = {}
    for trace, row in zip(located.traces, rows, strict=True):
        near = np.rint(row[columns]).astype(int)[:, None] + np.arange(-REACH, REACH + 1)
        light = image[np.clip(near, 0, image.shape[0] - 1), columns[:, None]]
        seen = (columns >= trace.first) & (columns <= trace.last) & np.isfinite(light).all(axis=1)
        flux = np.where(seen, light.sum(axis=1), np.nan)
        bright = flux > 0.3 * np.nanmax(flux) if seen.any() else seen
        lit[trace.order, trace.fiber] = np.log(np.where(bright, flux, np.nan))
    scatter = []
    for fiber in (0, 1):
        ratios = [lit[o, f] - lit[o, f + 1] for o, f in lit if f == fiber and (o, f + 1) in lit]
        spreads = [np.nanstd(ratio) for ratio in ratios if np.isfinite(ratio).sum() >= LEAST_SAMPLES]
        if not spreads:
            return None
        scatter.append(float(np.median(spreads)))
    lower, upper = scatter
    return None if max(lower, upper) < LEAST_CONTRAST * min(lower, upper) else lower < upper


def share_out(located: Located, lamp: Illumination) -> dict[str, list[Trace]]:
    """Give each localisation its traces, from low rows up; of a pair both or none.

    Raises
    ------
    InputError
        Traces per order are not what the profile says.
    """
    if located.fibers != lamp.members:
        raise InputError(
            f"{lamp.dprtype} flats show {located.fibers} traces per order, expected {lamp.members}: "
            + ", ".join(f"{one.members} of {one.name}" for one in lamp.localisations)
        )
    found: dict[str, list[Trace]] = {}
    first = 0
    for one in lamp.localisations:
        own = [trace for trace in located.traces if first <= trace.fiber < first + one.members]
        if one.members > 1:
            whole = {t.order for t in own if sum(other.order == t.order for other in own) == one.members}
            own = [trace for trace in own if trace.order in whole]
        found[one.name] = own
        first += one.members
    return found
