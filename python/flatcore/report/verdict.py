"""The verdict on a run, in words: what a reader needs who reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flatcore.caldb import RunRecord
from flatcore.report.products import Missing
from flatcore.report.record import Record, fibers_of, list_of
from flatcore.spectra import Rung


@dataclass(frozen=True)
class Verdict:
    """What came of a run.

    Attributes
    ----------
    tone
        good, warn or bad.
    headline
        In a few words.
    sentences
        What to know first.
    """

    tone: str
    headline: str
    sentences: tuple[str, ...]


NOT_DONE = {
    "running": ("warn", "Not done yet", "The run goes on."),
    "killed": ("bad", "Killed", "The run ended without a word: its process is gone."),
    "interrupted": ("bad", "Interrupted", "A user or the system ended the run."),
    "error": ("bad", "Not done", "The run could not be done."),
}


def verdict_of(run: RunRecord, image: Record | None, missing: Sequence[Missing]) -> Verdict:
    """Judge a run by its record, and by which of its products are still there.

    Parameters
    ----------
    run
        The run.
    image
        The image of its record that the page is about; None where it made none.
    missing
        Products that are not there any more.
    """
    if image is None or run.status in NOT_DONE:
        tone, headline, sentence = NOT_DONE.get(run.status, ("bad", "Nothing made", "The record names no product."))
        error = run.record.get("error")
        return Verdict(tone, headline, (sentence, *([str(error)] if error else [])))
    fibers = dict(fibers_of(image))
    failed = [name for name, fiber in fibers.items() if not fiber["passed"]]
    sentences = [*_failures(fibers, failed), _described(fibers)]
    warnings = len(list_of(run.record, "warnings")) + len(list_of(run.record, "figure_problems"))
    if warnings:
        sentences.append(f"{_count(warnings, 'warning')}, listed below.")
    if missing:
        sentences.append(
            f"{_count(len(missing), 'product')} of the run {'is' if len(missing) == 1 else 'are'} missing."
        )
    if failed:
        return Verdict("bad", f"Failed: fibre{'s' if len(failed) > 1 else ''} {', '.join(failed)}", tuple(sentences))
    if warnings or missing:
        return Verdict("warn", "Passed, with warnings", tuple(sentences))
    return Verdict("good", "Passed", tuple(sentences))


def _failures(fibers: dict[str, Record], failed: Sequence[str]) -> list[str]:
    if not failed:
        which = f"Fibre {next(iter(fibers))} passes" if len(fibers) == 1 else f"All {len(fibers)} fibres pass"
        return [f"{which} quality control."]
    told = []
    for name in failed:
        for check in list_of(fibers[name], "checks"):
            if not check["passed"] and check.get("decisive", True):
                measured = "no value" if check["value"] is None else f"measured {check['value']:.4g}"
                told.append(f"Fibre {name}: {check.get('words') or check['limit']}; {measured}.")
    passing = [name for name in fibers if name not in failed]
    return [*told, *([f"Fibre{'s' if len(passing) > 1 else ''} {', '.join(passing)} passed."] if passing else [])]


def _described(fibers: dict[str, Record]) -> str:
    """Say how many orders there are, and how many have a blaze that is not their own."""
    orders = [order for fiber in fibers.values() for order in list_of(fiber, "orders")]
    described = [(Rung.named(order["rung"]), order.get("reasons")) for order in orders if order.get("rung")]
    rungs = [rung for rung, _ in described]
    without = sum(rung is Rung.NONE for rung in rungs)
    helped = sum(Rung.PREDICTED <= rung < Rung.NONE for rung in rungs)
    jointly = sum(rung is Rung.GLOBAL for rung in rungs)
    faint = sum(rung is Rung.GLOBAL and bool(reasons) for rung, reasons in described)
    if jointly:
        wanting = f" ({faint} for want of one of their own)" if faint else ""
        parts = [f"{jointly} {_has(jointly)} a blaze by the model of all orders{wanting}"]
        parts += [f"{helped} one that is predicted or a spline"] if helped else []
        parts += [f"{without} {_has(without)} no blaze"] if without else []
        return f"Of {len(orders)} orders, {', '.join(parts)}."
    if not without and not helped:
        return f"All {len(orders)} orders have a blaze of their own."
    parts = [f"{helped} {_has(helped)} a blaze that is predicted or a spline"] if helped else []
    parts += [f"{without} {_has(without)} no blaze"] if without else []
    return f"Of {len(orders)} orders, {' and '.join(parts)}."


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
