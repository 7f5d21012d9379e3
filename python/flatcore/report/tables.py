"""Tables as pages show them: what each cell says, and what it is sorted by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from flatcore.results import check_verdict

# What stands for a value that there is none of.
NONE = "–"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text
        What it says.
    key
        What it is sorted by; its text where None.
    tone
        good, bad, or warn: how it is coloured, besides what it says; empty for neither.
    link
        Page it leads to; empty for none.
    """

    text: str
    key: float | str | None = None
    tone: str = ""
    link: str = ""

    @property
    def sort_key(self) -> float | str:
        """What the cell is sorted by."""
        return self.text if self.key is None else self.key


@dataclass(frozen=True)
class Column:
    """Heading of a column; ``hint`` says what is in it, ``numeric`` puts its cells to the right.

    ``wraps`` says where its cells may go on in the next line when the window is narrow.
    """

    title: str
    hint: str = ""
    numeric: bool = False
    wraps: Literal["", "between-words", "anywhere"] = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    name
        Identifier within the page.
    caption
        What it tells.
    orders_of
        Fibre, where each row is an order that the order browser can show.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    orders_of: str = ""


def number(value: float | None, form: str = ".4g", tone: str = "") -> Cell:
    """Give the cell of a number; one that is not known is sorted behind all others."""
    return Cell(NONE, "") if value is None else Cell(format(value, form), float(value), tone)


def text(value: object) -> Cell:
    """Give the cell of a text."""
    return Cell(str(value) if value not in (None, "") else NONE, str(value or ""))


def verdict(passed: bool, decisive: bool = True) -> Cell:
    """Give the cell of a verdict: in a word and a sign, not by its colour alone."""
    word = check_verdict(passed, decisive)
    sign, tone = {"pass": ("✓", "good"), "fail": ("✗", "bad"), "warns": ("!", "warn")}[word]
    return Cell(f"{sign} {word}", word, tone)


def without_empty(table: Table) -> Table:
    """Leave out the columns that say nothing in any row."""
    kept = [i for i in range(len(table.columns)) if any(row[i].text != NONE for row in table.rows)]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows)
