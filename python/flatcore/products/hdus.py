"""HDUs of each product, in their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.images import BackgroundMaps, CombinedImage, Image
from flatcore.products.context import RunContext, unit_of
from flatcore.products.headers import fiber_header, run_header
from flatcore.products.tables import inputs_table, make_table, parameter_table, qc_table, settings_table
from flatcore.results import FiberResult
from flatcore.spectra import Reason


def _image(data: NDArray[Any], name: str, unit: str = "", comment: str = "") -> Any:
    hdu = fits.ImageHDU(data, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    if comment:
        hdu.header["COMMENT"] = comment
    return hdu


def _extracted(data: NDArray[Any], name: str, unit: str = "", comment: str = "") -> Any:
    """Make the HDU of an extracted product, with the columns it covers.

    EXTEND here is the last column's end; the primary header's EXTEND is FITS's own.
    """
    hdu = _image(data, name, unit, comment)
    hdu.header["EXTSTART"] = (0, "first column extracted")
    hdu.header["EXTEND"] = (data.shape[1], "end of the columns extracted")
    return hdu


def _mask_hdu(result: FiberResult) -> Any:
    hdu = _image(result.flat.reasons, "MASK")
    for reason in Reason:
        hdu.header[f"MASKB{reason.value.bit_length() - 1:02d}"] = (reason.name, f"bit value {reason.value}")
    return hdu


def _tables(combined: CombinedImage, run: RunContext) -> list[Any]:
    """Tables that every product has."""
    return [settings_table(run), inputs_table(combined, run)]


def flat_hdus(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    """FF_FLAT: flat, error, mask."""
    flat = result.flat
    return [
        fits.PrimaryHDU(header=fiber_header(kind, combined, result, run)),
        _extracted(flat.flat, "FLAT", comment="E2DS over blaze, orders x columns"),
        _image(flat.flat_error, "ERROR", comment="photon and read noise"),
        _mask_hdu(result),
        qc_table(result),
        *_tables(combined, run),
    ]


def blaze_hdus(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    """FF_BLAZE: blaze, error, mask, spectrum."""
    flat = result.flat
    divisor, unit = unit_of(combined, run)
    return [
        fits.PrimaryHDU(header=fiber_header(kind, combined, result, run)),
        _extracted(flat.blaze / divisor, "BLAZE", unit, "fitted blaze, orders x columns"),
        _image(flat.blaze_error / divisor, "ERROR", unit, "standard error of the fit"),
        _mask_hdu(result),
        _image(flat.e2ds / divisor, "E2DS", unit, "extracted flux, masked as the blaze"),
        _image(result.spectra.e2ds_error / divisor, "E2DSERR", unit, "photon and read noise"),
        parameter_table(result, divisor, unit),
        qc_table(result),
        *_tables(combined, run),
    ]


def e2dsll_hdus(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    """EXT_E2DS_LL: stacked pixels, their weights, spectrum."""
    divisor, unit = unit_of(combined, run)
    windows = result.spectra.windows
    table = make_table("WINDOWS", {"ORDER": np.arange(len(windows)), "FIRST_ROW": np.array([w[0] for w in windows]),
                               "ROWS": np.array([w[1] for w in windows])})  # fmt: skip
    stacked = result.spectra.e2dsll
    return [
        fits.PrimaryHDU(header=fiber_header(kind, combined, result, run)),
        _extracted(
            stacked if divisor == 1.0 else (stacked / np.float32(divisor)), "E2DSLL", unit, "share of each pixel"
        ),
        _image(result.spectra.e2dscc, "E2DSCC", comment="1 kept, 0 rejected"),
        _image(result.spectra.e2ds / divisor, "E2DS", unit, "extracted flux, not masked"),
        qc_table(result),
        table,
        *_tables(combined, run),
    ]


def orderps_hdus(combined: CombinedImage, fiber: str, image: Image, profile_hash: str, run: RunContext) -> list[Any]:
    """ORDERP_STRAIGHT: the straightened order profile."""
    header = run_header("ORDERP_STRAIGHT", combined, run, fiber)
    header["CDBHASH"] = (profile_hash, "of the files this is made from")
    profile = _image(image, "ORDERP", comment="straightened order profile")
    return [fits.PrimaryHDU(header=header), profile, *_tables(combined, run)]


def background_hdus(combined: CombinedImage, maps: BackgroundMaps, run: RunContext) -> list[Any]:
    """DEBUG_BACK: the image before and after, and the maps."""
    header = run_header("DEBUG_BACK", combined, run)
    local = np.zeros_like(maps.original) if maps.local_map is None else maps.local_map
    cleaned = maps.original - local
    masked = np.where(run.calibrations.unlit != 0, cleaned, np.float32(np.nan))
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
    return [fits.PrimaryHDU(header=header), *images, *_tables(combined, run)]
