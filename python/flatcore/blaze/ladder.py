"""From the best description of an order's blaze that its data bear, down to none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from flatcore.blaze.across import Across
from flatcore.blaze.leastsquares import Loss, own_start
from flatcore.blaze.model import Vector
from flatcore.blaze.order import Order, order_to_fit
from flatcore.blaze.rungs import (
    BOXES,
    FREE,
    Candidate,
    no_candidate,
    predicted_candidate,
    sinc2_candidate,
    spline_candidate,
)
from flatcore.blaze.trial import Trial, fit_of
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import BlazeFit, Rung, Spectra

LOSSES: dict[str, tuple[Loss, ...]] = {
    "auto": ("linear", "soft_l1"),
    "linear": ("linear",),
    "soft_l1": ("soft_l1",),
}
# Of a robust fit, most columns must still be near; of a plain one, next to all.
FAR_ROBUST = 0.35
# A predicted shape is as good as the orders are alike: it may miss by this many times more than an own one.
PREDICTED_MISFIT = 2.0
NOTHING_ALLOWED = "the settings allow no description: blaze.last_rung ends before the first"
# Deviations by which noise alone may move the misfit.
NOISE_DEVIATIONS = 3.0


# How far a candidate stands out from its neighbours, relative to the limit.
Departure = Callable[[Candidate], float]


def fit_orders(
    e2ds: Spectra,
    blaze: Blaze,
    settings: BlazeSettings,
    threads: int = 1,
    *,
    errors: Spectra | None = None,
    lost: NDArray[np.bool_] | None = None,
) -> tuple[BlazeFit, ...]:
    """Fit every order of a fibre; never raises for data.

    Every order is fitted by itself first, by the highest rung that its data bear. An order that then stands out from
    its neighbours goes down the ladder, with what the other orders say as a second start and, further down, as its
    shape: the sinc^2 with all terms; without C; without C and Q; with P, L, Q and C predicted from the other orders; a
    smoothing spline; no blaze. An order that bears by itself and is in line with its neighbours, or with what all the
    others predict, has the same blaze whatever the rest are; unless ``settings.model`` gives it that of the model of
    all orders, see :mod:`flatcore.blaze.together`.

    Parameters
    ----------
    e2ds
        Orders by columns [electrons]; NaN for no value.
    blaze
        Filter width and cut of the instrument, and what a blaze may miss its order and its neighbours by.
    settings
        Range, weights and loss of the fits, and the rungs allowed.
    threads
        Orders fitted at a time; the result does not depend on it.
    errors
        Standard deviations of ``e2ds``; needed where ``settings.weights`` is noise.
    lost
        Where part of the window is off the detector, so that the flux falls; orders by columns.

    Returns
    -------
    tuple of BlazeFit
        One per order. Where ``rung`` is NONE the blaze is NaN and ``problem`` says why.
    """

    def prepared(i: int) -> Order:
        return order_to_fit(
            e2ds[i], blaze, settings, None if errors is None else errors[i], None if lost is None else lost[i]
        )

    ladder = _Ladder(blaze, settings)
    # The fits' matrices are too small to share out: threads of the linear algebra would only wait for one another.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(threads, 1)) as pool:
        orders = list(pool.map(prepared, range(len(e2ds))))
        own = list(pool.map(ladder.alone, orders))
        accepted = {i: trial.candidate.parameters for i, trial in enumerate(own) if trial is not None}
        across = Across(accepted, e2ds.shape[1], settings.prediction == "grating")
        limit = across.limit(blaze.max_departure)
        apart = {i for i, value in across.departures.items() if value is not None and value > limit}
        others = across.without(apart)
        # Where wrong orders are the many, the prediction from all the others may still bear an order out.
        apart -= {i for i in apart if others.confirms(i, accepted[i], limit)}

        def finish(i: int) -> BlazeFit:
            trial = own[i]
            if trial is not None and i not in apart:
                return fit_of(trial, blaze, across.departures[i])
            trial = ladder.down(orders[i], i, others, limit)
            return fit_of(trial, blaze, others.departure(i, trial.candidate.parameters))

        fits = tuple(pool.map(finish, range(len(orders))))
        if settings.model == "order":
            return fits
        from flatcore.blaze.together import with_global_model  # noqa: PLC0415 - only where it is asked for

        return with_global_model(orders, fits, blaze, settings, ladder.why_not)


def fit_blaze(
    e2ds: Vector,
    blaze: Blaze,
    settings: BlazeSettings,
    error: Vector | None = None,
    lost: NDArray[np.bool_] | None = None,
) -> BlazeFit:
    """Fit one order's blaze without knowing of others; see :func:`fit_orders`."""
    return fit_orders(
        e2ds[None],
        blaze,
        settings,
        errors=None if error is None else error[None],
        lost=None if lost is None else lost[None],
    )[0]


@dataclass(frozen=True)
class _Ladder:
    """What the rungs are, and when one bears."""

    blaze: Blaze
    settings: BlazeSettings

    def allows(self, rung: Rung) -> bool:
        """Tell whether the settings allow a rung."""
        return rung <= Rung.named(self.settings.last_rung)

    def alone(self, order: Order) -> Trial | None:
        """Give the highest rung of its own that an order bears; None where there is none."""
        if order.problem:
            return None
        trial = self._first(order, self._own(order, [own_start(order)] if order.fitted.any() else []), None)
        return trial if trial.candidate.rung is not Rung.NONE else None

    def down(self, order: Order, index: int, across: Across, limit: float) -> Trial:
        """Try every rung, knowing the other orders."""
        if order.problem:
            return Trial(no_candidate(order, Rung.NONE, "linear", order.problem), (order.problem,), 0)
        predicted = across.predicted(index)
        starts = [own_start(order)] if order.fitted.any() else []
        if predicted is not None and starts:
            start = predicted[0].copy()
            start[0] = order.p95
            starts.append(start)

        def departure(candidate: Candidate) -> float:
            found = across.departure(index, candidate.parameters) if candidate.rung in FREE else None
            return 0.0 if found is None else found / limit

        def candidates() -> Iterator[Candidate]:
            yield from self._own(order, starts)
            if self.allows(Rung.PREDICTED):
                if predicted is None:
                    text = "too few other orders to predict it from"
                    yield no_candidate(order, Rung.PREDICTED, "soft_l1", text)
                elif np.count_nonzero(order.fitted) > 2:
                    yield predicted_candidate(order, predicted)
            if self.allows(Rung.SPLINE):
                yield spline_candidate(order)

        return self._first(order, candidates(), departure)

    def _own(self, order: Order, starts: Sequence[Vector]) -> Iterator[Candidate]:
        """Fits of the order's own sinc^2."""
        for rung, free in FREE.items():
            if (rung is Rung.FULL and not self.settings.cubic) or not self.allows(rung):
                continue
            columns = np.count_nonzero(order.fitted)
            if columns <= np.count_nonzero(free):
                yield no_candidate(order, rung, "linear", f"only {columns} columns to fit")
                continue
            for loss in LOSSES[self.settings.loss]:
                for start in starts:
                    yield sinc2_candidate(order, rung, start, loss)

    def _first(self, order: Order, candidates: Iterable[Candidate], departure: Departure | None) -> Trial:
        """Give the first candidate that bears, with the reasons why each rung before it did not."""
        reasons: dict[tuple[Rung, Loss], str] = {}
        evaluations = 0
        for candidate in candidates:
            evaluations += candidate.evaluations
            reason = self.why_not(candidate, departure)
            if not reason:
                return Trial(candidate, tuple(_told(*key, text) for key, text in reasons.items()), evaluations)
            reasons.setdefault((candidate.rung, candidate.loss), reason)
        told = tuple(_told(*key, text) for key, text in reasons.items()) or (NOTHING_ALLOWED,)
        return Trial(no_candidate(order, Rung.NONE, "linear", "nothing bears"), told, evaluations)

    def why_not(self, candidate: Candidate, departure: Departure | None) -> str:
        """Say why a candidate does not bear; nothing where it does."""
        if candidate.problem:
            return candidate.problem
        order, predicted = candidate.order, candidate.rung in (Rung.PREDICTED, Rung.GLOBAL)
        noise = order.filtered_noise / candidate.amplitude * np.sqrt(BOXES * order.width / max(order.flux.size, 1))
        most = max(self.blaze.max_misfit * (PREDICTED_MISFIT if predicted else 1.0), NOISE_DEVIATIONS * noise)
        misfit, far = candidate.misfit, candidate.far
        if not misfit <= most and candidate.rung is not Rung.SPLINE:
            return f"misses the order by {misfit:.1%} of its amplitude"
        if far > (self.blaze.max_far if candidate.loss == "linear" else FAR_ROBUST):
            return f"{far:.1%} of the columns lie far off"
        apart = 0.0 if departure is None else departure(candidate)
        if apart > 1.0:
            return f"stands out from its neighbours, {apart:.1f} times too far"
        return ""


def _told(rung: Rung, loss: Loss, reason: str) -> str:
    robust = ", robust" if loss == "soft_l1" and rung in FREE else ""
    return f"{rung.words}{robust}: {reason}"
