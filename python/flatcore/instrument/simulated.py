"""What ``flatcore simulate`` makes of an instrument, where its profile alone does not tell."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flatcore.instrument.base import Section

Positive = Annotated[float, Field(gt=0)]


class Simulated(Section):
    """A spectrograph to be simulated; None is what is usual for the detector and the windows.

    Attributes
    ----------
    orders
        Number of orders; as many as fit where None.
    spread
        Spacing of the last orders over that of the first.
    separation
        From the middle of a fibre's light to the next one's in the same order [pixels].
    fwhm
        Full width of a fibre's light across the order at half its top [pixels].
    sharpness
        Exponent of its super-Gaussian profile: 2 is a Gaussian, 10 a slit or a slicer with a flat top.
    sag
        Bend of the orders, from the middle of the detector to its edges [pixels].
    tilt
        Angle of the slit against the columns [degrees].
    exptime
        Exposure time [s].
    readnoise
        Of one frame [electrons].
    dark
        Dark current [ADU/s].
    response
        Pixel-to-pixel scatter of the response.
    bias
        Level of raw counts, about: amplifiers differ by some percent [ADU].
    integers
        Write raw frames as unsigned 16-bit integers; where None, raw counts are.
    """

    orders: Annotated[int, Field(ge=1)] | None = None
    spread: Annotated[float, Field(ge=0.2, le=5)] = 1.0
    separation: Positive | None = None
    fwhm: Annotated[float, Field(ge=1.5)] | None = None
    sharpness: Annotated[float, Field(ge=1, le=40)] | None = None
    sag: Annotated[float, Field(ge=0)] | None = None
    tilt: Annotated[float, Field(ge=-15, le=15)] = 0.0
    exptime: Positive = 60.0
    readnoise: Positive = 12.0
    dark: Annotated[float, Field(ge=0)] = 0.008
    response: Annotated[float, Field(ge=0, le=0.2)] = 0.015
    bias: Annotated[float, Field(ge=0)] = 1000.0
    integers: bool | None = None
