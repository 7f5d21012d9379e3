"""A library of damaged orders: what may happen to one order of a fibre, and what should come of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flatcore.spectra import Rung

ORDERS, COLUMNS = 14, 1080
X = np.arange(COLUMNS, dtype=float)
NOISE_E = 5.0
DAMAGED = 6

FULL, ROBUST, PREDICTED, SPLINE, NONE = "full", "full robust", "predicted", "spline", "none"
FEWER = ("no-cubic", "no-cubic robust", "no-quadratic", "no-quadratic robust")


def blaze_of(order):
    """A blaze that changes slowly from order to order, as a spectrograph's do."""
    m = order - ORDERS / 2
    period, centre = 2300.0 - 25.0 * m, 545.0 + 4.0 * m
    d = X - centre
    theta = 2 * np.pi * (d + 2e-5 * (1 + 0.02 * m) * d**2 - 2e-8 * d**3) / period
    return (6e4 - 900.0 * m**2) * np.sinc(theta / np.pi) ** 2 * (1 + 4e-5 * d)


def shifted(order, pixels):
    """A blaze whose centre is elsewhere."""
    return np.interp(X - pixels, X, blaze_of(order))


def fibre(seed=3):
    """Orders by columns of a whole fibre [electrons], and the true blazes."""
    rng = np.random.default_rng(seed)
    truth = np.stack([blaze_of(order) for order in range(ORDERS)])
    response = rng.normal(1.0, 0.004, truth.shape)
    return rng.poisson(truth * response) + rng.normal(0.0, NOISE_E, truth.shape), truth


@dataclass(frozen=True)
class Fault:
    """A kind of damage.

    Attributes
    ----------
    damage
        Gives the damaged order of the undamaged one and a random generator.
    rungs
        What may come of it: rung, and whether the fit is robust.
    blaze_within
        Share by which the blaze may differ from the true one where the order is bright; None where it is not asked.
    usable
        Least and greatest share of the columns that have a flat.
    light
        Share of the light that is left.
    """

    damage: Callable
    rungs: tuple[str, ...]
    blaze_within: float | None = None
    usable: tuple[float, float] = (0.0, 1.0)
    light: float = 1.0


FAULTS = {}


def fault(*rungs, **expected):
    """Take a function into the library, under its name."""

    def take(function):
        FAULTS[function.__name__] = Fault(function, rungs, **expected)
        return function

    return take


def replaced(order, columns, values):
    """An order with other values in some columns."""
    order = order.copy()
    order[columns] = values
    return order


@fault(FULL, ROBUST, *FEWER, PREDICTED, blaze_within=0.2, usable=(0.4, 0.51))
def dead_left_half(order, rng):
    return replaced(order, slice(0, 540), np.nan)


@fault(FULL, ROBUST, *FEWER, PREDICTED, blaze_within=0.2, usable=(0.4, 0.51))
def dead_right_half(order, rng):
    return replaced(order, slice(540, None), np.nan)


@fault(FULL, ROBUST, *FEWER, PREDICTED, blaze_within=0.2, usable=(0.4, 0.51))
def dark_half(order, rng):
    return replaced(order, slice(540, None), rng.normal(0, NOISE_E, 540))


@fault(FULL, blaze_within=0.01, usable=(0.9, 0.97))
def dead_block(order, rng):
    return replaced(order, slice(500, 560), np.nan)


@fault(FULL, blaze_within=0.01, usable=(0.85, 0.97))
def block_without_light(order, rng):
    return replaced(order, slice(200, 270), rng.normal(0, NOISE_E, 70))


@fault(FULL, blaze_within=0.02, usable=(0.6, 0.72))
def saturated_core(order, rng):
    """The bright middle has no value."""
    return replaced(order, slice(380, 720), np.nan)


@fault(*FEWER, PREDICTED, SPLINE)
def clipped_core(order, rng):
    """A detector that saturates without telling."""
    return np.minimum(order, 0.8 * order.max())


@fault(FULL, blaze_within=0.01, usable=(0.8, 0.93))
def spike_forest(order, rng):
    return np.where(rng.random(COLUMNS) < 0.12, order * rng.uniform(2, 50, COLUMNS), order)


@fault(FULL, blaze_within=0.015, usable=(0.7, 0.87))
def dead_column_forest(order, rng):
    return np.where(rng.random(COLUMNS) < 0.2, 0.0, order)


@fault(FULL, blaze_within=0.01, usable=(0.98, 1.0))
def one_enormous_spike(order, rng):
    return replaced(order, 300, 1e30)


@fault(FULL, blaze_within=0.01)
def wide_bright_artefact(order, rng):
    return replaced(order, slice(700, 740), 1e6)


@fault(NONE, usable=(0.0, 0.0))
def no_light(order, rng):
    return rng.normal(0.0, NOISE_E, COLUMNS)


@fault(NONE, usable=(0.0, 0.0))
def negative_background(order, rng):
    return rng.normal(-300.0, NOISE_E, COLUMNS)


@fault(FULL, ROBUST, "no-cubic", "no-quadratic", PREDICTED)
def background_subtracted_twice(order, rng):
    return order - 0.04 * order.max()


@fault(FULL, ROBUST, *FEWER, PREDICTED, blaze_within=0.2, usable=(0.6, 0.8))
def off_the_edge(order, rng):
    """The order leaves the detector at a third of its columns."""
    return replaced(order, slice(760, None), np.nan)


@fault(PREDICTED, SPLINE)
def half_the_window_off_the_edge(order, rng):
    """The flux falls as rows are lost, and nothing says so."""
    return order * np.clip(1.6 - X / 700, 0.3, 1.0)


@fault(SPLINE, usable=(0.8, 0.95))
def doubled_lamp(order, rng):
    """A second lamp over half of the order."""
    return order * np.where(X < 540, 1.0, 2.0)


@fault(FULL, blaze_within=0.015, usable=(0.9, 1.0))
def strong_fringes(order, rng):
    return order * (1 + 0.1 * np.sin(2 * np.pi * X / 23.0))


@fault(FULL, blaze_within=0.02, usable=(0.9, 1.0))
def wide_fringes(order, rng):
    return order * (1 + 0.08 * np.sin(2 * np.pi * X / 47.0))


@fault(ROBUST, FULL, blaze_within=0.03, usable=(0.75, 1.0))
def absorption_bands(order, rng):
    depth = sum(0.5 * np.exp(-0.5 * ((X - centre) / 14) ** 2) for centre in (240, 420, 700, 860))
    return order * (1 - depth)


@fault(ROBUST, FULL, PREDICTED, blaze_within=0.05, usable=(0.7, 1.0))
def deep_wide_absorption(order, rng):
    return order * (1 - 0.7 * np.exp(-0.5 * ((X - 620) / 40) ** 2))


@fault(ROBUST, FULL, *FEWER, PREDICTED, blaze_within=0.03)
def emission_lines(order, rng):
    return order * (1 + sum(3 * np.exp(-0.5 * ((X - centre) / 9) ** 2) for centre in (150, 333, 600, 911)))


@fault(NONE, usable=(0.0, 0.0))
def five_finite_pixels(order, rng):
    return replaced(np.full(COLUMNS, np.nan), slice(500, 505), order[500:505])


@fault(NONE, PREDICTED)
def forty_finite_pixels(order, rng):
    return replaced(np.full(COLUMNS, np.nan), slice(500, 540), order[500:540])


@fault(SPLINE, usable=(0.9, 1.0))
def constant(order, rng):
    return rng.normal(3e4, 170.0, COLUMNS)


@fault(SPLINE)
def step(order, rng):
    return np.where(X < 500, 2e3, 4e4) + rng.normal(0, 30, COLUMNS)


@fault(FULL, "no-cubic", "no-quadratic", PREDICTED, SPLINE)
def huge_slope(order, rng):
    return order * (0.1 + 2.0 * X / COLUMNS)


@fault(SPLINE, NONE)
def ramp(order, rng):
    return 60.0 * X + rng.normal(0, 30, COLUMNS)


@fault(SPLINE, NONE)
def valley(order, rng):
    return order.max() - order + 100.0


@fault(NONE, usable=(0.0, 0.0))
def nothing_finite(order, rng):
    return np.full(COLUMNS, np.nan)


@fault(NONE, usable=(0.0, 0.0))
def infinite(order, rng):
    return np.full(COLUMNS, np.inf)


@fault(FULL, PREDICTED, SPLINE, NONE)
def infinities_among(order, rng):
    return np.where(rng.random(COLUMNS) < 0.3, np.inf, order)


@fault(SPLINE, NONE)
def only_noise_of_many_decades(order, rng):
    return 10 ** rng.uniform(-30, 30, COLUMNS)


@fault(PREDICTED, SPLINE)
def another_orders_blaze(order, rng):
    """The trace jumped: what is extracted is shifted by a quarter of the order."""
    return np.roll(order, 270)


@fault(FULL, blaze_within=0.03, usable=(0.9, 1.0))
def leaked_light(order, rng):
    """One per cent of a neighbouring order's light comes on top, from where that is bright."""
    return order + 0.01 * np.roll(order, 200)


@fault(SPLINE, PREDICTED)
def flooded_with_light(order, rng):
    """Light without a blaze comes on top."""
    return order + 3e4


@fault(FULL, ROBUST, PREDICTED, blaze_within=0.1, light=0.01)
def hundredth_of_the_light(order, rng):
    return rng.poisson(np.maximum(order, 0) * 1e-2) + rng.normal(0, NOISE_E, COLUMNS)


@fault(FULL, ROBUST, *FEWER, blaze_within=0.01, usable=(0.4, 0.65))
def every_other_block_dead(order, rng):
    return np.where((X // 60) % 2 == 0, order, np.nan)


def name_of(fit):
    """Rung of a fit as the library names it."""
    robust = fit.loss == "soft_l1" and fit.rung < Rung.PREDICTED
    return fit.rung.words + (" robust" if robust else "")
