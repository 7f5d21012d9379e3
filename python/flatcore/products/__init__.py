"""Ninth stage: results to FITS products."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flatcore.fitsio import read_header, read_image, sha256_of, write_together
from flatcore.images import BackgroundMaps, CombinedImage, Image
from flatcore.products.context import RunContext, new_pid
from flatcore.products.debug import write_intermediates
from flatcore.products.hdus import background_hdus, blaze_hdus, e2dsll_hdus, flat_hdus, orderps_hdus
from flatcore.results import FiberResult, Product
from flatcore.version import VERSION

__all__ = [
    "RunContext",
    "is_kept",
    "new_pid",
    "read_straight_profile",
    "straight_profile_path",
    "write_intermediates",
    "write_products",
]

Hdus = Callable[[], list[Any]]

FIBER_PRODUCTS = {
    "FF_FLAT": ("flat", flat_hdus),
    "FF_BLAZE": ("blaze", blaze_hdus),
    "EXT_E2DS_LL": ("e2dsll", e2dsll_hdus),
}


def write_products(
    combined: CombinedImage,
    fibers: Mapping[str, FiberResult],
    straight_profiles: Mapping[str, Image],
    background: BackgroundMaps | None,
    run: RunContext,
) -> tuple[Product, ...]:
    """Write a result's products; all are complete before the first appears under its name.

    Parameters
    ----------
    straight_profiles
        Straightened order profiles that are not yet kept as products, by fibre.
    background
        The maps of the DEBUG_BACK product; None for none.

    Raises
    ------
    OutputError
        A product cannot be written; none is left behind.
    """
    files: dict[Path, Hdus] = {}
    products: list[tuple[str, str, Path]] = []

    def plan(kind: str, fiber: str, path: Path, hdus: Hdus) -> None:
        files[path] = hdus
        products.append((kind, fiber, path))

    for fiber, result in fibers.items():
        for kind, (suffix, maker) in FIBER_PRODUCTS.items():
            path = run.folder / f"{combined.stem}_{suffix}_{fiber}.fits"
            plan(kind, fiber, path, partial(maker, kind, combined, result, run))
    for fiber, image in straight_profiles.items():
        hdus = partial(orderps_hdus, combined, fiber, image, _profile_hash(run, fiber), run)
        plan("ORDERP_STRAIGHT", fiber, _kept_path(run, fiber), hdus)
    if background is not None:
        path = run.folder / f"{combined.stem}_background.fits"
        plan("DEBUG_BACK", "", path, partial(background_hdus, combined, background, run))
    write_together(files)
    return tuple(Product(kind, fiber, path, sha256_of(path)) for kind, fiber, path in products)


def straight_profile_path(folder: Path, shapel: Path, fiber: str) -> Path:
    """Where a fibre's straightened order profile is kept; named from the SHAPEL file."""
    return folder / f"{shapel.name.split('.fits')[0]}_orderps_{fiber}.fits"


def _kept_path(run: RunContext, fiber: str) -> Path:
    return straight_profile_path(run.folder, run.calibrations.file("SHAPEL").path, fiber)


def is_kept(run: RunContext, fiber: str) -> bool:
    """Tell whether a straightened order profile is kept that was made from the same files."""
    path = _kept_path(run, fiber)
    return path.is_file() and read_header(path).get("CDBHASH") == _profile_hash(run, fiber)


def read_straight_profile(run: RunContext, fiber: str) -> Image:
    """Read a kept straightened order profile."""
    return read_image(_kept_path(run, fiber))[1]


def _profile_hash(run: RunContext, fiber: str) -> str:
    """Hash the files a straightened order profile is made from, and of the version that made it."""
    source = run.profile.fibers[fiber].localisation
    files = [run.calibrations.file(key) for key in ("SHAPEL", "SHAPEX", "SHAPEY")]
    files.append(run.calibrations.file("ORDER_PROFILE", source))
    return hashlib.blake2b(" ".join([VERSION, *(f.sha256 for f in files)]).encode(), digest_size=16).hexdigest()
