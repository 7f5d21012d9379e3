"""The model of all orders in use: which orders it is fitted to, which take its blaze, and how both compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.blaze.jointfit import JointFit, fit_jointly
from flatcore.blaze.leastsquares import own_start
from flatcore.blaze.model import Vector, sinc2
from flatcore.blaze.noise import NORMAL
from flatcore.blaze.order import Order
from flatcore.blaze.rungs import Candidate, candidate_of_sinc2
from flatcore.blaze.trial import Trial, fit_of
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import BlazeFit, Comparison, Rung

# Fewer orders than this do not tell what is smooth.
LEAST_ORDERS = 5
# Light is there where the order's amplitude is this many times its error.
LEAST_SIGNIFICANCE = 5.0
# Columns this many times the limit of the robust loss off a robust fit are no blaze.
FAR_OFF = 2.0
ITERATIONS = 30

WhyNot = Callable[[Candidate, Any], str]


def with_global_model(
    orders: Sequence[Order], fits: Sequence[BlazeFit], blaze: Blaze, settings: BlazeSettings, why_not: WhyNot
) -> tuple[BlazeFit, ...]:
    """Fit the model of all orders, compare it with every order's blaze, and give it to those that the settings name.

    Parameters
    ----------
    orders, fits
        The orders of a fibre, and their blazes without the model.
    blaze
        Cut of the instrument.
    settings
        Which orders take the model's blaze.
    why_not
        Says why a candidate does not bear; nothing where it does.
    """
    faint = {i for i, order in enumerate(orders) if order.p95 > 0 and order.snr < settings.faint_snr}
    wanting = [
        i for i, fit in enumerate(fits) if settings.model == "global" or i in faint or fit.rung >= Rung.PREDICTED
    ]
    try:
        joint, lit = _fit(orders, fits, faint, settings.low)
    except (ValueError, np.linalg.LinAlgError) as error:
        return tuple(_refused(fit, str(error)) if i in wanting else fit for i, fit in enumerate(fits))
    scatter = _scatter(joint, orders, fits, faint)
    made = []
    for i, (order, fit) in enumerate(zip(orders, fits, strict=True)):
        candidate = _candidate(joint, i, lit.get(i, order), scatter)
        compared = _comparison(joint, i, candidate, fit)
        kept = dataclasses.replace(fit, compared=compared)
        if i not in wanting:
            made.append(kept)
            continue
        reason = why_not(candidate, None)
        if reason:
            made.append(_refused(kept, reason))
            continue
        trial = Trial(candidate, _reasons(order, fit, settings.faint_snr), fit.evaluations)
        made.append(dataclasses.replace(fit_of(trial, blaze, None), compared=compared))
    return tuple(made)


def _refused(fit: BlazeFit, reason: str) -> BlazeFit:
    """Add why an order that was to have the model's blaze has it not; the last reason stays the last."""
    return dataclasses.replace(fit, reasons=(f"{Rung.GLOBAL.words}: {reason}", *fit.reasons))


def _reasons(order: Order, fit: BlazeFit, faint_snr: float) -> tuple[str, ...]:
    """Say why the order does without a blaze of its own; nothing where it could have one."""
    if order.snr < faint_snr:
        return (f"too faint alone: signal to noise {order.snr:.1f}, and {faint_snr:g} is asked for",)
    return fit.reasons if fit.rung >= Rung.PREDICTED else ()


def _fit(
    orders: Sequence[Order], fits: Sequence[BlazeFit], faint: set[int], low: float
) -> tuple[JointFit, dict[int, Order]]:
    """Fit the orders that bear by themselves first, then with them the faint ones, where they are expected to be lit.

    The faint ones, with the columns so chosen, are given too.

    Raises
    ------
    ValueError
        There are too few orders.
    """
    own = {i: fit.parameters for i, fit in enumerate(fits) if fit.rung < Rung.PREDICTED}
    bright = {i: values for i, values in own.items() if i not in faint}
    starts = bright if len(bright) >= LEAST_ORDERS else own
    if len(starts) < LEAST_ORDERS:
        lit = [i for i in sorted(faint - set(own)) if orders[i].fitted.any()]
        starts = starts | {i: own_start(orders[i]) for i in lit}
    if len(starts) < LEAST_ORDERS:
        raise ValueError(f"{len(starts)} orders to fit, and {LEAST_ORDERS} are needed")
    taking_part = {i: _near(orders[i], fits[i]) for i in starts}
    joint = fit_jointly(taking_part, starts, len(orders))
    more = {i: _where_lit(orders[i], joint.parameters(i)[0], low) for i in sorted(faint)}
    more = {i: order for i, order in more.items() if _is_lit(order, joint.parameters(i)[0])}
    return (fit_jointly(taking_part | more, own, len(orders), joint) if more else joint), more


def _near(order: Order, fit: BlazeFit) -> Order:
    """Leave out the columns that are far off a robust fit."""
    if fit.loss != "soft_l1" or fit.rung >= Rung.PREDICTED:
        return order
    near = np.abs(order.filtered - sinc2(order.x, fit.parameters)[0]) < FAR_OFF * order.soft
    return dataclasses.replace(order, fitted=order.fitted & near)


def _where_lit(order: Order, parameters: Vector, low: float) -> Order:
    """Choose the columns by the model: by a faint order's own flux, noise would choose them."""
    plain = sinc2(order.x, parameters)[1]
    return dataclasses.replace(order, fitted=order.whole & (plain > low * parameters[0]), problem="")


def _is_lit(order: Order, parameters: Vector) -> bool:
    """Tell whether an order has light beyond noise."""
    if np.count_nonzero(order.fitted) <= parameters.size:
        return False
    shape = sinc2(order.columns, parameters)[0] / parameters[0]
    square = float(shape @ shape)
    noise = order.filtered_noise * np.sqrt(order.width / square)
    return bool((shape @ order.flux) / square > LEAST_SIGNIFICANCE * noise)


def _candidate(joint: JointFit, index: int, order: Order, scatter: Vector) -> Candidate:
    """Give an order the model's blaze; an order that took no part scales it to itself."""
    parameters, errors = joint.parameters(index)
    part = index in joint.taking_part
    error = joint.error(index, order.x)
    if not part and order.fitted.any():
        scale = _amplitude(order, parameters) / parameters[0]
        parameters, errors, error = parameters * [scale, 1, 1, 1, 1, 1], errors * [scale, 1, 1, 1, 1, 1], error * scale
    spread = scatter * sinc2(order.x, parameters)[0]
    candidate = candidate_of_sinc2(
        order,
        parameters,
        rung=Rung.GLOBAL,
        loss="linear" if part else "soft_l1",
        errors=errors,
        error=np.hypot(error, spread),
        evaluations=0,
    )
    return dataclasses.replace(candidate, problem=order.problem) if order.problem else candidate


def _amplitude(order: Order, parameters: Vector) -> float:
    """Robust amplitude of an order for a given shape [electrons]."""
    shape = sinc2(order.columns, parameters)[0] / parameters[0]
    weights = np.ones(shape.size) if order.weights is None else order.weights
    falling, amplitude = weights, 0.0
    for _ in range(ITERATIONS):
        lowered = np.square(falling) * shape
        amplitude = float(lowered @ order.flux) / float(lowered @ shape)
        residual = order.flux - amplitude * shape
        before, falling = falling, weights / np.power(1.0 + np.square(residual * weights / order.soft), 0.25)
        if np.abs(falling - before).max() < 1e-9:
            break
    return amplitude


def _ratio(joint: Vector, own: Vector) -> Vector:
    """Ratio of two blazes less 1, levels divided out; NaN where either is."""
    with np.errstate(all="ignore"):
        ratio = joint / own
        known = np.isfinite(ratio)
        apart: Vector = ratio / np.median(ratio[known]) - 1.0 if known.any() else ratio
    return apart


def _scatter(joint: JointFit, orders: Sequence[Order], fits: Sequence[BlazeFit], faint: set[int]) -> Vector:
    """Share by which the model misses a bright order's own blaze, typically, by columns; the fits' errors taken off."""
    rows: list[Vector] = []
    for i, (order, fit) in enumerate(zip(orders, fits, strict=True)):
        if fit.rung < Rung.PREDICTED and i not in faint:
            used = np.where(fit.fitted, fit.blaze, np.nan)
            square = np.square(NORMAL * _ratio(sinc2(order.x, joint.parameters(i)[0])[0], used))
            rows.append(square - np.square(fit.blaze_error / used))
    if len(rows) < LEAST_ORDERS:
        return np.full(orders[0].x.size, joint.misfit)
    squares = np.stack(rows)
    known = np.isfinite(squares).sum(axis=0) >= LEAST_ORDERS
    if not known.any():
        return np.full(orders[0].x.size, joint.misfit)
    x = orders[0].x
    typical = np.sqrt(np.maximum(np.nanmedian(squares[:, known], axis=0), 0.0))
    scatter: Vector = np.interp(x, x[known], typical)
    return scatter


def _comparison(joint: JointFit, index: int, candidate: Candidate, fit: BlazeFit) -> Comparison:
    """Compare an order's two blazes."""
    model, coefficients = joint.model, joint.coefficients
    ratio = _ratio(candidate.blaze, np.where(fit.fitted, fit.blaze, np.nan))
    known: NDArray[np.float64] = ratio[np.isfinite(ratio)]
    return Comparison(
        snr=candidate.order.snr,
        takes_part=index in joint.taking_part,
        own_rung=fit.rung,
        own_blaze=fit.blaze,
        parameters=candidate.parameters,
        errors=candidate.errors,
        blaze=candidate.blaze,
        error=candidate.error,
        number=float(model.numbers(coefficients)[index]),
        lamp=float(model.lamp_level(coefficients)[index]),
        rms=float(np.sqrt(np.mean(np.square(known)))) if known.size else np.nan,
        greatest=float(np.abs(known).max()) if known.size else np.nan,
    )
