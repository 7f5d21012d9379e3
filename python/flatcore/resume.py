"""Whether an earlier run made just what is asked for, and its products are still there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flatcore.caldb import RunRecord
from flatcore.fitsio import read_header
from flatcore.products import straight_profile_path
from flatcore.results import ChosenCalibration
from flatcore.settings import OutputSettings


def same_run(runs: Iterable[RunRecord], digest: str, kept: Sequence[Path], wanted: OutputSettings) -> RunRecord | None:
    """Give the latest finished run of the same fingerprint if its products are all there, and still its own.

    It must have made what is wanted beside them too: figures, page, intermediate arrays.

    Parameters
    ----------
    runs
        The latest first.
    digest
        Of the fingerprint.
    kept
        Straightened order profiles, which a run may have read instead of making them.
    wanted
        What is asked for.
    """
    for run in runs:
        if run.status in ("done", "failed-qc") and run.record.get("fingerprint") == digest:
            return run if all_there(run, kept) and made_beside(run, wanted) else None
    return None


def all_there(run: RunRecord, kept: Sequence[Path]) -> bool:
    """Tell whether a run's products are all there, and still its own."""
    made = run.record.get("products", [])
    return bool(made) and all(_is_of(run.pid, one) for one in made) and all(path.is_file() for path in kept)


def made_beside(run: RunRecord, wanted: OutputSettings) -> bool:
    """Tell whether a run was asked for all figures, pages and intermediate arrays that are wanted now."""
    asked = run.record.get("settings", {}).get("output", {})
    return all(asked.get(name, 0) >= getattr(wanted, name) for name in ("figures", "report", "debug"))


def straight_profiles(folder: Path, chosen: Sequence[ChosenCalibration], fibers: Sequence[str]) -> list[Path]:
    """Where the straightened order profiles of a folder of products lie."""
    shapel = next(file.path for file in chosen if file.keyname == "SHAPEL")
    return [straight_profile_path(folder, shapel, fiber) for fiber in fibers]


def _is_of(pid: str, product: Mapping[str, Any]) -> bool:
    """Tell whether a product is there, and was not made anew by another run, with other settings perhaps."""
    path = Path(product["path"])
    if not path.is_file() or path.stat().st_size != product["bytes"]:
        return False
    return bool(product["kind"] == "ORDERP_STRAIGHT" or read_header(path).get("DRSPID") == pid)
