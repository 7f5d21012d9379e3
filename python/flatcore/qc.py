"""Eighth stage: quality control of a fibre's flat, as it is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flatcore import _core
from flatcore.instrument import Qc
from flatcore.results import FiberChange, FiberDiagnostics, FiberQc, FrameCheck, QcCheck
from flatcore.spectra import FiberFlat, Rung

# A fringe is told where it is this strong, and noise alone makes one as strong this rarely.
TOLD_FRINGE, TOLD_CHANCE = 0.005, 1e-3
# What is told of more than this many orders is cut short.
MOST_TOLD = 8


def check_fiber(
    flat: FiberFlat,
    limits: Qc,
    diagnostics: FiberDiagnostics,
    *,
    change: FiberChange | None = None,
    frames: Sequence[FrameCheck] = (),
    drift: float = float("nan"),
) -> FiberQc:
    """Check a fibre's flat, and each of its orders.

    Parameters
    ----------
    flat
        The fibre's flat.
    limits
        The instrument's limits, and the checks that decide.
    diagnostics
        Figures of each order.
    change
        Against the previous night; None without one.
    frames, drift
        Frames held to the combined one, and the lamp's drift through them; none for a single frame.
    """
    published = published_rms(flat)
    checks = [
        check_rms(flat.rms, limits),
        _largest(
            "published_rms", published, limits.max_published_rms or limits.max_rms, limits, "rms of the published flat"
        ),
        _rungs(flat, limits),
        _least("usable", np.isfinite(flat.flat).mean(axis=1), limits.min_usable, limits, "columns with a flat"),
        _least("snr_ratio", diagnostics.snr_ratio, limits.min_snr_ratio, limits, "S/N over the photons'"),
    ]
    if change is not None:
        since = f"since {change.name}"
        checks += [
            _largest("flat_change", change.flat, limits.max_flat_change, limits, f"change of the flat {since}"),
            _largest("blaze_change", change.blaze, limits.max_blaze_change, limits, f"change of the blaze {since}"),
        ]
    if frames:
        checks.append(check_stability(frames, drift, limits))
    return FiberQc(flat.fiber, tuple(checks), order_verdicts(flat.rms, limits), order_words(flat, limits, diagnostics))


def published_rms(flat: FiberFlat) -> NDArray[np.float64]:
    """Robust scatter of each order's flat over all columns that have a value; NaN where none has."""
    return np.array([_core.robust_sigma(np.ascontiguousarray(row)) for row in flat.flat])


def check_rms(rms: NDArray[np.float64], limits: Qc) -> QcCheck:
    """Check that the largest rms of the flat stays below the limit; an order without a flat fails.

    Parameters
    ----------
    rms
        Scatter of the flat per order; NaN where there is no flat.
    """
    return _largest("max_rms", rms, limits.max_rms, limits, "rms of the flat")


def check_stability(frames: Sequence[FrameCheck], drift: float, limits: Qc) -> QcCheck:
    """Check that every frame has the combined image's light, and that the lamp did not drift."""
    departures = [max(abs(frame.level - 1.0), frame.spread) for frame in frames]
    values = [*departures, *([abs(drift)] if np.isfinite(drift) else [])]
    worst = float(np.max(values)) if values else float("nan")
    told = [f"{frame.name}: {frame.words}" for frame in frames if frame.words]
    if abs(drift) > limits.max_frame_change:
        told.append(f"the lamp drifted by {drift:+.1%} from the first to the last frame")
    passed = not told and not np.isnan(worst)
    return QcCheck(
        "frames",
        worst,
        f"departure of frames < {limits.max_frame_change:g}",
        passed,
        "frames" in limits.decisive,
        "; ".join(told),
    )


def order_verdicts(rms: NDArray[np.float64], limits: Qc) -> tuple[str, ...]:
    """Give each order's own verdict: pass, fail, or skipped."""
    return tuple(
        "skipped" if order in limits.skip_orders else "pass" if value < limits.max_rms else "fail"
        for order, value in enumerate(rms)
    )


def order_words(flat: FiberFlat, limits: Qc, diagnostics: FiberDiagnostics) -> tuple[str, ...]:
    """Say of each order what its figures do not say by themselves."""
    return tuple(_order_words(flat, limits, diagnostics, order) for order in range(len(flat.fits)))


def _order_words(flat: FiberFlat, limits: Qc, diagnostics: FiberDiagnostics, order: int) -> str:
    fit, rms = flat.fits[order], flat.rms[order]
    told = []
    if fit.rung is Rung.NONE:
        told.append(f"no blaze: {fit.problem}")
    elif fit.rung >= Rung.PREDICTED:
        how = "predicted from the other orders" if fit.rung is Rung.PREDICTED else "a spline"
        told.append(f"blaze {how}: {fit.reasons[0]}" if fit.reasons else f"blaze {how}")
    elif fit.reasons:
        robust = ", robust" if fit.loss == "soft_l1" else ""
        told.append(f"blaze {fit.rung.words}{robust}: {fit.reasons[0]}")
    if fit.rung is not Rung.NONE and not rms < limits.max_rms and order not in limits.skip_orders:
        told.append(f"rms {rms:.4f} is not below {limits.max_rms:g}" if np.isfinite(rms) else "no flat")
    amplitude, chance = diagnostics.fringe_amplitude[order], diagnostics.fringe_chance[order]
    if amplitude > TOLD_FRINGE and chance < TOLD_CHANCE:
        told.append(f"fringes of {amplitude:.1%}, {diagnostics.fringe_period[order]:.1f} pixels")
    return "; ".join(told)


def _asked(size: int, limits: Qc) -> NDArray[np.int_]:
    """Orders that are asked."""
    return np.setdiff1d(np.arange(size), limits.skip_orders)


def _largest(name: str, values: NDArray[np.float64], limit: float, limits: Qc, what: str) -> QcCheck:
    return _check(name, values, f"{name} < {limit:g}", lambda value: value < limit, np.argmax, limits, what)


def _least(name: str, values: NDArray[np.float64], limit: float, limits: Qc, what: str) -> QcCheck:
    return _check(name, values, f"{name} > {limit:g}", lambda value: value > limit, np.argmin, limits, what)


def _check(  # noqa: PLR0917 - what makes a check
    name: str,
    values: NDArray[np.float64],
    condition: str,
    holds: Callable[[float], bool],
    worst_of: Callable[[NDArray[np.float64]], np.intp],
    limits: Qc,
    what: str,
) -> QcCheck:
    """Check the worst of the orders asked; an order without a value fails."""
    orders = _asked(values.size, limits)
    asked = values[orders]
    failing = [int(order) for order, value in zip(orders, asked, strict=True) if not holds(float(value))]
    # With every order skipped there is nothing that could fail.
    unknown = asked.size == 0 or bool(np.isnan(asked).any())
    worst = float("nan") if unknown else float(asked[worst_of(asked)])
    words = f"{what} of order{'s' if len(failing) > 1 else ''} {_listed(failing)}: {condition}" if failing else ""
    return QcCheck(name, worst, condition, not failing, name in limits.decisive, words)


def _rungs(flat: FiberFlat, limits: Qc) -> QcCheck:
    """Check that every order asked has a sinc^2 of its own."""
    asked = _asked(len(flat.fits), limits)
    rungs = np.array([int(flat.fits[order].rung) for order in asked], dtype=float)
    failing = [int(order) for order, rung in zip(asked, rungs, strict=True) if rung >= Rung.PREDICTED]
    return QcCheck(
        "blaze_rung",
        float(rungs.max()) if rungs.size else float("nan"),
        f"blaze_rung < {int(Rung.PREDICTED)}",
        not failing,
        "blaze_rung" in limits.decisive,
        f"no own sinc^2 for order{'s' if len(failing) > 1 else ''} {_listed(failing)}" if failing else "",
    )


def _listed(orders: Sequence[int]) -> str:
    told = ", ".join(str(order) for order in orders[:MOST_TOLD])
    return told if len(orders) <= MOST_TOLD else f"{told} and {len(orders) - MOST_TOLD} more"
