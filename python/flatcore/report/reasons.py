"""Why a pixel has no value, or a doubtful one, in words."""

from __future__ import annotations

from dataclasses import dataclass

from flatcore.spectra import MASKING, Reason


@dataclass(frozen=True)
class Wording:
    """A reason in words."""

    reason: Reason
    words: str

    @property
    def masked(self) -> bool:
        """Whether a pixel that has it has no flat."""
        return bool(self.reason & MASKING)


WORDINGS = (
    Wording(Reason.NO_DATA, "no pixel of the window was kept"),
    Wording(Reason.OFF_DETECTOR, "part of the window lies off the detector"),
    Wording(Reason.BAD_PIXEL, "a pixel of the window has no value"),
    Wording(Reason.REJECTED, "a pixel of the window was rejected as an outlier"),
    Wording(Reason.SATURATED, "a pixel of the window was saturated"),
    Wording(Reason.LOW_BLAZE, "the blaze is under the cut"),
    Wording(Reason.OUTLIER_SIGMA, "the flat is further from 1 than its rms allows"),
    Wording(Reason.OUTLIER_LIMIT, "the flat is further from 1 than the limit"),
    Wording(Reason.PREDICTED, "the shape of the blaze follows from the other orders"),
    Wording(Reason.SPLINE, "the blaze is a smoothing spline"),
    Wording(Reason.NO_BLAZE, "there is no blaze here"),
)
