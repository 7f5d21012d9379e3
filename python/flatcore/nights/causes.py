"""Failures put together by what lies behind them: ten nights that lack the same dark are one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# What differs from night to night in a message that is otherwise the same, and what stands for it; in this order.
DIFFERENT = (
    # Paths and URLs: of a file only its folder's kind is kept, as the last folder but the night's.
    (re.compile(r"(?:[a-z0-9]+:/)?(?:/[^\s:;,'\"()]+)+"), "<file>"),
    (re.compile(r"PID-\d{8}T\d{6}\.\d{6}"), "<run>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:\+00:00|Z)?)?"), "<time>"),
    (re.compile(r"\b[0-9A-F]{10}_pp\S*"), "<file>"),
    (re.compile(r"\b\S+\.fits(?:\.gz|\.fz)?\b"), "<file>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<number>"),
    (re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])"), "<number>"),
)


@dataclass(frozen=True)
class Cause:
    """One reason, and the nights that failed for it.

    Attributes
    ----------
    text
        The message of the first night.
    labels
        The nights and kinds, in order.
    exit_status
        As ``flatcore run`` would end.
    """

    text: str
    labels: tuple[str, ...]
    exit_status: int


def causes(failures: Iterable[tuple[str, str, str, int]]) -> list[Cause]:
    """Put failures together.

    Parameters
    ----------
    failures
        Of each the night's folder, its label, the message, and the exit status.

    Returns
    -------
    list of Cause
        The most frequent first; of equally frequent ones the earliest.
    """
    by_pattern: dict[str, list[tuple[str, str, int]]] = {}
    for obs_dir, label, text, exit_status in failures:
        by_pattern.setdefault(pattern_of(text, obs_dir), []).append((label, text, exit_status))
    found = [Cause(same[0][1], tuple(label for label, _, _ in same), same[0][2]) for same in by_pattern.values()]
    return sorted(found, key=lambda cause: -len(cause.labels))


def pattern_of(text: str, obs_dir: str) -> str:
    """Give a message without what belongs to its night: file names, times, numbers."""
    # What is the closest of all calibrations to a night says nothing of what is wrong with it.
    pattern = text.split("; the closest", maxsplit=1)[0].split(": the closest", maxsplit=1)[0]
    # A file's path holds the night's name, and goes as a whole.
    pattern = DIFFERENT[0][0].sub(DIFFERENT[0][1], pattern)
    pattern = re.sub(rf"(?<!\w){re.escape(obs_dir)}(?!\w)", "<night>", pattern)
    for expression, stands_for in DIFFERENT[1:]:
        pattern = expression.sub(stands_for, pattern)
    return pattern
