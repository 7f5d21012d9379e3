"""A run on one page: what it came to, what went into it, how good it is, and its orders to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flatcore.caldb import RunRecord
from flatcore.report import quality, used
from flatcore.report.browser import browser_panels, plotting_script, reason_words
from flatcore.report.packing import packed_fibers
from flatcore.report.pictures import pictures_of
from flatcore.report.products import FiberPlanes, read_products
from flatcore.report.record import Record, fibers_of, list_of, mjd_of, table_of, time_of
from flatcore.report.render import write_page
from flatcore.report.verdict import verdict_of

# What a run was told where nothing was.
NOT_ASKED = ("", "default", "ALL")
# Warnings that are seen at once; the others unfold.
MOST_TOLD = 8


def page_path(data_root: Path, obs_dir: str, name: str) -> Path:
    """Where the page of an image of a run lies; of a run without images, by its identifier."""
    return data_root / "report" / obs_dir / f"{name}.html"


def write_pages(run: RunRecord, data_root: Path) -> tuple[Path, ...]:
    """Write the page of each image of a run, from its record, its products, and its figures if there are any.

    Parameters
    ----------
    run
        The run.
    data_root
        Folder that holds ``red/`` and ``plot/``; pages go to ``report/<observation directory>/``.

    Returns
    -------
    tuple of Path
        The pages: one per image, or one for a run that made none.

    Raises
    ------
    OutputError
        A page cannot be written; nothing is left half-written.
    """
    images = list_of(run.record, "images")
    if not images:
        path = page_path(data_root, run.obs_dir, run.pid)
        write_page(path, "run.html", **_content(run, None, data_root))
        return (path,)
    paths = []
    for image in images:
        paths.append(page_path(data_root, run.obs_dir, image["stem"]))
        write_page(paths[-1], "run.html", **_content(run, image, data_root))
    return tuple(paths)


def _content(run: RunRecord, image: Record | None, data_root: Path) -> dict[str, Any]:
    """Gather all that a page shows."""
    record = run.record
    content: dict[str, Any] = {
        "run": run,
        "took": _took(record),
        "asked": {name: value for name, value in table_of(record, "asked").items() if value not in NOT_ASKED},
        "versions": table_of(record, "versions"),
        "warnings": [*list_of(record, "warnings"), *list_of(record, "figure_problems")],
        "told": MOST_TOLD,
        "failed": [],
        "root": "../" * len(Path(run.obs_dir).parts),
        "verdict": verdict_of(run, image, ()),
        "stem": "",
        "missing": (),
        "summary": [],
        "used": [],
        "orders": [],
        "other": [],
        "pictures": (),
        "browser": None,
    }
    if image is None:
        return content
    fibers, missing = read_products(run, image, data_root)
    names = [name for name, _ in fibers_of(image)]
    return content | {
        "verdict": verdict_of(run, image, missing),
        "stem": image["stem"],
        "failed": [name for name, fiber in fibers_of(image) if not fiber["passed"]],
        "observed": time_of(mjd_of(image)),
        "readnoise_e": image.get("readnoise_e"),
        "missing": missing,
        "summary": [quality.fibers_table(image), quality.checks_table(image)],
        "used": [used.frames_table(image, record), used.calibrations_table(image, record)],
        "orders": [quality.orders_table(name, fiber) for name, fiber in fibers_of(image)],
        "other": [used.settings_table(record), used.timings_table(record)],
        "pictures": pictures_of(data_root / "plot" / run.obs_dir, image["stem"], names, run.started),
        "browser": _browser(fibers, image, record) if fibers else None,
    }


def _browser(fibers: Sequence[FiberPlanes], image: Record, record: Record) -> dict[str, Any]:
    facts = {name: [_facts(order) for order in list_of(fiber, "orders")] for name, fiber in fibers_of(image)}
    # The order that the profile shows alone; browser.js takes the last one where a fibre has fewer.
    start = int(table_of(table_of(record, "profile"), "plot").get("order", 0))
    return {
        # The library's script and the data are not text that anyone typed.
        "script": Markup(plotting_script()),
        "panels": browser_panels(),
        "data": packed_fibers(fibers) | {"reasons": reason_words(), "facts": facts, "start": start},
    }


def _facts(order: Record) -> str:
    """Say of an order what its plots do not say."""
    snr, rms, words = order.get("snr"), order.get("rms"), order.get("words")
    told = [
        str(order["verdict"]),
        f"S/N {snr:.0f}" if snr is not None else "",
        f"rms {rms:.4f}" if rms is not None else "",
    ]
    told += [f"blaze {order['rung']}" if order.get("rung") else "", str(words or "")]
    return " · ".join(text for text in told if text)


def _took(record: Record) -> float:
    return float(sum(table_of(record, "seconds").values()))
