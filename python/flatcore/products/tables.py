"""Tables of the products."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flatcore.hdu import Hdu, table_hdu
from flatcore.header import ascii_text
from flatcore.images import CombinedImage
from flatcore.products.context import RunContext
from flatcore.results import FiberResult


def parameter_table(result: FiberResult, divisor: float, unit: str) -> Hdu:
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
    return table_hdu("BLAZEPAR", columns, units | {f"{k}_ERR": units[k] for k in names})


def qc_table(result: FiberResult) -> Hdu:
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
    return table_hdu("QC", columns, {"LEVEL": "adu", "REJECTED": "pixel"})


def settings_table(run: RunContext) -> Hdu:
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
    return table_hdu("SETTINGS", {"NAME": [row[0] for row in rows], "VALUE": [row[1] for row in rows]})


def inputs_table(combined: CombinedImage, run: RunContext) -> Hdu:
    """Frames and calibrations in use."""
    rows = [("FRAME", "", ascii_text(name), float("nan"), "", "") for name in combined.inputs]
    rows += [
        (c.keyname, c.fiber, ascii_text(c.path.name), c.mjd_mid, c.reason, c.sha256) for c in run.calibrations.chosen
    ]
    names = ("KEYNAME", "FIBER", "FILENAME", "MJDMID", "REASON", "SHA256")
    return table_hdu("INPUTS", {name: [row[i] for row in rows] for i, name in enumerate(names)})
