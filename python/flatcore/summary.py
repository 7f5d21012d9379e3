"""A run's result in a form that JSON holds; NaN becomes null."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from flatcore.figures import Drawn
from flatcore.fingerprint import Fingerprint
from flatcore.instrument import Profile
from flatcore.night import Night
from flatcore.results import FiberResult, NightResult
from flatcore.settings import Settings

# Packages whose versions a run's record holds: what the numbers may depend on.
PACKAGES = ("flatcore", "numpy", "scipy", "astropy")


def summary_of(result: NightResult, settings: Settings, profile: Profile) -> dict[str, Any]:
    """Sum a night up: what went in, how, what came out, how good it is and how long it took."""
    return {
        "obs_dir": result.obs_dir,
        "instrument": result.instrument,
        "passed": result.passed,
        "images": [
            {
                "stem": image.stem,
                "inputs": list(image.inputs),
                "mjd_mid": _number(float(image.header.get("MJDMID", np.nan))),
                "readnoise_e": _number(image.readnoise_e),
                "frames": [
                    {
                        "name": frame.name,
                        "mjd_mid": _number(frame.mjd_mid),
                        "level": _number(frame.level),
                        "spread": _number(frame.spread),
                        "words": frame.words,
                    }
                    for frame in image.frames
                ],
                "fibers": {name: _fiber(fiber) for name, fiber in image.fibers.items()},
            }
            for image in result.images
        ],
        "products": [
            {
                "kind": product.kind,
                "fiber": product.fiber,
                "path": str(product.path),
                "sha256": product.sha256,
                "bytes": product.path.stat().st_size,
            }
            for product in result.products
        ],
        "calibrations": [
            {
                "keyname": file.keyname,
                "fiber": file.fiber,
                "path": str(file.path),
                "mjd_mid": _number(file.mjd_mid),
                "reason": file.reason,
                "sha256": file.sha256,
            }
            for file in result.calibrations
        ],
        "left_out": [{"path": str(frame.path), "reason": frame.reason} for frame in result.left_out],
        "warnings": list(result.warnings),
        "settings": settings.model_dump(mode="json"),
        "profile": profile.model_dump(mode="json"),
        "seconds": {name: round(seconds, 6) for name, seconds in result.seconds.items()},
    }


def record_of(
    night: Night,
    result: NightResult,
    figures: Drawn | None = None,
    fingerprint: Fingerprint | None = None,
    input_sha256: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Give all that a run's record tells: the summary, what was asked, with what it was made, and its fingerprint.

    Parameters
    ----------
    figures
        The figures that were saved.
    fingerprint
        Of the run; None where it left no record.
    input_sha256
        Hashes of the frames by name.
    """
    request = night.request
    record = summary_of(result, night.settings, night.profile) | {
        "pid": night.pid,
        "dprtype": night.selected.dprtype,
        "asked": {
            "instrument": str(getattr(request.instrument, "name", request.instrument) or ""),
            "preset": request.preset,
            "fiber": request.fiber,
            "set": " ".join(request.assignments),
            "files": " ".join(request.files),
        },
        "versions": {package: version(package) for package in PACKAGES} | {"python": platform.python_version()},
        "figures": [str(path) for path in figures.paths] if figures else [],
        "figure_problems": list(figures.problems) if figures else [],
    }
    if fingerprint is not None:
        record |= {
            "fingerprint": fingerprint.digest,
            "fingerprint_parts": dict(fingerprint.parts),
            "input_sha256": dict(input_sha256 or {}),
        }
    return record


def _fiber(fiber: FiberResult) -> dict[str, Any]:
    change = fiber.change
    return {
        "passed": fiber.qc.passed,
        "checks": [
            {
                "name": check.name,
                "value": _number(check.value),
                "limit": check.limit,
                "passed": check.passed,
                "decisive": check.decisive,
                "words": check.words,
            }
            for check in fiber.qc.checks
        ],
        "previous": None
        if change is None
        else {
            "name": change.name,
            "age_days": _number(change.age_days),
            "flat_change": [_number(value) for value in change.flat],
            "blaze_change": [_number(value) for value in change.blaze],
            "level": [_number(value) for value in change.level],
        },
        "orders": [_order(fiber, order) for order in range(len(fiber.qc.orders))],
    }


def _order(fiber: FiberResult, order: int) -> dict[str, Any]:
    fit, diagnostics, change = fiber.flat.fits[order], fiber.diagnostics, fiber.change
    amplitude, period, centre = (_number(value) for value in fit.parameters[:3])
    return {
        "order": order,
        "snr": _number(fiber.spectra.snr[order]),
        "rms": _number(fiber.flat.rms[order]),
        "rejected": fiber.spectra.rejected[order],
        "saturated": bool(fiber.spectra.saturated[order]),
        "rung": fit.rung.words,
        "loss": fit.loss,
        "reasons": list(fit.reasons),
        "amplitude_e": amplitude,
        "period": period,
        "centre": centre,
        **{field.name: _number(getattr(diagnostics, field.name)[order]) for field in dataclasses.fields(diagnostics)},
        "usable": float(np.isfinite(fiber.flat.flat[order]).mean()),
        "flat_change": None if change is None else _number(change.flat[order]),
        "blaze_change": None if change is None else _number(change.blaze[order]),
        "level_ratio": None if change is None else _number(change.level[order]),
        "verdict": fiber.qc.orders[order],
        "words": fiber.qc.words[order],
        "problem": fit.problem,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
