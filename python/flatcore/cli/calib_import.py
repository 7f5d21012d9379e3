"""`flatcore calib import`: the calibrations of an APERO installation taken over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from flatcore.cli.database import count, json_option, on_calibrations, print_calibrations, print_json
from flatcore.cli.helpful import Command

if TYPE_CHECKING:
    from flatcore.caldb import CalibrationDatabase

_EXAMPLES = """\b
TABLE is an SQLite file, or text with commas, semicolons or tabs, with the columns
KEYNAME FIBER REFCAL FILENAME HUMANTIME UNIXTIME PID PDATE USED.

\b
Examples:
  flatcore calib import apero/calib/calib.db --data-root data
  flatcore calib import calib.csv --files /apero/calib --skip-unknown --data-root data
"""


@click.command("import", cls=Command, short_help="Take over the calibrations of an APERO table.", epilog=_EXAMPLES)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--files", type=click.Path(path_type=Path), help="Folder of the files; by default the table's own.")
@click.option("--skip-unknown", is_flag=True, help="Leave out rows of keys that flatcore does not use.")
@click.option("--skip-missing", is_flag=True, help="Leave out rows whose file is not in the folder.")
@click.option("--replace", is_flag=True, help="Replace different files of the same names.")
@json_option
@on_calibrations
def import_(
    *,
    table: Path,
    files: Path | None,
    skip_unknown: bool,
    skip_missing: bool,
    replace: bool,
    as_json: bool,
    database: CalibrationDatabase,
) -> None:
    """Take over an APERO calibration TABLE with its files: all of it or, on any error, nothing."""
    from flatcore.caldb.apero import import_table  # noqa: PLC0415 - keeps help instant

    imported = import_table(
        database, table, files=files, skip_unknown=skip_unknown, skip_missing=skip_missing, replace=replace
    )
    if as_json:
        skipped = [dataclasses.asdict(row) for row in imported.skipped]
        print_json(database, map(dataclasses.asdict, imported.records), skipped=skipped)
        return
    print_calibrations(imported.records)
    for row in imported.skipped:
        click.echo(f"skipped row {row.row}, {row.keyname or 'no key'}, {row.filename}: {row.reason}", err=True)
    click.echo(f"imported {count(imported.records)} into {database.name}, skipped {count(imported.skipped, 'row')}")
