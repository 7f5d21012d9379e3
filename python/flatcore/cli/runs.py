"""`flatcore runs`: what was run, on what, and what came of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import rich_click as click

from flatcore.cli.database import json_option, on_runs, short_time
from flatcore.cli.helpful import Group

if TYPE_CHECKING:
    from flatcore.caldb import RunLog, RunRecord

_EXAMPLES = """\b
Examples:
  flatcore runs list --data-root data
  flatcore runs show 12 --data-root data
"""
_LIST_EXAMPLES = """\b
Status of a run:
  running      it goes on
  done         products are written
  failed-qc    products are written, but a fibre failed quality control
  error        it could not be done; flatcore runs show tells why
  interrupted  a user or the system ended it
  killed       it ended without a word

\b
Examples:
  flatcore runs list --data-root data
  flatcore runs list --obs-dir 2020-08-31 --limit 5 --data-root data
  flatcore runs list --json --database-url postgresql://me@host/spirou --data-root data
"""
_SHOW_EXAMPLES = """\b
Examples:
  flatcore runs show 12 --data-root data
  flatcore runs show PID-20200831T164830.123456 --json --data-root data
"""


@click.group("runs", cls=Group, epilog=_EXAMPLES)
def command() -> None:
    """List the runs of a data root, and show what went into one and came out of it."""


@command.command("list", epilog=_LIST_EXAMPLES)
@click.option("--obs-dir", metavar="OBS_DIR", help="Only runs of this observation directory.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the latest so many; all by default.")
@json_option
@on_runs
def list_(*, obs_dir: str | None, limit: int | None, as_json: bool, runs: RunLog) -> None:
    """List the runs, the latest first."""
    found = runs.records(obs_dir, limit)
    if as_json:
        plain = [{k: v for k, v in dataclasses.asdict(run).items() if k != "record"} for run in found]
        click.echo(json.dumps({"database": runs.name, "runs": plain}, indent=2))
        return
    from flatcore.cli.tables import Listing  # noqa: PLC0415 - keeps help instant

    listing = Listing("run", "started (UTC)", "took", "status", "observation", "instrument", "identifier")
    for run in found:
        listing.add(str(run.id), short_time(run.started), _took(run), run.status, run.obs_dir, run.instrument, run.pid)
    listing.print()
    there = runs.count(obs_dir)
    of_all = f"{len(found)} of {there}" if len(found) < there else f"{there}"
    click.echo(f"{of_all} run{'' if there == 1 else 's'} in {runs.name}")


@command.command("show", short_help="Show all that is known of a run.", epilog=_SHOW_EXAMPLES)
@click.argument("run", metavar="ID|PID")
@json_option
@on_runs
def show(*, run: str, as_json: bool, runs: RunLog) -> None:
    """Show what went into a run and came out of it: frames, calibrations, settings, times, quality and products.

    Hashes are cut to their first digits; --json has them whole.
    """
    found = runs.get(run)
    if as_json:
        click.echo(json.dumps({"database": runs.name, "run": dataclasses.asdict(found)}, indent=2))
        return
    from flatcore.cli.run_record import print_record  # noqa: PLC0415 - keeps help instant

    _print_head(found)
    print_record(found.record)


def _print_head(run: RunRecord) -> None:
    from flatcore.cli.tables import Facts  # noqa: PLC0415 - keeps help instant

    click.echo(f"run {run.id}, {run.pid}")
    facts = Facts()
    exit_status = "" if run.exit_status is None else f", exit status {run.exit_status}"
    facts.add("status", f"{run.status}{exit_status}")
    error = run.record.get("error")
    if error:
        facts.add("error", str(error))
    facts.add("observation", ", ".join(filter(None, [run.obs_dir, run.instrument])))
    took = _took(run)
    facts.add("started", f"{short_time(run.started)} UTC" + (f", took {took}" if took else ""))
    facts.add("ran as", ", ".join(filter(None, [run.program, run.shortname, run.recipe_kind])))
    asked = run.record.get("asked")
    if isinstance(asked, Mapping):
        facts.add("asked for", ", ".join(f"{name} {value}" for name, value in asked.items() if value))
    facts.add("process", f"{run.os_pid} on {run.host}")
    versions = run.record.get("versions")
    if isinstance(versions, Mapping):
        facts.add("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))
    facts.print()


def _took(run: RunRecord) -> str:
    if run.finished is None:
        return ""
    seconds = (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
