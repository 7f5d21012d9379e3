"""Which traces belong to which fibre."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flatcore.errors import InputError, UsageError
from flatcore.instrument import Profile
from flatcore.locate import Located, Trace

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
