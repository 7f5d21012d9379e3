"""``flatcore report``: a page that explains a run, or an index of all runs with trends."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from flatcore.cli.database import json_option
from flatcore.cli.helpful import Command
from flatcore.cli.options import data_root_option, database_url_option

_EXAMPLES = """\b
Examples:
  flatcore report 2020-08-31 --data-root data
  flatcore report PID-20200831T164830.123456 --data-root data
  flatcore report --index --data-root data
"""


@click.command("report", cls=Command, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--index", is_flag=True, help="Write report/index.html over all runs, and trends from night to night.")
@json_option
@data_root_option
@database_url_option
def command(*, run: str | None, index: bool, as_json: bool, data_root: str, database_url: str | None) -> int:
    """Write a page that explains a run, or an index of all runs with trends.

    RUN is a run's identifier or number, or an observation directory: then its latest run that made products. The page
    is made from the run's record and its products alone, and goes to <data root>/report/OBS_DIR.
    """
    if (run is None) != index:
        raise click.UsageError("expected RUN, an identifier or an observation directory, or --index; not both.")
    from flatcore.caldb import RunLog  # noqa: PLC0415 - keeps help instant
    from flatcore.report import write_index, write_pages  # noqa: PLC0415

    root = Path(data_root).absolute()
    runs = RunLog.open(root, database_url)
    paths = write_index(runs.records(), root) if run is None else write_pages(runs.find(run), root)
    if as_json:
        click.echo(json.dumps({"pages": [str(path) for path in paths]}))
    else:
        for path in paths:
            click.echo(path)
    return 0
