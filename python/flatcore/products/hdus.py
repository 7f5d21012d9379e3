"""HDUs of each product, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.hdu import Hdu, Header, image_hdu, primary_hdu, table_hdu
from flatcore.images import BackgroundMaps, CombinedImage, Image
from flatcore.products.context import RunContext, unit_of
from flatcore.products.headers import fiber_header, image_header, product_header
from flatcore.products.tables import (
    change_table,
    checks_table,
    frames_table,
    global_table,
    inputs_table,
    parameter_table,
    qc_table,
    settings_table,
)
from flatcore.results import FiberResult, FrameCheck
from flatcore.spectra import Reason


@dataclass(frozen=True)
class Shared:
    """What all products of an image hold, made once.

    Attributes
    ----------
    header
        Keywords of the first input and of the run.
    tables
        SETTINGS and INPUTS.
    frames
        FRAMES, where several were combined.
    divisor, unit
        Of E2DS-like products.
    """

    run: RunContext
    header: Header
    tables: tuple[Hdu, ...]
    frames: tuple[Hdu, ...]
    divisor: float
    unit: str


def shared_parts(combined: CombinedImage, frames: Sequence[FrameCheck], run: RunContext) -> Shared:
    """Make what all products of an image hold."""
    tables = settings_table(run), inputs_table(combined, run)
    checked = (frames_table(frames),) if frames else ()
    return Shared(run, image_header(combined, run), tables, checked, *unit_of(combined, run))


def fiber_hdus(shared: Shared, result: FiberResult) -> dict[str, list[Hdu]]:
    """HDUs of a fibre's products by kind."""
    header, mask, qc = fiber_header(shared.header, result, shared.run), _mask_hdu(result), qc_table(result)
    change = change_table(result)
    checked = [qc, checks_table(result), *((change,) if change else ()), *shared.frames]
    kinds = {
        "FF_FLAT": [*_flat_hdus(result, mask), *checked],
        "FF_BLAZE": [*_blaze_hdus(shared, result, mask), *checked],
        "EXT_E2DS_LL": [*_e2dsll_hdus(shared, result), qc, _windows_table(result)],
    }
    products = {}
    for kind, hdus in kinds.items():
        header["DRSOUTID"] = kind
        products[kind] = [primary_hdu(header), *hdus, *shared.tables]
    return products


def orderps_hdus(shared: Shared, fiber: str, image: Image, profile_hash: str) -> list[Hdu]:
    """ORDERP_STRAIGHT: the straightened order profile."""
    header = product_header("ORDERP_STRAIGHT", shared.header, shared.run, fiber)
    header["CDBHASH"] = (profile_hash, "of the files this is made from")
    profile = image_hdu(image, "ORDERP", comment="straightened order profile")
    return [primary_hdu(header), profile, *shared.tables]


def background_hdus(shared: Shared, maps: BackgroundMaps) -> list[Hdu]:
    """DEBUG_BACK: the image before and after, and the maps."""
    header = product_header("DEBUG_BACK", shared.header, shared.run)
    local = np.zeros_like(maps.original) if maps.local_map is None else maps.local_map
    cleaned = maps.original - local
    masked = np.where(shared.run.calibrations.unlit != 0, cleaned, np.float32(np.nan))
    planes = (
        ("CORRECTED", maps.corrected, "image minus the global map"),
        ("ORIGINAL", maps.original, "image before"),
        ("LOCALCORR", cleaned, "image minus the local map"),
        ("MASKED", masked, "unlit pixels of LOCALCORR"),
        ("LOCAL", local, "scattered light"),
        ("GLOBAL", maps.global_map, "global map"),
        ("CELLS", maps.cells, "cells of the global map"),
    )
    images = (_image(data, name, "electron", text) for name, data, text in planes)
    return [primary_hdu(header), *images, *shared.tables]


def _flat_hdus(result: FiberResult, mask: Hdu) -> list[Hdu]:
    """FF_FLAT: flat, error, mask."""
    flat = result.flat
    return [
        _extracted(flat.flat, "FLAT", comment="E2DS over blaze, orders x columns"),
        _image(flat.flat_error, "ERROR", comment="photon and read noise"),
        mask,
    ]


def _blaze_hdus(shared: Shared, result: FiberResult, mask: Hdu) -> list[Hdu]:
    """FF_BLAZE: blaze, error, mask, spectrum."""
    flat, divisor, unit = result.flat, shared.divisor, shared.unit
    compared = global_table(result, divisor, unit)
    return [
        _extracted(flat.blaze / divisor, "BLAZE", unit, "fitted blaze, orders x columns"),
        _image(flat.blaze_error / divisor, "ERROR", unit, "standard error of the fit"),
        mask,
        _image(flat.e2ds / divisor, "E2DS", unit, "extracted flux, masked as the blaze"),
        _image(result.spectra.e2ds_error / divisor, "E2DSERR", unit, "photon and read noise"),
        parameter_table(result, divisor, unit),
        *((compared,) if compared else ()),
    ]


def _e2dsll_hdus(shared: Shared, result: FiberResult) -> list[Hdu]:
    """EXT_E2DS_LL: stacked pixels, their weights, spectrum."""
    spectra, divisor, unit = result.spectra, shared.divisor, shared.unit
    stacked = spectra.e2dsll if divisor == 1.0 else spectra.e2dsll / np.float32(divisor)
    return [
        _extracted(stacked, "E2DSLL", unit, "share of each pixel"),
        _image(spectra.e2dscc, "E2DSCC", comment="1 kept, 0 rejected"),
        _image(spectra.e2ds / divisor, "E2DS", unit, "extracted flux, not masked"),
        _image(spectra.e2ds_error / divisor, "E2DSERR", unit, "photon and read noise"),
    ]


def _windows_table(result: FiberResult) -> Hdu:
    windows = np.array(result.spectra.windows)
    columns = {"ORDER": np.arange(len(windows)), "FIRST_ROW": windows[:, 0], "ROWS": windows[:, 1]}
    return table_hdu("WINDOWS", columns)


def _mask_hdu(result: FiberResult) -> Hdu:
    bits = {f"MASKB{r.value.bit_length() - 1:02d}": (r.name, f"bit value {r.value}") for r in Reason}
    return image_hdu(result.flat.reasons, "MASK", bits)


def _image(data: NDArray[Any], name: str, unit: str = "", comment: str = "") -> Hdu:
    return image_hdu(data, name, {"BUNIT": unit} if unit else {}, comment)


def _extracted(data: NDArray[Any], name: str, unit: str = "", comment: str = "") -> Hdu:
    """Make the HDU of an extracted product, with the columns it covers.

    EXTEND here is the last column's end; the primary header's EXTEND is FITS's own.
    """
    covered = {"EXTSTART": (0, "first column extracted"), "EXTEND": (data.shape[1], "end of the columns extracted")}
    return image_hdu(data, name, ({"BUNIT": unit} if unit else {}) | covered, comment)
