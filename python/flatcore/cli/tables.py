"""Tables on the terminal: plain text that never breaks a line when it is piped."""

from __future__ import annotations

import sys

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any table: what is piped to a file or a program is never folded.
_PIPED_WIDTH = 10_000


# Columns that fold where the terminal is too narrow; all others stay whole, however narrow it is.
_FOLDING = frozenset({"file", "found", "identifier", "why"})
_FOLDED_WIDTH = 20


class Listing:
    """Rows under headings.

    Parameters
    ----------
    *headings
        One per column. Columns that stay empty are left out.
    """

    def __init__(self, *headings: str) -> None:
        self._headings = headings
        self._rows: list[tuple[str, ...]] = []

    def __bool__(self) -> bool:
        """Whether there is a row."""
        return bool(self._rows)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self._rows.append(cells)

    def print(self) -> None:
        """Print the table; nothing at all without rows."""
        columns = [
            (heading, cells)
            for heading, cells in zip(self._headings, zip(*self._rows, strict=True), strict=False)
            if any(cells)
        ]
        if not columns:
            return
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for heading, cells in columns:
            whole = max(cell_len(text) for text in (heading, *cells))
            folds = heading in _FOLDING
            table.add_column(
                heading, no_wrap=not folds, overflow="fold", min_width=min(whole, _FOLDED_WIDTH) if folds else whole
            )
        for row in zip(*(cells for _, cells in columns), strict=True):
            # As plain text: brackets in file names are not markup.
            table.add_row(*(Text(cell) for cell in row))
        least = sum(column.min_width or 0 for column in table.columns) + 2 * len(columns)
        _print(table, least)


class Facts:
    """Names and values below each other."""

    def __init__(self, indent: str = "  ") -> None:
        self._indent = indent
        self._table = Table.grid(padding=(0, 2, 0, 0))
        self._table.add_column(style="dim", no_wrap=True)
        self._table.add_column(overflow="fold")

    def __bool__(self) -> bool:
        """Whether there is a line."""
        return bool(self._table.row_count)

    def add(self, name: str, value: str) -> None:
        """Add a line."""
        self._table.add_row(Text(f"{self._indent}{name}"), Text(value))

    def print(self) -> None:
        """Print the lines."""
        if self:
            _print(self._table, 0)


def _print(table: Table, least_width: int) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, least_width) if sys.stdout.isatty() else _PIPED_WIDTH
    with console.capture() as printed:
        console.print(table)
    # Tables pad their last column; lines that end where their text ends are better to pipe and to copy.
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
