"""What there is to run on: observation directories, and their files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flatcore.assembly import header_with
from flatcore.errors import FlatcoreError, InputError
from flatcore.fitsio import FITS_SUFFIXES, read_header
from flatcore.instrument import Keywords, load_profile

PIPED_WIDTH = 10_000


def print_listing(obs_dir: str | None, options: Mapping[str, Any], most: int | None) -> None:
    """Print the observation directories, or the files of the one given; at most so many."""
    folder = Path(options["data_root"]) / (options["force_indir"] or "tmp") / (obs_dir or "")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory")
    profile = load_profile(options["instrument"]) if options["instrument"] else None
    _print(_files(folder, profile.keywords if profile else {}) if obs_dir else _directories(folder), most)


def _print(table_and_rows: tuple[Table, list[tuple[str, ...]]], most: int | None) -> None:
    table, rows = table_and_rows
    shown = rows[:most]
    for row in shown:
        table.add_row(*row)
    # What is piped to a file or a program is never cut.
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    console.print(table)
    if len(shown) < len(rows):
        console.print(f"{len(shown)} of {len(rows)}; --listingall shows all")


def _directories(folder: Path) -> tuple[Table, list[tuple[str, ...]]]:
    table = Table("observation directory", "FITS files", title=str(folder))
    rows: list[tuple[str, ...]] = [
        (path.name, str(sum(1 for file in path.iterdir() if file.name.endswith(FITS_SUFFIXES))))
        for path in sorted(folder.iterdir())
        if path.is_dir()
    ]
    return table, rows


def _files(folder: Path, keywords: Keywords) -> tuple[Table, list[tuple[str, ...]]]:
    table = Table("file", "DPRTYPE", r"exposure \[s]", "date", title=str(folder))
    rows: list[tuple[str, ...]] = []
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(FITS_SUFFIXES):
            continue
        try:
            header = header_with(read_header(path), keywords, path)
        except FlatcoreError:
            rows.append((path.name, "unreadable", "", ""))
            continue
        shown = (str(header.get(keyword, "")) for keyword in ("DPRTYPE", "EXPTIME"))
        rows.append((path.name, *shown, _date(header)))
    return table, rows


def _date(header: Any) -> str:
    """Middle of the exposure, or what date the header has."""
    from flatcore.caldb.keys import iso_utc, unix_of_mjd  # noqa: PLC0415 - lists of directories do not need it

    if isinstance(header.get("MJDMID"), float):
        return iso_utc(unix_of_mjd(header["MJDMID"]), "seconds").replace("T", " ")
    return str(header.get("DATE-OBS", ""))
