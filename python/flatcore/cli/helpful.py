"""Commands whose help is grouped by rich-click and ends with examples, kept line by line as they are written."""

from __future__ import annotations

import click
import rich_click


def write_examples(command: click.Command, formatter: rich_click.RichHelpFormatter) -> None:
    """Write a command's closing text without joining its lines."""
    if command.epilog:
        blocks = command.epilog.strip().split("\n\n")
        text = "\n\n".join(block.removeprefix("\b\n") for block in blocks)
        formatter.write(f"\n{text}\n", markup=False, highlight=False, soft_wrap=True)


class Command(rich_click.RichCommand):
    """A command with examples."""

    def format_epilog(self, ctx: click.Context, formatter: rich_click.RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the examples."""
        write_examples(self, formatter)


class Group(rich_click.RichGroup):
    """A group with examples, and so its commands."""

    command_class = Command

    def format_epilog(self, ctx: click.Context, formatter: rich_click.RichHelpFormatter) -> None:  # type: ignore[override]
        """Write the examples."""
        write_examples(self, formatter)
