"""A candidate that was chosen, and what is handed on of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flatcore.blaze.rungs import Candidate
from flatcore.instrument import Blaze
from flatcore.spectra import BlazeFit, Rung


@dataclass(frozen=True)
class Trial:
    """A candidate, and what went before it."""

    candidate: Candidate
    reasons: tuple[str, ...]
    evaluations: int


def fit_of(trial: Trial, blaze: Blaze, departure: float | None) -> BlazeFit:
    """Hand the chosen candidate on, with NaN under the cut."""
    candidate, order = trial.candidate, trial.candidate.order
    values, error = candidate.blaze.copy(), candidate.error.copy()
    with np.errstate(invalid="ignore"):
        low = candidate.plain < blaze.cut * candidate.amplitude
    values[low] = np.nan
    error[low] = np.nan
    none = candidate.rung is Rung.NONE
    return BlazeFit(
        rung=candidate.rung,
        loss=candidate.loss,
        parameters=candidate.parameters,
        errors=candidate.errors,
        blaze=values,
        blaze_error=error,
        filtered=order.filtered,
        fitted=order.fitted,
        low=low,
        misfit=np.nan if none else candidate.misfit,
        departure=np.nan if departure is None or candidate.rung is Rung.SPLINE or none else departure,
        reasons=trial.reasons,
        evaluations=trial.evaluations,
    )
