"""Tables of the products."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from flatcore.hdu import Hdu, table_hdu
from flatcore.header import ascii_text
from flatcore.images import CombinedImage
from flatcore.products.context import RunContext
from flatcore.results import FiberResult, FrameCheck
from flatcore.spectra import Rung

# A, P, L, Q, C and s in tables.
BLAZE_TERMS = ("AMPLITUDE", "PERIOD", "CENTRE", "QUADRATIC", "CUBIC", "SLOPE")


def parameter_table(result: FiberResult, divisor: float, unit: str) -> Hdu:
    """Blaze parameters, their errors, the course of the fit, and figures of each order."""
    fits_of_orders, diagnostics = result.flat.fits, result.diagnostics
    values = np.stack([fit.parameters for fit in fits_of_orders])
    errors = np.stack([fit.errors for fit in fits_of_orders])
    columns: dict[str, Any] = {"ORDER": np.arange(len(fits_of_orders))}
    for i, name in enumerate(BLAZE_TERMS):
        scale = divisor if name == "AMPLITUDE" else 1.0
        columns[name] = values[:, i] / scale
        columns[f"{name}_ERR"] = errors[:, i] / scale
    columns |= {
        "RUNG": np.array([int(fit.rung) for fit in fits_of_orders]),
        "RUNG_NAME": np.array([fit.rung.words for fit in fits_of_orders]),
        "LOSS": np.array([fit.loss for fit in fits_of_orders]),
        "FITTED": np.array([np.count_nonzero(fit.fitted) for fit in fits_of_orders]),
        "EVALUATIONS": np.array([fit.evaluations for fit in fits_of_orders]),
        "MISFIT": np.array([fit.misfit for fit in fits_of_orders]),
        "DEPARTURE": np.array([fit.departure for fit in fits_of_orders]),
        "CHI2": diagnostics.chi2,
        "RESIDUAL_RMS": diagnostics.residual_rms,
        "SNR_MEASURED": diagnostics.snr_measured,
        "SNR_PHOTON": diagnostics.snr_photon,
        "SNR_RATIO": diagnostics.snr_ratio,
        "FRINGE_AMPLITUDE": diagnostics.fringe_amplitude,
        "FRINGE_PERIOD": diagnostics.fringe_period,
        "FRINGE_CHANCE": diagnostics.fringe_chance,
        "USABLE": np.isfinite(result.flat.flat).mean(axis=1),
        "VERDICT": np.array(result.qc.orders),
        "WORDS": np.array([ascii_text(words) for words in result.qc.words]),
        "PROBLEM": np.array([fit.problem for fit in fits_of_orders]),
        "REASONS": np.array([ascii_text("; ".join(fit.reasons)) for fit in fits_of_orders]),
    }
    return table_hdu("BLAZEPAR", columns, {"FITTED": "pixel", "FRINGE_PERIOD": "pixel"} | _term_units(unit))


def _term_units(unit: str) -> dict[str, str]:
    """Units of the blaze's terms and of their errors."""
    units = (unit, "pixel", "pixel", "1 / pixel", "1 / pixel2", "1 / pixel")
    return {f"{name}{suffix}": of for name, of in zip(BLAZE_TERMS, units, strict=True) for suffix in ("", "_ERR")}


def global_table(result: FiberResult, divisor: float, unit: str) -> Hdu | None:
    """Each order by the model of all orders, against its own blaze; none where there is no such model."""
    fits = result.flat.fits
    compared = [fit.compared for fit in fits if fit.compared is not None]
    if len(compared) != len(fits):
        return None
    columns: dict[str, Any] = {
        "ORDER": np.arange(len(fits)),
        "USED": np.array([fit.rung is Rung.GLOBAL for fit in fits]),
        "TAKES_PART": np.array([one.takes_part for one in compared]),
        "SNR": np.array([one.snr for one in compared]),
        "OWN_RUNG_NAME": np.array([one.own_rung.words for one in compared]),
        "RATIO_RMS": np.array([one.rms for one in compared]),
        "RATIO_MAX": np.array([one.greatest for one in compared]),
        "NUMBER": np.array([one.number for one in compared]),
        "LAMP": np.array([one.lamp for one in compared]) / divisor,
    }
    for i, name in enumerate(BLAZE_TERMS):
        scale = divisor if name == "AMPLITUDE" else 1.0
        columns[name] = np.array([one.parameters[i] for one in compared]) / scale
        columns[f"{name}_ERR"] = np.array([one.errors[i] for one in compared]) / scale
    return table_hdu("GLOBAL_BLAZE", columns, {"LAMP": unit} | _term_units(unit))


def checks_table(result: FiberResult) -> Hdu:
    """Quality checks of the fibre: what was measured and asked, whether it holds and decides, and words."""
    checks = result.qc.checks
    columns = {
        "NAME": np.array([check.name for check in checks]),
        "VALUE": np.array([check.value for check in checks], dtype=float),
        "LIMIT": np.array([check.limit for check in checks]),
        "PASSED": np.array([check.passed for check in checks], dtype=bool),
        "DECISIVE": np.array([check.decisive for check in checks], dtype=bool),
        "WORDS": np.array([ascii_text(check.words) for check in checks]),
    }
    return table_hdu("CHECKS", columns)


def frames_table(frames: Sequence[FrameCheck]) -> Hdu:
    """Each frame held to the combined image."""
    columns = {
        "FILENAME": np.array([ascii_text(frame.name) for frame in frames], dtype=str),
        "MJDMID": np.array([frame.mjd_mid for frame in frames], dtype=float),
        "LEVEL": np.array([frame.level for frame in frames], dtype=float),
        "SPREAD": np.array([frame.spread for frame in frames], dtype=float),
        "WORDS": np.array([ascii_text(frame.words) for frame in frames], dtype=str),
    }
    return table_hdu("FRAMES", columns, {"MJDMID": "d"})


def change_table(result: FiberResult) -> Hdu | None:
    """Change of flat and blaze since the previous night; none where there is no such night."""
    change = result.change
    if change is None:
        return None
    columns = {
        "ORDER": np.arange(change.flat.size),
        "FLAT_CHANGE": change.flat,
        "BLAZE_CHANGE": change.blaze,
        "LEVEL": change.level,
        "PREVIOUS": np.array([ascii_text(change.name)] * change.flat.size),
    }
    return table_hdu("CHANGE", columns)


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
