"""Steps on orders: extraction and the fits of the blaze, of all four fibres."""

from __future__ import annotations

import functools
import operator

import numpy as np

from benchmarks import twins
from benchmarks.agreement import Agreement, compare
from benchmarks.bench import Bench, Row
from benchmarks.measure import timed
from flatcore.blaze import fit_orders, sinc2
from flatcore.instrument import Blaze
from flatcore.settings import BlazeSettings
from flatcore.spectra import BlazeFit

# The blaze is asked for to a ten thousandth of its amplitude.
BLAZE_TOLERANCE = 1e-4


def extraction(bench: Bench) -> list[Row]:
    """E2DS, E2DSLL and E2DSCC of 49 orders of four fibres."""
    steps = bench.steps
    fibers = list(steps.windows)

    def arguments(name: str) -> tuple[twins.Floats, twins.Floats, tuple[tuple[int, int], ...], float | None]:
        profile = steps.straight_profiles[steps.profile.fibers[name].localisation]
        return steps.straight, profile, steps.windows[name], steps.threshold(name)

    times = bench.race(
        "extract",
        {
            "flatcore": lambda: [steps.extracted(name) for name in fibers],
            "twin": lambda: [twins.extract_fiber(*arguments(name)) for name in fibers],
        },
    )
    bench.twin_seconds["extract at once"] = times["twin"]
    agreements = []
    for name in fibers:
        found, (e2ds, e2dsll, e2dscc) = steps.extracted(name), twins.extract_fiber(*arguments(name))
        agreements.append(compare(found.e2ds, e2ds, 1e-5, floor=1.0))
        agreements.append(compare(found.e2dsll, e2dsll, 1e-5, floor=1.0))
        agreements.append(compare(found.e2dscc, e2dscc, 1e-5))
    name = fibers[0]
    bench.tell("extract: column by column, once")
    columns = len(fibers) * timed(lambda: twins.extract_by_column(*arguments(name)))
    bench.twin_seconds["extract"] = columns
    agreement = compare(steps.extracted(name).e2ds, twins.extract_by_column(*arguments(name)), 1e-5, floor=1.0)
    orders = len(steps.windows[name])
    return [
        Row(
            f"extraction, {orders} orders, {len(fibers)} fibres",
            "twin, column by column as recipes do it",
            times["flatcore"],
            columns,
            30.0,
            agreement=agreement,
            note=f"column by column: fibre {name} alone, times {len(fibers)}",
        ),
        Row(
            "the same",
            "twin, all columns of an order at once",
            times["flatcore"],
            times["twin"],
            agreement=functools.reduce(operator.add, agreements),
        ),
    ]


def blaze_fits(bench: Bench) -> list[Row]:
    """Median filter, fit, model and judgement of every order's blaze.

    The twin fits the ends of an order too, and takes whatever comes; so does flatcore here.
    """
    steps = bench.steps
    spectra = {name: steps.extracted(name).e2ds for name in steps.windows}
    profile, settings = as_the_twin(steps.profile.blaze, steps.settings.blaze)
    width, cut, cubic = steps.profile.blaze.median_width, steps.profile.blaze.cut, steps.settings.blaze.cubic

    def ours() -> list[BlazeFit]:
        return [fit for e2ds in spectra.values() for fit in fit_orders(e2ds, profile, settings, bench.threads)]

    def theirs() -> list[tuple[twins.Doubles, np.ndarray, twins.Doubles]]:
        return [fit for e2ds in spectra.values() for fit in twins.fit_orders(e2ds, width, cut, cubic)]

    times = bench.race("blaze", {"flatcore": ours, "curve_fit": theirs}, min(bench.repeats, 3))
    bench.twin_seconds["blaze"] = times["curve_fit"]
    found, expected = ours(), theirs()
    off = sum(not as_good(ours_, theirs_) for ours_, theirs_ in zip(found, expected, strict=True))
    better = sum(_distance(ours_, theirs_) > BLAZE_TOLERANCE for ours_, theirs_ in zip(found, expected, strict=True))
    return [
        Row(
            f"{len(found)} blaze fits",
            "curve_fit without Jacobian, twice",
            times["flatcore"],
            times["curve_fit"],
            20.0,
            agreement=Agreement(BLAZE_TOLERANCE, off, len(found)),
            note=f"where curve_fit stops early, flatcore's fit is the closer one and differs: {better - off} orders",
        )
    ]


def as_the_twin(profile: Blaze, settings: BlazeSettings) -> tuple[Blaze, BlazeSettings]:
    """Profile and settings with which every order is fitted whole, once, and whatever comes of it is taken."""
    return (
        profile.model_copy(update={"max_misfit": 1.0, "max_far": 1.0, "max_departure": 1.0}),
        settings.model_copy(update={"fit_ends": True, "loss": "linear", "last_rung": "full"}),
    )


def _distance(found: BlazeFit, expected: tuple[twins.Doubles, np.ndarray, twins.Doubles]) -> float:
    """Largest difference of the two blazes, in units of the amplitude."""
    return float(np.nanmax(np.abs(found.blaze - expected[0])) / expected[2][0])


def as_good(found: BlazeFit, expected: tuple[twins.Doubles, np.ndarray, twins.Doubles]) -> bool:
    """Whether flatcore's blaze is the twin's, or lies closer to the same data."""
    if not np.array_equal(found.fitted, expected[1]):
        return False
    x, flux = np.nonzero(found.fitted)[0].astype(float), found.filtered[found.fitted]
    ours, theirs = (np.sum((sinc2(x, p)[0] - flux) ** 2) for p in (found.parameters, expected[2]))
    return bool(_distance(found, expected) <= BLAZE_TOLERANCE or ours < theirs)
