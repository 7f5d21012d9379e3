"""The choice of a calibration by time, held to its definition on any set of records."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatcore.caldb import CalibrationDatabase
from flatcore.caldb.choice import MODES, CalibrationRecord, Mode, pick, why_none
from flatcore.caldb.keys import iso_utc
from flatcore.caldb.selection import Question, explain
from flatcore.errors import CalibrationError
from tests.engines import database_url

__all__ = ["database_url"]  # a fixture

DAY = 86_400.0

# Whole half-days, so that ties and exact ages come up often.
times = st.integers(-40, 40).map(lambda halves: halves * DAY / 2)
ages = st.integers(0, 30).map(lambda halves: halves / 2)
modes = st.sampled_from(MODES)


@st.composite
def records(draw: st.DrawFn) -> CalibrationRecord:
    unixtime = draw(times)
    return CalibrationRecord(
        keyname="LOC",
        fiber="AB",
        reference=draw(st.booleans()),
        filename=draw(st.sampled_from(["a.fits", "b.fits", "c.fits"])),
        humantime=iso_utc(unixtime),
        unixtime=unixtime,
        pid="",
        pdate="",
        used=True,
        sha256="",
    )


candidates = st.lists(records(), max_size=8)


def serves(record: CalibrationRecord, unixtime: float, mode: Mode, max_age_days: float) -> bool:
    """The rule for one record, as the documentation puts it."""
    later = record.unixtime - unixtime
    if (mode == "older" and later > 0) or (mode == "newer" and later < 0):
        return False
    return record.reference or abs(later) / DAY <= max_age_days


def is_before(first: CalibrationRecord, second: CalibrationRecord, unixtime: float) -> bool:
    """Whether the first is to be preferred: closer, else older, else first by name."""
    distances = abs(first.unixtime - unixtime), abs(second.unixtime - unixtime)
    if distances[0] != distances[1]:
        return distances[0] < distances[1]
    if first.unixtime != second.unixtime:
        return first.unixtime < second.unixtime
    return first.filename < second.filename


@given(candidates, times, modes, ages)
def test_chosen_serves_and_none_that_serves_is_better(
    found: list[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float
) -> None:
    chosen = pick(found, unixtime, mode, max_age_days)
    serving = [record for record in found if serves(record, unixtime, mode, max_age_days)]
    assert (chosen is None) == (not serving)
    if chosen is not None:
        assert chosen in serving
        assert not any(is_before(record, chosen, unixtime) for record in serving)


@given(candidates, times, modes, ages, st.randoms(use_true_random=False))
def test_order_of_the_records_does_not_matter(
    found: list[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float, random: object
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert pick(shuffled, unixtime, mode, max_age_days) == pick(found, unixtime, mode, max_age_days)


@given(candidates, times, modes)
def test_without_a_limit_marks_of_reference_do_not_matter_for_the_time(
    found: list[CalibrationRecord], unixtime: float, mode: Mode
) -> None:
    plain = [dataclasses.replace(record, reference=False) for record in found]
    chosen, among_plain = (pick(each, unixtime, mode, float("inf")) for each in (found, plain))
    assert (chosen and chosen.unixtime) == (among_plain and among_plain.unixtime)


@given(candidates, times, ages)
def test_closest_is_the_closer_of_older_and_newer(
    found: list[CalibrationRecord], unixtime: float, max_age_days: float
) -> None:
    chosen, older, newer = (pick(found, unixtime, mode, max_age_days) for mode in ("closest", "older", "newer"))
    sides = [record for record in (older, newer) if record is not None]
    assert chosen == min(sides, key=lambda r: (abs(r.unixtime - unixtime), r.unixtime), default=None)


@given(candidates, times, modes, ages)
def test_a_file_of_the_very_time_always_serves(
    found: list[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float
) -> None:
    here = CalibrationRecord("LOC", "AB", False, "now.fits", iso_utc(unixtime), unixtime, "", "", True, "")
    chosen = pick([*found, here], unixtime, mode, max_age_days)
    assert chosen is not None
    assert chosen.unixtime == unixtime


@given(candidates.filter(bool), times, modes, ages)
def test_the_reason_names_a_record(
    found: list[CalibrationRecord], unixtime: float, mode: Mode, max_age_days: float
) -> None:
    if pick(found, unixtime, mode, max_age_days) is None:
        reason = why_none(found, unixtime, mode, max_age_days)
        assert any(record.filename in reason for record in found)
        assert "days older" in reason or "days newer" in reason


@given(st.lists(st.tuples(records(), st.booleans(), st.sampled_from(["AB", "C"])), max_size=8), times, modes, ages)
def test_the_explanation_is_of_the_choice(
    drawn: list[tuple[CalibrationRecord, bool, str]], unixtime: float, mode: Mode, max_age_days: float
) -> None:
    there = [dataclasses.replace(record, used=used, fiber=fiber) for record, used, fiber in drawn]
    for selection in explain(there, Question(unixtime, mode, max_age_days)):
        mine = [r for r in there if r.keyname == selection.keyname and r.fiber == selection.fiber and r.used]
        assert selection.chosen == pick(mine, unixtime, mode, max_age_days)
        verdicts = [candidate.verdict for candidate in selection.candidates]
        assert verdicts.count("chosen") == (selection.chosen is not None)
        assert len(verdicts) == sum(record.keyname == selection.keyname for record in there)
        for candidate in selection.candidates:
            if candidate.verdict in ("chosen", "further"):
                assert serves(candidate.record, unixtime, mode, max_age_days)
            elif candidate.verdict not in ("not used", "other fibre"):
                assert not serves(candidate.record, unixtime, mode, max_age_days)


# One database serves all examples: each has a fibre of its own.
fibers = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(candidates, times, modes, ages)
def test_both_engines_choose_so(
    tmp_path: Path,
    database_url: str | None,
    found: list[CalibrationRecord],
    unixtime: float,
    mode: Mode,
    max_age_days: float,
) -> None:
    database, fiber = CalibrationDatabase.open(tmp_path, database_url), f"F{next(fibers)}"
    # What the table holds as one row each; the last one is kept.
    there = {(r.reference, r.filename): dataclasses.replace(r, fiber=fiber) for r in found}
    with database.table.writing() as rows:
        for record in there.values():
            rows.write(record)
    assert sorted(database.records("LOC", fiber), key=repr) == sorted(there.values(), key=repr)
    try:
        chosen = database.choose("LOC", fiber, unixtime, mode=mode, max_age_days=max_age_days)
    except CalibrationError:
        chosen = None
    assert chosen == pick(list(there.values()), unixtime, mode, max_age_days)
