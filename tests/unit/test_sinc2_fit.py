"""The kernel that fits a sinc^2, held to SciPy's solver; and its way over means of columns."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from flatcore import _core
from flatcore.blaze import sinc2, sinc2_jacobian

TRUTH = np.array([4e4, 2300.0, 1010.0, 2e-5, 3e-9, 4e-5])
START = np.array([4.2e4, 2000.0, 1000.0, 0.0, 0.0, 0.0])
UNITS = np.array([START[0], START[1], START[1], 1 / START[1], 1 / START[1] ** 2, 1 / START[1]])
LOW = np.array([0.0, 0.01, 0.0, -np.inf, -np.inf, -np.inf]) / UNITS
HIGH = np.array([1.5 * START[0], np.inf, 2047.0, np.inf, np.inf, np.inf]) / UNITS
TOLERANCE, MOST = 1e-8, 400


def order(seed, size=2048):
    """Columns, and a flux as a running median leaves it: its noise is the same over 25 columns."""
    x = np.arange(size, dtype=float)
    x = x[(x < 700) | (x > 760)]
    noise = np.convolve(np.random.default_rng(seed).normal(0, 300, x.size + 24), np.full(25, 0.2), "valid") / 5
    return x, sinc2(x, TRUTH)[0] * (1 + 0.004 * np.sin(x / 90)) + noise


def fitted(x, flux, columns_per_bin, start=START):
    problem = (x, flux, UNITS.tolist(), float(START[0]))
    return _core.sinc2_fit(
        problem, (start / UNITS).tolist(), (LOW.tolist(), HIGH.tolist()), TOLERANCE, MOST, columns_per_bin
    )


def cost(x, flux, values):
    return 0.5 * np.sum(((sinc2(x, np.array(values) * UNITS)[0] - flux) / START[0]) ** 2)


@pytest.mark.parametrize("seed", range(4))
def test_all_columns_end_where_scipy_ends(seed):
    x, flux = order(seed)
    found, evaluations, converged = fitted(x, flux, 1)
    expected = least_squares(
        lambda values: (sinc2(x, values * UNITS)[0] - flux) / START[0],
        START / UNITS,
        jac=lambda values: sinc2_jacobian(x, values * UNITS) * UNITS / START[0],
        bounds=(LOW, HIGH),
        x_scale="jac",
        ftol=TOLERANCE,
        xtol=TOLERANCE,
        gtol=TOLERANCE,
        max_nfev=MOST,
    )
    assert converged and evaluations == expected.nfev
    np.testing.assert_allclose(found, expected.x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("columns_per_bin", [2, 12, 17])
def test_means_of_columns_lead_to_the_minimum_of_all_columns(seed, columns_per_bin):
    x, flux = order(seed)
    plain, _, _ = fitted(x, flux, 1)
    found, evaluations, converged = fitted(x, flux, columns_per_bin)
    assert converged
    assert cost(x, flux, found) <= cost(x, flux, plain) * (1 + 1e-7)
    # The means have a minimum of their own: the fit did not stay there.
    count = x.size // columns_per_bin * columns_per_bin
    means = [values[:count].reshape(-1, columns_per_bin).mean(axis=1) for values in (x, flux)]
    near, steps, _ = fitted(*means, 1)
    assert evaluations > steps
    assert cost(x, flux, found) <= cost(x, flux, near)
    distance = sinc2(x, np.array(found) * UNITS)[0] - sinc2(x, np.array(plain) * UNITS)[0]
    assert np.abs(distance).max() < 1e-5 * START[0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shift", [-1 / 3, -0.2, 0.25, 1 / 3])
def test_from_a_bad_start_means_of_columns_do_no_worse_than_all_columns(seed, shift):
    # Such a start leads to one of several minima; some are a hundred times as high as the others.
    x, flux = order(seed)
    away = START.copy()
    away[2] += shift * away[1]
    plain, _, converged = fitted(x, flux, 1, away)
    found, _, as_well = fitted(x, flux, 12, away)
    assert converged and as_well
    assert cost(x, flux, found) < 1.5 * cost(x, flux, plain)


def test_few_columns_are_not_binned():
    x, flux = order(0, size=900)
    assert fitted(x, flux, 12) == fitted(x, flux, 1)


def test_means_that_lead_nowhere_are_left():
    x, flux = order(1)
    nowhere = START.copy()
    nowhere[1] = np.nan
    assert not fitted(x, flux, 12, nowhere)[2]
    with pytest.raises(ValueError, match="number of fluxes"):
        fitted(x, flux[1:], 12)
