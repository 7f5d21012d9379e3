"""The products of a run as its page shows them: the orders' planes, and which products are not there any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.caldb import RunRecord
from flatcore.errors import InputError
from flatcore.fitsio import opened, read_header
from flatcore.report.record import Record, fibers_of, list_of
from flatcore.spectra import Reasons, Spectra

# Kind of a product, and the planes that are taken from it; the first that has a plane gives it.
PLANES = {"FF_BLAZE": ("BLAZE", "E2DS", "MASK"), "FF_FLAT": ("FLAT", "MASK")}


@dataclass(frozen=True)
class Missing:
    """A product that a page does without, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class FiberPlanes:
    """Orders of a fibre, orders by columns; all NaN where the product of a plane is missing.

    Attributes
    ----------
    unit
        Of blaze and E2DS.
    """

    fiber: str
    unit: str
    blaze: Spectra
    e2ds: Spectra
    flat: Spectra
    mask: Reasons


def read_products(
    run: RunRecord, image: Record, data_root: Path
) -> tuple[tuple[FiberPlanes, ...], tuple[Missing, ...]]:
    """Read the orders of an image's fibres, and name the products that are not there or are another run's.

    Parameters
    ----------
    run
        The run.
    image
        An image of its record.
    data_root
        Products are looked for there too, should it have moved since.
    """
    fibers, missing = [], []
    there: dict[tuple[str, str], Path] = {}
    for product in _products_of(run.record, image):
        path = _located(Path(product["path"]), data_root, run.obs_dir)
        why = _missing(path, product["kind"], run.pid)
        if why:
            missing.append(Missing(path.name, why))
        else:
            there[product["kind"], product["fiber"]] = path
    for name, _ in fibers_of(image):
        planes: dict[str, NDArray[Any]] = {}
        unit = "electron"
        for kind, wanted in PLANES.items():
            if (file := there.get((kind, name))) is not None:
                try:
                    found, found_unit = _read_planes(file, wanted)
                except InputError as error:
                    missing.append(Missing(file.name, str(error)))
                    continue
                planes = found | planes
                unit = found_unit or unit
        if planes:
            fibers.append(_fiber(name, unit, planes))
    return tuple(fibers), tuple(missing)


def _products_of(record: Record, image: Record) -> Iterator[Mapping[str, Any]]:
    """Give the products of an image; those that all images share belong to each."""
    stems = [str(other["stem"]) for other in list_of(record, "images")]
    for product in list_of(record, "products"):
        name = Path(product["path"]).name
        owners = [stem for stem in stems if name.startswith(f"{stem}_")]
        if not owners or max(owners, key=len) == image["stem"]:
            yield product


def _located(path: Path, data_root: Path, obs_dir: str) -> Path:
    """Find a product where the run wrote it, or at its place in the data root of today."""
    moved = data_root / "red" / obs_dir / path.name
    return moved if not path.is_file() and moved.is_file() else path


def _missing(path: Path, kind: str, pid: str) -> str:
    """Say why a product cannot be shown as this run's; empty where it can."""
    if not path.is_file():
        return "the file is not there any more"
    try:
        made_by = read_header(path).get("DRSPID")
    except InputError as error:
        return str(error)
    # Straightened profiles are kept from run to run.
    return "" if kind == "ORDERP_STRAIGHT" or made_by == pid else f"made anew by another run, {made_by}"


def _read_planes(path: Path, wanted: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], str]:
    """Read planes by name, and the unit of the first.

    Raises
    ------
    InputError
        The file does not hold them.
    """
    with opened(path, path) as hdus:
        planes = {name: np.array(hdus[name].data) for name in wanted}
        unit = str(hdus[wanted[0]].header.get("BUNIT", ""))
    shapes = {plane.shape for plane in planes.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"{path}: planes of shapes {sorted(shapes)}, expected the same orders x columns")
    return planes, unit


def _fiber(name: str, unit: str, planes: dict[str, NDArray[Any]]) -> FiberPlanes:
    shape = planes["MASK"].shape

    def spectra(plane: str) -> Spectra:
        found = planes.get(plane)
        return np.full(shape, np.nan) if found is None or found.shape != shape else found.astype(float)

    mask = planes["MASK"].astype(np.int16)
    return FiberPlanes(name, unit, spectra("BLAZE"), spectra("E2DS"), spectra("FLAT"), mask)
