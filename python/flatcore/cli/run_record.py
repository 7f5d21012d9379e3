"""A run's record on the terminal, part by part; parts that a record does not have are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flatcore.cli.tables import Facts, Listing

# Digits of a hash that are shown: enough to tell files apart by eye.
_DIGITS = 12

Record = Mapping[str, Any]


def print_record(record: Record) -> None:
    """Print what went in, how, what came out, how good it is and how long it took."""
    _print_listing("frames", _frames(record))
    _print_listing("calibrations", _calibrations(record))
    _print_facts("settings that differ from the defaults", _changed(record))
    _print_listing("quality control", _quality(record))
    _explain_warns(record)
    _print_listing("products", _products(record))
    _print_facts("seconds", ((name, f"{seconds:.3f}") for name, seconds in _table(record, "seconds").items()))
    for warning in _list(record, "warnings"):
        click.echo(f"\nwarning: {warning}")


def _frames(record: Record) -> Listing:
    listing = Listing("sha256", "file", "")
    hashes = _table(record, "input_sha256")
    for image in _list(record, "images"):
        for name in image.get("inputs", ()):
            listing.add(_short(hashes.get(name)), name, "")
    for frame in _list(record, "left_out"):
        listing.add("-", Path(frame["path"]).name, f"left out: {frame['reason']}")
    return listing


def _calibrations(record: Record) -> Listing:
    listing = Listing("key", "fibre", "sha256", "file", "why")
    for file in _list(record, "calibrations"):
        name = Path(file["path"]).name
        listing.add(file["keyname"], file["fiber"] or "-", _short(file["sha256"]), name, file["reason"])
    return listing


def _changed(record: Record) -> Iterator[tuple[str, str]]:
    settings = record.get("settings")
    if settings is None:
        return
    from flatcore.changed import changed_settings  # noqa: PLC0415 - only a run with a record needs the settings

    for name, (value, default) in changed_settings(settings).items():
        yield name, f"{_text(value)}, not {_text(default)}"


def _quality(record: Record) -> Listing:
    from flatcore.results import check_verdict  # noqa: PLC0415 - only a run with a record needs it

    listing = Listing("image", "fibre", "verdict", "measured", "asked", "orders that fail")
    for image in _list(record, "images"):
        for fiber, quality in _table(image, "fibers").items():
            failed = [str(order["order"]) for order in _list(quality, "orders") if order["verdict"] == "fail"]
            for check in _list(quality, "checks"):
                measured = "none" if check["value"] is None else f"{check['value']:.5g}"
                verdict = check_verdict(check["passed"], check.get("decisive", True))
                # An order's own verdict is that on its rms.
                orders = ", ".join(failed) if check["name"] == "max_rms" else ""
                listing.add(image["stem"], fiber, verdict, f"{check['name']} = {measured}", check["limit"], orders)
    return listing


def _explain_warns(record: Record) -> None:
    """Say what a check means that warns, where there is one."""
    fibers = [fiber for image in _list(record, "images") for fiber in _table(image, "fibers").values()]
    checks = [check for fiber in fibers for check in _list(fiber, "checks")]
    if any(not check["passed"] and not check.get("decisive", True) for check in checks):
        click.echo("warns: is not what was asked for, but no fibre fails with it (the profile's qc.decisive)")


def _products(record: Record) -> Listing:
    listing = Listing("product", "fibre", "sha256", "file")
    for product in _list(record, "products"):
        listing.add(product["kind"], product["fiber"] or "-", _short(product["sha256"]), product["path"])
    return listing


def _table(record: Record, name: str) -> Record:
    part: Record = record.get(name) or {}
    return part


def _list(record: Record, name: str) -> Sequence[Any]:
    part: Sequence[Any] = record.get(name) or ()
    return part


def _short(sha256: str | None) -> str:
    return sha256[:_DIGITS] if sha256 else "-"


def _text(value: Any) -> str:
    return "the profile's" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _print_listing(title: str, listing: Listing) -> None:
    if listing:
        click.echo(f"\n{title}")
        listing.print()


def _print_facts(title: str, lines: Iterator[tuple[str, str]]) -> None:
    facts = Facts()
    for name, value in lines:
        facts.add(name, value)
    if facts:
        click.echo(f"\n{title}")
        facts.print()
