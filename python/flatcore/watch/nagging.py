"""Warnings that are told once, and again only when they have changed or were cured in between."""

from __future__ import annotations

import logging

log = logging.getLogger("flatcore")


class Nagging:
    """What is wrong now, by what it concerns: a watcher meets the same trouble at every look."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def warn(self, about: str, text: str) -> None:
        """Tell a trouble, unless it was told."""
        if self._said.get(about) != text:
            log.warning("%s", text)
        self._said[about] = text

    def cured(self, about: str) -> None:
        """Take notice that all is well."""
        self._said.pop(about, None)
