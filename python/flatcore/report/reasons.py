"""Why a pixel has no value, or a doubtful one, in words."""

from __future__ import annotations

from dataclasses import dataclass

from flatcore.spectra import Reason


@dataclass(frozen=True)
class Wording:
    """A reason in words; ``masked`` where a pixel that has it has no flat."""

    reason: Reason
    words: str
    masked: bool


WORDINGS = (
    Wording(Reason.NO_DATA, "no pixel of the window was kept", True),
    Wording(Reason.OFF_DETECTOR, "part of the window lies off the detector", False),
    Wording(Reason.BAD_PIXEL, "a pixel of the window has no value", False),
    Wording(Reason.REJECTED, "a pixel of the window was rejected as an outlier", False),
    Wording(Reason.SATURATED, "a pixel of the window was saturated", False),
    Wording(Reason.LOW_BLAZE, "the blaze is under the cut", True),
    Wording(Reason.OUTLIER_SIGMA, "the flat is further from 1 than its rms allows", True),
    Wording(Reason.OUTLIER_LIMIT, "the flat is further from 1 than the limit", True),
    Wording(Reason.PREDICTED, "the blaze is predicted from the other orders", False),
    Wording(Reason.SPLINE, "the blaze is a smoothing spline", False),
    Wording(Reason.NO_BLAZE, "there is no blaze here", True),
)
