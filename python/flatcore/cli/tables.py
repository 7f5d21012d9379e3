"""Tables on the terminal: plain text that never breaks a line when it is piped."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any table: what is piped to a file or a program is never folded.
_PIPED_WIDTH = 10_000


class Listing:
    """Rows under headings.

    Parameters
    ----------
    *headings
        One per column; the column of 'file' folds where the terminal is too narrow. Columns that stay empty are
        left out.
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
        if not self._rows:
            return
        kept = [number for number in range(len(self._headings)) if any(row[number] for row in self._rows)]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for number in kept:
            heading = self._headings[number]
            table.add_column(heading, no_wrap=heading != "file", overflow="fold")
        for row in self._rows:
            table.add_row(*(Text(row[number]) for number in kept))
        _print(table)


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
        # As plain text: brackets in file names are not markup.
        self._table.add_row(Text(f"{self._indent}{name}"), Text(value))

    def print(self) -> None:
        """Print the lines."""
        if self:
            _print(self._table)


def _print(table: Any) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    with console.capture() as printed:
        console.print(table)
    # Tables pad their last column; lines that end where their text ends are better to pipe and to copy.
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
