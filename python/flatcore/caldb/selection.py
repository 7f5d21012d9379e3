"""Which file every key and fibre resolves to for an observation, and why the others do not serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flatcore.caldb.choice import CalibrationRecord, Mode, allowed, pick
from flatcore.caldb.keys import DAY_S, KEYS

Verdict = Literal["chosen", "further", "too old", "too new", "wrong side", "not used", "other fibre"]


@dataclass(frozen=True)
class Candidate:
    """A record, as the choice for one key and fibre sees it.

    Attributes
    ----------
    record
        The record.
    days
        From the observation to it [days]; negative where it is older.
    verdict
        chosen, or why not: further than the chosen one; too old or too new for the limit and not a reference; on the
        wrong side of the observation for the mode; not used any more; of an other fibre.
    reason
        The same in words.
    """

    record: CalibrationRecord
    days: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Selection:
    """What one key and fibre resolves to.

    Attributes
    ----------
    keyname, fiber
        The question.
    chosen
        The answer; none where no record serves.
    candidates
        Every record of the key: the chosen one, then the others from the closest to the furthest, then those that
        are out of use, then those of other fibres.
    """

    keyname: str
    fiber: str
    chosen: CalibrationRecord | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Question:
    """For what a calibration is looked for, and how.

    Attributes
    ----------
    unixtime
        The observation's time [s since 1970-01-01 UTC].
    mode
        closest, older or newer.
    max_age_days
        Largest distance in time of a record that is not a reference [days].
    """

    unixtime: float
    mode: Mode = "closest"
    max_age_days: float = 7.0


def explain(records: Sequence[CalibrationRecord], question: Question) -> list[Selection]:
    """Resolve every key and fibre for an observation, by the rule of :func:`flatcore.caldb.choice.pick`.

    Parameters
    ----------
    records
        All of the database.
    question
        The observation's time, and how to choose.

    Returns
    -------
    list of Selection
        For every known key, and other keys that the database has, each fibre there is; a key without records once.
    """
    selections = []
    for key in dict.fromkeys([*KEYS, *sorted({record.keyname for record in records})]):
        of_key = [record for record in records if record.keyname == key]
        fibers = sorted({record.fiber for record in of_key}) or [""]
        selections += [_resolve(key, fiber, of_key, question) for fiber in fibers]
    return selections


def _resolve(key: str, fiber: str, of_key: Sequence[CalibrationRecord], question: Question) -> Selection:
    mine = [record for record in of_key if record.fiber == fiber]
    usable = [record for record in mine if record.used]
    chosen = pick(usable, question.unixtime, question.mode, question.max_age_days)
    ranked = sorted(allowed(usable, question.unixtime, "closest"), key=lambda record: record is not chosen)
    retired = allowed([record for record in mine if not record.used], question.unixtime, "closest")
    others = allowed([record for record in of_key if record.fiber != fiber], question.unixtime, "closest")
    candidates = [_competitor(record, chosen, question) for record in ranked]
    candidates += [_candidate(record, question, "not used", "not used any more") for record in retired]
    candidates += [_candidate(record, question, "other fibre", f"of fibre {record.fiber}") for record in others]
    return Selection(key, fiber, chosen, tuple(candidates))


def _candidate(record: CalibrationRecord, question: Question, verdict: Verdict, reason: str) -> Candidate:
    return Candidate(record, (record.unixtime - question.unixtime) / DAY_S, verdict, reason)


def _competitor(record: CalibrationRecord, chosen: CalibrationRecord | None, question: Question) -> Candidate:
    """Judge a record of the key and fibre that is in use."""
    later = record.unixtime - question.unixtime
    too_far = abs(later) > question.max_age_days * DAY_S
    if record is chosen:
        side = "closest in time" if question.mode == "closest" else f"the closest {question.mode} one"
        return _candidate(record, question, "chosen", "a reference: age does not matter" if too_far else side)
    if (question.mode == "older" and later > 0) or (question.mode == "newer" and later < 0):
        side = "newer" if later > 0 else "older"
        return _candidate(record, question, "wrong side", f"{side} than the observation")
    if too_far and not record.reference:
        reason = f"more than {question.max_age_days:g} days, and no reference"
        return _candidate(record, question, "too new" if later > 0 else "too old", reason)
    return _candidate(record, question, "further", _why_further(record, chosen, question.unixtime))


def _why_further(record: CalibrationRecord, chosen: CalibrationRecord | None, unixtime: float) -> str:
    """Say by what a record that serves lost to the chosen one."""
    if chosen is None or abs(record.unixtime - unixtime) > abs(chosen.unixtime - unixtime):
        return "further in time"
    if record.unixtime != chosen.unixtime:
        return "as far, but newer"
    return "the same file, also a reference" if record.filename == chosen.filename else "same time, later by name"
