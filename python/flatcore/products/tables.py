"""Tables of the products."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from flatcore.header import ascii_text
from flatcore.images import CombinedImage
from flatcore.products.context import RunContext
from flatcore.results import FiberResult


def make_table(
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


def parameter_table(result: FiberResult, divisor: float, unit: str) -> Any:
    """Blaze parameters, their errors and the course of the fit, per order."""
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
    return make_table("BLAZEPAR", columns, units | {f"{k}_ERR": units[k] for k in names})


def qc_table(result: FiberResult) -> Any:
    """Signal to noise, rms, rejected pixels, level and verdict, per order."""
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
    return make_table("QC", columns, {"LEVEL": "adu", "REJECTED": "pixel"})


def settings_table(run: RunContext) -> Any:
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
    return make_table("SETTINGS", {"NAME": [row[0] for row in rows], "VALUE": [row[1] for row in rows]})


def inputs_table(combined: CombinedImage, run: RunContext) -> Any:
    """Frames and calibrations in use."""
    rows = [("FRAME", "", ascii_text(name), float("nan"), "", "") for name in combined.inputs]
    rows += [
        (c.keyname, c.fiber, ascii_text(c.path.name), c.mjd_mid, c.reason, c.sha256) for c in run.calibrations.chosen
    ]
    names = ("KEYNAME", "FIBER", "FILENAME", "MJDMID", "REASON", "SHA256")
    return make_table("INPUTS", {name: [row[i] for row in rows] for i, name in enumerate(names)})
