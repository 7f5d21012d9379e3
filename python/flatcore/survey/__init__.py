"""An instrument that flatcore has never seen: what its FITS files tell of it, put into a profile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from flatcore.errors import UsageError
from flatcore.survey.answers import Answers, Finding, Survey
from flatcore.survey.steps import take_steps

__all__ = ["Answers", "Finding", "Survey", "survey"]


def survey(
    files: Sequence[Path], darks: Sequence[Path] = (), biases: Sequence[Path] = (), answers: Answers | None = None
) -> Survey:
    """Look into an unknown instrument's files and draft its profile.

    Parameters
    ----------
    files
        Flats, and any darks and biases among them: those without exposure time are biases, those without light darks.
    darks, biases
        Frames known to be such.
    answers
        What is known already.

    Raises
    ------
    InputError
        A file cannot be read, the files disagree in their images, no flat is among them, or there is no exposure time.
    UsageError
        An answer cannot be.
    """
    if not files:
        raise UsageError("no file was given: a flat is needed, two of them to measure gain and read noise")
    with tempfile.TemporaryDirectory(prefix="flatcore-") as scratch:
        return take_steps(files, darks, biases, answers or Answers(), Path(scratch))
