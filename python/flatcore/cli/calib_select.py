"""`flatcore calib select`: which file every key resolves to for an observation, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from flatcore.cli.database import json_option, on_calibrations, print_json, short_time
from flatcore.cli.helpful import Command

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase
    from flatcore.caldb.selection import Question, Selection

_EXAMPLES = """\b
Why a calibration does not serve:
  further      another is closer in time
  too old/new  further than --max-age-days, and not a reference
  wrong side   not on the side of the observation that --mode asks for
  not used     replaced by another file of its name
  other fibre  of the same key

\b
Examples:
  flatcore calib select night/2510100f_pp.fits --data-root data
  flatcore calib select --time 2020-08-31T12:00:00 --mode older --data-root data
  flatcore calib select --time 59092.5 --key LOC --all --data-root data
"""

# Calibrations shown below the chosen one; the others are counted.
_RUNNERS_UP = 3


@click.command(
    "select", cls=Command, short_help="Explain the choice of calibrations for an observation.", epilog=_EXAMPLES
)
@click.argument("observation", required=False, type=click.Path(path_type=Path))
@click.option("--time", metavar="ISO|MJD", help="The observation's time (UTC), in place of a file.")
@click.option("--mode", default="closest", show_default=True, help="closest, older or newer.")
@click.option("--max-age-days", type=float, default=7.0, show_default=True, help="Largest distance in time, both ways.")
@click.option("--key", help="Only this key.")
@click.option("--fiber", help="Only this fibre.")
@click.option("--all", "everything", is_flag=True, help="Show every calibration, not only the closest ones.")
@json_option
@on_calibrations
def select(
    *,
    observation: Path | None,
    time: str | None,
    mode: str,
    max_age_days: float,
    key: str | None,
    fiber: str | None,
    everything: bool,
    as_json: bool,
    database: CalibrationDatabase,
) -> None:
    """Tell which file every key and fibre resolves to for an OBSERVATION, a FITS file, and why the others do not."""
    from flatcore.caldb import selection  # noqa: PLC0415 - keeps help instant
    from flatcore.caldb.choice import checked_age, checked_mode  # noqa: PLC0415
    from flatcore.caldb.keys import iso_utc, known_key, time_of_file, unix_of_text  # noqa: PLC0415

    if (observation is None) == (time is None):
        raise click.UsageError("give the observation's file or its --time, one of the two")
    unixtime = unix_of_text(time) if time is not None else time_of_file(Path(str(observation)))
    question = selection.Question(unixtime, checked_mode(mode), checked_age(max_age_days))
    wanted = None if key is None else known_key(key)
    selections = [
        each
        for each in selection.explain(database.records(), question)
        if wanted in (None, each.keyname) and fiber in (None, each.fiber)
    ]
    observed = {"time": iso_utc(unixtime), "unixtime": unixtime, "mode": mode, "max_age_days": max_age_days}
    if as_json:
        chosen = [dataclasses.asdict(each.chosen) for each in selections if each.chosen]
        print_json(database, chosen, observation=observed, selections=[_plain(each) for each in selections])
        return
    _print(database, question, selections, everything)


def _plain(selection: Selection) -> dict[str, Any]:
    return {
        "keyname": selection.keyname,
        "fiber": selection.fiber,
        "chosen": selection.chosen.filename if selection.chosen else None,
        "candidates": [dataclasses.asdict(candidate) for candidate in selection.candidates],
    }


def _print(
    database: CalibrationDatabase, question: Question, selections: Sequence[Selection], everything: bool
) -> None:
    from flatcore.caldb.keys import iso_utc  # noqa: PLC0415 - keeps help instant
    from flatcore.cli.tables import Listing  # noqa: PLC0415

    click.echo(
        f"observation of {short_time(iso_utc(question.unixtime))} UTC; {question.mode} in time, within "
        f"{question.max_age_days:g} days unless a reference"
    )
    click.echo()
    listing = Listing("key", "fibre", "verdict", "time (UTC)", "away", "file", "why")
    for selection in selections:
        _add_rows(listing, database, selection, everything)
    listing.print()
    served = sum(1 for selection in selections if selection.chosen)
    click.echo(f"{served} of {len(selections)} resolved in {database.name}")


def _add_rows(listing: Any, database: CalibrationDatabase, selection: Selection, everything: bool) -> None:
    names = (selection.keyname, selection.fiber or "-")
    if selection.chosen is None:
        listing.add(*names, "none", "", "", "", "" if selection.candidates else "no calibration of this key")
        names = ("", "")
    # Files of other fibres explain an empty answer; below a good one they would be noise.
    candidates = [
        candidate
        for candidate in selection.candidates
        if everything or selection.chosen is None or candidate.verdict != "other fibre"
    ]
    shown = candidates if everything else candidates[: _RUNNERS_UP + (selection.chosen is not None)]
    for candidate in shown:
        lost = candidate.verdict == "chosen" and not (database.store / candidate.record.filename).is_file()
        why = "its file is missing from calib" if lost else candidate.reason
        time, away = short_time(candidate.record.humantime), _away(candidate.days)
        listing.add(*names, candidate.verdict, time, away, candidate.record.filename, why)
        names = ("", "")
    rest = Counter(candidate.verdict for candidate in candidates[len(shown) :])
    if rest:
        others = ", ".join(f"{number} {verdict}" for verdict, number in rest.items())
        listing.add("", "", "", "", "", "", f"and {others}")


def _away(days: float) -> str:
    size = abs(days)
    if size * 86_400 < 0.5:
        return "same time"
    length = f"{size:.1f} d" if size >= 2 else f"{size * 24:.1f} h" if size * 24 >= 2 else f"{size * 1440:.1f} min"
    return f"{length} {'older' if days < 0 else 'newer'}"
