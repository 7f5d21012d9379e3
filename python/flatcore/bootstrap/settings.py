"""Choices of a bootstrap; frozen, section by section."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flatcore.errors import UsageError
from flatcore.instrument import explain
from flatcore.settings import parse_assignment

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BadPixelSettings(_Section):
    """When a pixel is bad.

    Attributes
    ----------
    half
        Columns to both sides whose median is what a pixel should see [pixels].
    dead
        Share of that under which a pixel is dead; above 2 less this share it is too bright.
    sigmas
        Dead, too bright or non-linear pixels depart by so many standard deviations of photon and read noise, too.
    hot_sigmas
        Dark current above the median by so many robust standard deviations of the dark is hot, if it gives a flat more
        electrons than its read noise.
    nonlinear
        Share of its rate by which a pixel departs from its neighbours between frames of different levels.
    level_step
        Ratio from which the levels of frames count as different.
    unstable_sigmas
        Scatter between like frames over that of photon and read noise, from which a pixel is unstable.
    unstable
        Share of its light that the scatter exceeds, too.
    """

    half: Count = 5
    dead: Share = 0.5
    sigmas: Positive = 8.0
    hot_sigmas: Positive = 10.0
    nonlinear: Share = 0.05
    level_step: Annotated[float, Field(gt=1)] = 1.2
    unstable_sigmas: Positive = 6.0
    unstable: Share = 0.1


class UnlitSettings(_Section):
    """How unlit pixels are found; the width of a ribbon is the profile's ``background.box``.

    Attributes
    ----------
    percent
        Percentile of the cross-order profile below which a pixel is dark.
    window
        Columns of a pixel's neighbourhood; odd [pixels].
    least
        Dark pixels in it from which a pixel is unlit.
    follow
        Follow the curve of the orders within a ribbon, where they climb in it; False is the method as published.
    """

    percent: Annotated[float, Field(ge=0, le=100)] = 5.0
    window: Count = 7
    least: Count = 3
    follow: bool = True


class OrderProfileSettings(_Section):
    """``half``: columns to both sides whose median is the profile; ``reach``: rows beyond the window that have one."""

    half: Count = 5
    reach: Annotated[float, Field(ge=0)] = 4.0


class ShapeSettings(_Section):
    """How traces become a map.

    Attributes
    ----------
    degree_x, degree_y
        Degrees of the smooth surface along and across the dispersion.
    outlier
        An order whose trace lies further than so many robust standard deviations, and than a pixel, from the surface
        does not count.
    """

    degree_x: Count = 5
    degree_y: Annotated[int, Field(ge=0)] = 4
    outlier: Positive = 8.0


class TiltSettings(_Section):
    """How the tilt of lines is measured on a comb or arc frame.

    Attributes
    ----------
    zones
        Pieces of an order, along the dispersion, each of which has a tilt of its own.
    max_error
        Error of a zone's tilt from which it says nothing [columns per row].
    degree_x, degree_y
        Degrees of the tilt along and across the dispersion.
    least_zones
        Good zones under which no tilt is told.
    """

    zones: Annotated[int, Field(ge=1)] = 16
    max_error: Positive = 0.02
    degree_x: Annotated[int, Field(ge=0)] = 3
    degree_y: Annotated[int, Field(ge=0)] = 2
    least_zones: Count = 24


class BootstrapSettings(_Section):
    """All choices of a bootstrap."""

    badpix: BadPixelSettings = BadPixelSettings()
    unlit: UnlitSettings = UnlitSettings()
    orderprofile: OrderProfileSettings = OrderProfileSettings()
    shape: ShapeSettings = ShapeSettings()
    tilt: TiltSettings = TiltSettings()


def bootstrap_settings(assignments: Iterable[str] = ()) -> tuple[BootstrapSettings, list[str]]:
    """Lay single assignments over the defaults.

    Parameters
    ----------
    assignments
        ``section.key=value`` texts.

    Returns
    -------
    settings
        As the bootstrap uses them.
    others
        Assignments of sections that are not the bootstrap's: the run's or the profile's.

    Raises
    ------
    UsageError
        An unknown key, or a value out of range; the message names it.
    """
    tables: dict[str, dict[str, Any]] = {}
    others = []
    for text in assignments:
        for section, table in parse_assignment(text).items():
            if section in BootstrapSettings.model_fields:
                tables.setdefault(section, {}).update(table)
            else:
                others.append(text)
    try:
        return BootstrapSettings.model_validate(tables), others
    except ValidationError as error:
        raise UsageError(f"settings: {explain(error)}") from error
