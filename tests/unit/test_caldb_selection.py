"""The explanation of a choice: what serves, and why the others do not."""

from __future__ import annotations

import pytest

from flatcore.caldb.choice import CalibrationRecord
from flatcore.caldb.keys import KEYS, iso_utc, unix_of_text
from flatcore.caldb.selection import Question, Selection, explain
from flatcore.errors import UsageError

NOON = 1_598_875_200.0
DAY = 86_400.0


def record(
    name: str, days: float = 0.0, key: str = "BADPIX", fiber: str = "", *, reference: bool = False, used: bool = True
) -> CalibrationRecord:
    time = NOON + days * DAY
    return CalibrationRecord(key, fiber, reference, name, iso_utc(time), time, "", "", used, name)


def of(selections: list[Selection], key: str, fiber: str = "") -> Selection:
    (found,) = [each for each in selections if (each.keyname, each.fiber) == (key, fiber)]
    return found


def told(selection: Selection) -> list[tuple[str, str, str]]:
    return [(c.record.filename, c.verdict, c.reason) for c in selection.candidates]


def test_every_key_once_and_every_fibre() -> None:
    there = [record("a", key="LOC", fiber="C"), record("b", key="LOC", fiber="AB"), record("w", key="WAVE")]
    names = [(each.keyname, each.fiber) for each in explain(there, Question(NOON))]
    expected = [pair for key in KEYS for pair in ([("LOC", "AB"), ("LOC", "C")] if key == "LOC" else [(key, "")])]
    assert names == [*expected, ("WAVE", "")]
    assert of(explain(there, Question(NOON)), "FLAT") == Selection("FLAT", "", None, ())


def test_every_reason() -> None:
    there = [
        record("far", -20),
        record("future", 9),
        record("farther", -3),
        record("same_time_b", 1),
        record("chosen_a", 1),
        record("retired", 0, used=False),
    ]
    selection = of(explain(there, Question(NOON)), "BADPIX")
    assert selection.chosen == there[4]
    assert told(selection) == [
        ("chosen_a", "chosen", "closest in time"),
        ("same_time_b", "further", "same time, later by name"),
        ("farther", "further", "further in time"),
        ("future", "too new", "more than 7 days, and no reference"),
        ("far", "too old", "more than 7 days, and no reference"),
        ("retired", "not used", "not used any more"),
    ]
    assert [candidate.days for candidate in selection.candidates] == [1, 1, -3, 9, -20, 0]


@pytest.mark.parametrize(("mode", "chosen", "side"), [("older", "before", "newer"), ("newer", "after", "older")])
def test_wrong_side(mode: str, chosen: str, side: str) -> None:
    there = [record("before", -2), record("after", 1)]
    selection = of(explain(there, Question(NOON, mode)), "BADPIX")  # type: ignore[arg-type]
    other = "after" if chosen == "before" else "before"
    assert told(selection) == [
        (chosen, "chosen", f"the closest {mode} one"), (other, "wrong side", f"{side} than the observation")
    ]  # fmt: skip


def test_equally_far() -> None:
    selection = of(explain([record("after", 1), record("before", -1)], Question(NOON)), "BADPIX")
    assert told(selection)[1] == ("after", "further", "as far, but newer")


def test_reference_that_is_too_far() -> None:
    there = [record("near", -10), record("ref", -100, reference=True), record("other_ref", 200, reference=True)]
    assert told(of(explain(there, Question(NOON)), "BADPIX")) == [
        ("ref", "chosen", "a reference: age does not matter"),
        ("near", "too old", "more than 7 days, and no reference"),
        ("other_ref", "further", "further in time"),
    ]


def test_one_file_recorded_twice() -> None:
    selection = of(explain([record("a"), record("a", reference=True)], Question(NOON)), "BADPIX")
    assert selection.chosen is not None
    assert selection.chosen.reference
    assert told(selection)[1] == ("a", "further", "the same file, also a reference")


def test_other_fibres() -> None:
    there = [record("c", key="LOC", fiber="C"), record("ab", -30, key="LOC", fiber="AB")]
    selection = of(explain(there, Question(NOON, max_age_days=1)), "LOC", "AB")
    assert selection.chosen is None
    assert told(selection) == [
        ("ab", "too old", "more than 1 days, and no reference"), ("c", "other fibre", "of fibre C")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "unixtime"),
    [
        ("2020-08-31T12:00:00", NOON),
        (" 2020-08-31 12:00 ", NOON),
        ("2020-08-31T14:00:00+02:00", NOON),
        ("2020-08-31T12:00:00.5Z", NOON + 0.5),
        ("2020-08-31", NOON - DAY / 2),
        ("20200831", NOON - DAY / 2),
        ("59092.5", NOON),
        ("59092", NOON - DAY / 2),
    ],
)
def test_times(text: str, unixtime: float) -> None:
    assert unix_of_text(text) == unixtime


@pytest.mark.parametrize("text", ["", "noon", "2020-13-01"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match=rf"'{text}' is not a time: expected ISO 8601 .* or MJD"):
        unix_of_text(text)
