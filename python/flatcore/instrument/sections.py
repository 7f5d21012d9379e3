"""Tables of a profile: frames, fibres, background, blaze, quality control, figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flatcore.instrument.base import Section

Traces = Literal["all", "even", "odd", "pair-mean"]


class Input(Section):
    """How many frames make a night's flat."""

    min_frames: Annotated[int, Field(ge=1)] = 3
    max_frames: Annotated[int, Field(ge=1)] | None = None


class Fiber(Section):
    """One extracted fibre.

    Attributes
    ----------
    channel
        Which half of DPRTYPE lights it: 0 the first, 1 the second.
    localisation
        The fibre whose LOC and ORDER_PROFILE files serve.
    traces
        Which rows of LOC are its orders: all, even, odd, or the mean of each pair.
    below, above
        Extraction half-widths [pixels].
    """

    channel: Literal[0, 1]
    localisation: Annotated[str, Field(min_length=1)]
    traces: Traces = "all"
    below: Annotated[float, Field(ge=0)]
    above: Annotated[float, Field(ge=0)]


class Background(Section):
    """Scattered light and global background; lengths in pixels."""

    box: Annotated[int, Field(ge=2)] = 128
    scattered_amplitude: Annotated[float, Field(ge=0)] = 0.0
    kernel_x: Annotated[float, Field(ge=1)] = 1.0
    kernel_y: Annotated[float, Field(ge=1)] = 9.0
    kernel_sigma: Annotated[float, Field(gt=0)] = 3.0


class Blaze(Section):
    """What a blaze of this instrument is like.

    Attributes
    ----------
    median_width
        Median filter before the fit [pixels].
    cut
        Share of the amplitude under which the blaze is NaN.
    max_misfit
        Share of the amplitude by which a fitted blaze may miss its order, in boxes of a sixteenth of it.
    max_far
        Share of the fitted columns that may lie far off a plain fit.
    max_departure
        Share of the amplitude by which a blaze may stand out from the shape of its neighbours; at least five times
        what is typical of the fibre.
    """

    median_width: Annotated[int, Field(ge=1)] = 25
    cut: Annotated[float, Field(ge=0, lt=1)] = 0.1
    max_misfit: Annotated[float, Field(gt=0)] = 0.03
    max_far: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_departure: Annotated[float, Field(gt=0)] = 0.08


CheckName = Literal[
    "max_rms", "published_rms", "blaze_rung", "usable", "snr_ratio", "flat_change", "blaze_change", "frames"
]


class Qc(Section):
    """Limits of the quality checks.

    Attributes
    ----------
    max_rms
        Largest rms of the flat over the fitted columns, of any order asked.
    skip_orders
        Orders that are not asked.
    decisive
        The checks with which a fibre fails; the others are recorded, and told as warnings.
    max_published_rms
        Largest rms of the flat as it is published, over all columns with a value; ``max_rms`` where None.
    min_usable
        Least share of an order's columns that have a flat.
    min_snr_ratio
        Least ratio of the measured signal to noise to that of the photons alone.
    max_flat_change
        Largest scatter of the ratio of the flat to the previous night's.
    max_blaze_change
        Largest change of a blaze's shape since the previous night.
    max_frame_change
        Largest departure of a frame's level, or of the light in a part of it, from the combined image; and largest
        drift of the lamp.
    """

    max_rms: Annotated[float, Field(gt=0)] = 0.05
    skip_orders: tuple[Annotated[int, Field(ge=0)], ...] = ()
    decisive: tuple[CheckName, ...] = ("max_rms",)
    max_published_rms: Annotated[float, Field(gt=0)] | None = None
    min_usable: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_snr_ratio: Annotated[float, Field(ge=0)] = 0.1
    max_flat_change: Annotated[float, Field(gt=0)] = 0.02
    max_blaze_change: Annotated[float, Field(gt=0)] = 0.02
    max_frame_change: Annotated[float, Field(gt=0)] = 0.05


class Plot(Section):
    """The order shown in single-order figures."""

    order: Annotated[int, Field(ge=0)] = 0
