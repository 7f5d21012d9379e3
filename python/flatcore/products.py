"""Ninth stage: results to FITS products."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.calibrations import Calibrations
from flatcore.fitsio import Header, read_header, read_image, sha256_of, write_together
from flatcore.instrument import Profile
from flatcore.results import BackgroundMaps, CombinedImage, FiberResult, Image, Product, Reason
from flatcore.settings import Settings
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

Hdus = Callable[[], list[Any]]


@dataclass(frozen=True)
class RunContext:
    """What every product of a run says of it."""

    folder: Path
    pid: str
    profile: Profile
    settings: Settings
    calibrations: Calibrations


def new_pid() -> str:
    """Give a new identifier of a run: its start to the microsecond, UTC."""
    return f"PID-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"


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
        plan(
            "ORDERP_STRAIGHT", fiber, straight_profile_path(run, fiber), partial(_orderps, combined, fiber, image, run)
        )
    if background is not None:
        path = run.folder / f"{combined.stem}_background.fits"
        plan("DEBUG_BACK", "", path, partial(_background, combined, background, run))
    write_together(files)
    return tuple(Product(kind, fiber, path, sha256_of(path)) for kind, fiber, path in products)


def straight_profile_path(run: RunContext, fiber: str) -> Path:
    """Where a fibre's straightened order profile is kept; named from the SHAPEL file."""
    return run.folder / f"{_bare(run.calibrations.file('SHAPEL').path)}_orderps_{fiber}.fits"


def is_kept(run: RunContext, fiber: str) -> bool:
    """Tell whether a straightened order profile is kept that was made from the same files."""
    path = straight_profile_path(run, fiber)
    return path.is_file() and read_header(path).get("CDBHASH") == _profile_hash(run, fiber)


def read_straight_profile(run: RunContext, fiber: str) -> Image:
    """Read a kept straightened order profile."""
    return read_image(straight_profile_path(run, fiber))[1]


def _bare(path: Path) -> str:
    return path.name.split(".fits")[0]


def _profile_hash(run: RunContext, fiber: str) -> str:
    """Short hash of the files a straightened order profile is made from, and of the version that made it."""
    source = run.profile.fibers[fiber].localisation
    files = [run.calibrations.file(key) for key in ("SHAPEL", "SHAPEX", "SHAPEY")]
    files.append(run.calibrations.file("ORDER_PROFILE", source))
    return hashlib.blake2b(" ".join([VERSION, *(f.sha256 for f in files)]).encode(), digest_size=16).hexdigest()


def _run_header(kind: str, combined: CombinedImage, run: RunContext, fiber: str = "") -> Header:
    """Keywords of the first input, and those of the run."""
    header = combined.header.copy()
    for keyword in STRUCTURE:
        header.remove(keyword, ignore_missing=True, remove_all=True)
    now = datetime.now(UTC)
    header["VERSION"] = (VERSION, "flatcore version")
    header["DRSPID"] = (run.pid, "run that made this file")
    header["DRSPDATE"] = (f"{now:%Y-%m-%dT%H:%M:%S}", "time of processing, UTC")
    header["DRSVDATE"] = (VERSION_DATE, "date of the version")
    header["DRSOUTID"] = (kind, "product")
    header["DRSINST"] = (run.profile.name, "instrument profile")
    if fiber:
        header["FIBER"] = (fiber, "fibre")
    source = run.profile.fibers[fiber].localisation if fiber else ""
    for file in run.calibrations.chosen:
        if file.fiber in ("", source):
            stem = CALIBRATION_KEYWORDS[file.keyname]
            header[f"CDB{stem}"] = (file.path.name, f"{file.keyname} file")
            header[f"CDT{stem}"] = (_finite(file.mjd_mid), f"{file.keyname} time [MJD]")
    return header


def _fiber_header(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> Header:
    """Keywords of a fibre's product: run, quality control, extraction and blaze."""
    spectra, qc, settings = result.spectra, result.qc, run.settings
    fiber = run.profile.fibers[spectra.fiber]
    header = _run_header(kind, combined, run, spectra.fiber)
    header["QCC_ALL"] = (qc.passed, "all quality checks passed")
    for i, check in enumerate(qc.checks, start=1):
        header[f"QCC{i:03d}N"] = (check.name, "quality check")
        header[f"QCC{i:03d}V"] = (_finite(check.value), "value measured")
        header[f"QCC{i:03d}L"] = (check.limit, "condition")
        header[f"QCC{i:03d}P"] = (int(check.passed), "1: passed")
    for order, snr in enumerate(spectra.snr):
        header[f"EXTSN{order:03d}"] = (_finite(snr), f"S/N of order {order} in the middle")
    header["EXTSTART"] = (0, "first column extracted")
    header["EXTEND"] = (spectra.e2ds.shape[1], "end of the columns extracted")
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
    header["EFFRON"] = (result.spectra.readnoise_e, "effective read noise [electrons]")
    header["BLAZSCUT"] = (run.profile.blaze.cut, "blaze is NaN under this share of its amplitude")
    header["BLAZBPTL"] = (95.0, "percentile that scales the fit's limits")
    header["BLAZWID"] = (run.profile.blaze.median_width, "width of the median filter [pixel]")
    for order, rms in enumerate(result.flat.rms):
        header[f"FFRMS{order:03d}"] = (_finite(rms), f"rms of the flat of order {order}")
    return header


def _finite(value: float) -> float | str:
    """FITS headers hold no NaN; the text says so."""
    return float(value) if np.isfinite(value) else "NaN"


def _unit(combined: CombinedImage, run: RunContext) -> tuple[float, str]:
    """Divisor and name of the unit of E2DS-like products."""
    if run.settings.extract.fluxunits == "e-":
        return 1.0, "electron"
    return combined.exposure.electrons_per_unit, "adu / s"


def _image(data: NDArray[Any], name: str, unit: str = "", comment: str = "") -> Any:
    hdu = fits.ImageHDU(data, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    if comment:
        hdu.header["COMMENT"] = comment
    return hdu


def _mask_hdu(result: FiberResult) -> Any:
    hdu = _image(result.flat.reasons, "MASK")
    for reason in Reason:
        hdu.header[f"MASKB{reason.value.bit_length() - 1:02d}"] = (reason.name, f"bit value {reason.value}")
    return hdu


def _flat(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    flat = result.flat
    return [
        fits.PrimaryHDU(header=_fiber_header(kind, combined, result, run)),
        _image(flat.flat, "FLAT", comment="E2DS over blaze, orders x columns"),
        _image(flat.flat_error, "ERROR", comment="photon and read noise"),
        _mask_hdu(result),
        _qc_table(result),
        _settings_table(run),
        _inputs_table(combined, run),
    ]


def _blaze(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    flat = result.flat
    divisor, unit = _unit(combined, run)
    return [
        fits.PrimaryHDU(header=_fiber_header(kind, combined, result, run)),
        _image(flat.blaze / divisor, "BLAZE", unit, "fitted blaze, orders x columns"),
        _image(flat.blaze_error / divisor, "ERROR", unit, "standard error of the fit"),
        _mask_hdu(result),
        _image(flat.e2ds / divisor, "E2DS", unit, "extracted flux, masked as the blaze"),
        _image(result.spectra.e2ds_error / divisor, "E2DSERR", unit, "photon and read noise"),
        _parameter_table(result, divisor, unit),
        _qc_table(result),
        _settings_table(run),
        _inputs_table(combined, run),
    ]


def _e2dsll(kind: str, combined: CombinedImage, result: FiberResult, run: RunContext) -> list[Any]:
    divisor, unit = _unit(combined, run)
    windows = result.spectra.windows
    table = _table("WINDOWS", {"ORDER": np.arange(len(windows)), "FIRST_ROW": np.array([w[0] for w in windows]),
                               "ROWS": np.array([w[1] for w in windows])})  # fmt: skip
    stacked = result.spectra.e2dsll
    return [
        fits.PrimaryHDU(header=_fiber_header(kind, combined, result, run)),
        _image(stacked if divisor == 1.0 else (stacked / np.float32(divisor)), "E2DSLL", unit, "share of each pixel"),
        _image(result.spectra.e2dscc, "E2DSCC", comment="1 kept, 0 rejected"),
        _image(result.spectra.e2ds / divisor, "E2DS", unit, "extracted flux, not masked"),
        table,
        _settings_table(run),
        _inputs_table(combined, run),
    ]


def _orderps(combined: CombinedImage, fiber: str, image: Image, run: RunContext) -> list[Any]:
    header = _run_header("ORDERP_STRAIGHT", combined, run, fiber)
    header["CDBHASH"] = (_profile_hash(run, fiber), "of the files this is made from")
    return [fits.PrimaryHDU(header=header), _image(image, "ORDERP", comment="straightened order profile")]


def _background(combined: CombinedImage, maps: BackgroundMaps, run: RunContext) -> list[Any]:
    header = _run_header("DEBUG_BACK", combined, run)
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
    return [fits.PrimaryHDU(header=header), *(_image(data, name, "electron", text) for name, data, text in planes)]


FIBER_PRODUCTS = {
    "FF_FLAT": ("flat", _flat),
    "FF_BLAZE": ("blaze", _blaze),
    "EXT_E2DS_LL": ("e2dsll", _e2dsll),
}


def _table(
    name: str, columns: Mapping[str, Sequence[Any] | NDArray[Any]], units: Mapping[str, str] | None = None
) -> Any:
    """Make a binary table; text columns are as wide as their longest entry."""
    arrays = {key: np.asarray(values) for key, values in columns.items()}
    formats = {"f": "D", "i": "J", "b": "L", "u": "J"}
    made = []
    for key, array in arrays.items():
        text = array.dtype.kind in "US"
        form = f"{max(array.dtype.itemsize // 4, 1)}A" if text else formats[array.dtype.kind]
        made.append(fits.Column(key, form, array=array, unit=(units or {}).get(key)))
    return fits.BinTableHDU.from_columns(made, name=name)


def _parameter_table(result: FiberResult, divisor: float, unit: str) -> Any:
    fits_of_orders = result.flat.fits
    values = np.stack([fit.parameters for fit in fits_of_orders])
    errors = np.stack([fit.errors for fit in fits_of_orders])
    columns: dict[str, Any] = {"ORDER": np.arange(len(fits_of_orders))}
    names = ("AMPLITUDE", "PERIOD", "CENTRE", "QUADRATIC", "CUBIC", "SLOPE")
    for i, name in enumerate(names):
        scale = divisor if name == "AMPLITUDE" else 1.0
        columns[name] = values[:, i] / scale
        columns[f"{name}_ERR"] = errors[:, i] / scale
    columns["FITTED"] = np.array([np.count_nonzero(fit.fitted) for fit in fits_of_orders])
    columns["EVALUATIONS"] = np.array([fit.evaluations for fit in fits_of_orders])
    columns["PROBLEM"] = np.array([fit.problem for fit in fits_of_orders])
    units = {"AMPLITUDE": unit, "PERIOD": "pixel", "CENTRE": "pixel", "QUADRATIC": "1 / pixel", "CUBIC": "1 / pixel2",
             "SLOPE": "1 / pixel", "FITTED": "pixel"}  # fmt: skip
    return _table("BLAZEPAR", columns, units | {f"{k}_ERR": units[k] for k in names})


def _qc_table(result: FiberResult) -> Any:
    spectra, flat = result.spectra, result.flat
    columns = {
        "ORDER": np.arange(len(flat.rms)),
        "SNR": spectra.snr,
        "RMS_BEFORE": flat.rms_before,
        "RMS": flat.rms,
        "REJECTED": np.asarray(spectra.rejected),
        "LEVEL": spectra.level_adu,
        "SATURATED": spectra.saturated,
        "USABLE": np.isfinite(flat.flat).mean(axis=1),
        "VERDICT": np.array(result.qc.orders),
    }
    return _table("QC", columns, {"LEVEL": "adu", "REJECTED": "pixel"})


def _settings_table(run: RunContext) -> Any:
    """Every setting and every value of the profile, as text."""
    tables = {**run.profile.model_dump(mode="json"), "settings": run.settings.model_dump(mode="json")}
    rows: list[tuple[str, str]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                walk(f"{prefix}.{key}" if prefix else key, below)
        else:
            rows.append((prefix, json.dumps(value)))

    walk("", tables)
    return _table("SETTINGS", {"NAME": [row[0] for row in rows], "VALUE": [row[1] for row in rows]})


def _inputs_table(combined: CombinedImage, run: RunContext) -> Any:
    """Frames and calibrations in use."""
    rows = [("FRAME", "", name, float("nan"), "", "") for name in combined.inputs]
    rows += [(c.keyname, c.fiber, c.path.name, c.mjd_mid, c.reason, c.sha256) for c in run.calibrations.chosen]
    names = ("KEYNAME", "FIBER", "FILENAME", "MJDMID", "REASON", "SHA256")
    return _table("INPUTS", {name: [row[i] for row in rows] for i, name in enumerate(names)})
