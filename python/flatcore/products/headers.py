"""Headers of the products."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from flatcore.hdu import Header, primary_header
from flatcore.header import ascii_text
from flatcore.images import CombinedImage
from flatcore.products.context import RunContext
from flatcore.results import FiberResult
from flatcore.version import VERSION, VERSION_DATE

# Keyword stems CDB... and CDT... of the calibrations by key.
CALIBRATION_KEYWORDS = {
    "DARKREF": "DARK",
    "BADPIX": "BAD",
    "BKGRDMAP": "BACK",
    "ORDER_PROFILE": "ORDP",
    "LOC": "LOCO",
    "SHAPEL": "SHAPL",
    "SHAPEX": "SHAPX",
    "SHAPEY": "SHAPY",
}
# Keywords that describe an HDU's own data, and none of another.
STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BSCALE", "BZERO", "BLANK", "BUNIT",
             "CHECKSUM", "DATASUM", "EXTNAME", "EXTVER")  # fmt: skip


def image_header(combined: CombinedImage, run: RunContext) -> Header:
    """Keywords that all products of an image share: those of the first input, and of the run."""
    header = combined.header.copy()
    # What describes the frame's own data, and the checks of the frame, are not the product's.
    for keyword in [*STRUCTURE, "NAXIS*", "QCC*"]:
        for found in list(header[keyword]) if keyword.endswith("*") else [keyword]:
            header.remove(found, ignore_missing=True, remove_all=True)
    header = primary_header(header)
    now = datetime.now(UTC)
    header["VERSION"] = (VERSION, "flatcore version")
    header["DRSPID"] = (run.pid, "run that made this file")
    header["DRSPDATE"] = (f"{now:%Y-%m-%dT%H:%M:%S}", "time of processing, UTC")
    header["DRSVDATE"] = (VERSION_DATE, "date of the version")
    header["DRSOUTID"] = ("", "product")
    header["DRSINST"] = (run.profile.name, "instrument profile")
    header["DRSPROG"] = (run.settings.run.program, "program name given")
    header["DRSSNAME"] = (run.settings.run.shortname, "short name of the run")
    header["DRSRKIND"] = (run.settings.run.recipe_kind, "kind of the run")
    header["DRSPARAL"] = (run.settings.run.parallel, "one of several at once")
    return header


def product_header(kind: str, shared: Header, run: RunContext, fiber: str = "") -> Header:
    """Add a product's kind, its fibre and the calibrations of that to the keywords of :func:`image_header`."""
    header = shared.copy()
    header["DRSOUTID"] = kind
    if fiber:
        header["FIBER"] = (fiber, "fibre")
    source = run.profile.fibers[fiber].localisation if fiber else ""
    for file in run.calibrations.chosen:
        if file.fiber in ("", source):
            stem = CALIBRATION_KEYWORDS[file.keyname]
            header[f"CDB{stem}"] = (ascii_text(file.path.name), f"{file.keyname} file")
            header[f"CDT{stem}"] = (_finite(file.mjd_mid), f"{file.keyname} time [MJD]")
    return header


def fiber_header(shared: Header, result: FiberResult, run: RunContext) -> Header:
    """Keywords that the products of a fibre share: run, quality control, extraction and blaze."""
    spectra, qc, settings = result.spectra, result.qc, run.settings
    fiber = run.profile.fibers[spectra.fiber]
    header = product_header("", shared, run, spectra.fiber)
    header["QCC_ALL"] = (qc.passed, "all quality checks passed")
    for i, check in enumerate(qc.checks, start=1):
        header[f"QCC{i:03d}N"] = (check.name, "quality check")
        header[f"QCC{i:03d}V"] = (_finite(check.value), "value measured")
        header[f"QCC{i:03d}L"] = (check.limit, "condition")
        header[f"QCC{i:03d}P"] = (int(check.passed), "1: passed")
        header[f"QCC{i:03d}D"] = (check.decisive, "the fibre fails with it")
    for order, snr in enumerate(spectra.snr):
        header[f"EXTSN{order:03d}"] = (_finite(snr), f"S/N of order {order} in the middle")
    header["EXTR1"] = (fiber.below, "extraction half-width below [pixel]")
    header["EXTR2"] = (fiber.above, "extraction half-width above [pixel]")
    header["EXTMETH"] = (settings.extract.method, "weights of the extraction")
    header["EXTCOS"] = (fiber.below + fiber.above > settings.extract.narrow_window, "outlying pixels were rejected")
    header["EXTCCUT"] = (settings.extract.rejection, "rejection limit [median distances]")
    header["EXTCTHRE"] = (settings.extract.narrow_window, "no rejection in windows this narrow [pixel]")
    header["EXTNREJ"] = (int(sum(spectra.rejected)), "pixels left out")
    header["EXTSATQC"] = (settings.extract.saturation_adu, "saturation limit [ADU]")
    header["EXTSMAX"] = (_finite(np.max(spectra.level_adu)), "greatest mean level [ADU]")
    header["EXTSAT"] = (bool(spectra.saturated.any()), "an order is above the limit")
    header["EFFRON"] = (_finite(result.spectra.readnoise_e), "effective read noise [electrons]")
    header["BLAZSCUT"] = (run.profile.blaze.cut, "blaze is NaN under this share of its amplitude")
    header["BLAZBPTL"] = (95.0, "percentile that scales the fit's limits")
    header["BLAZWID"] = (run.profile.blaze.median_width, "width of the median filter [pixel]")
    for order, rms in enumerate(result.flat.rms):
        header[f"FFRMS{order:03d}"] = (_finite(rms), f"rms of the flat of order {order}")
    return header


def _finite(value: float) -> float | str:
    """FITS headers hold no NaN; the text says so."""
    return float(value) if np.isfinite(value) else "NaN"
