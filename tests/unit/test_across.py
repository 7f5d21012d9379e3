"""What the other orders say of an order: the shape of its neighbours, and predicted parameters."""

import numpy as np
import pytest

from flatcore.blaze.across import Across
from flatcore.blaze.model import sinc2

COLUMNS, ORDERS = 2000, 20
X = np.arange(COLUMNS, dtype=float)
CENTRE = np.array([0, 0, 1, 0, 0, 0])


def parameters(order, grating=False):
    m = 60 - order
    period = 4000.0 * 50 / m if grating else 4000.0 + 30.0 * order - 0.4 * order**2
    return np.array([1e4 + 100 * order, period, 950.0 + 3.0 * order, 1e-5 * (1 + order / 30), 1e-9 * order, 2e-5])


def fibre(without=(), grating=False):
    return Across({i: parameters(i, grating) for i in range(ORDERS) if i not in without}, COLUMNS, grating)


def shape(values):
    blaze = sinc2(X, values)[0]
    return blaze / blaze.max()


@pytest.mark.parametrize("order", [0, 1, 9, 18, 19])
def test_an_order_like_its_neighbours(order):
    assert fibre().departure(order, parameters(order)) < 0.002
    # Amplitude is no part of a shape.
    assert fibre().departure(order, parameters(order) * [50, 1, 1, 1, 1, 1]) < 0.002


@pytest.mark.parametrize("order", [0, 9, 19])
def test_an_order_that_stands_out(order):
    moved = parameters(order)
    moved[2] += 150.0
    expected = np.abs(shape(moved) - shape(parameters(order))).max()
    assert fibre().departure(order, moved) == pytest.approx(expected, abs=0.01)


def test_two_wrong_neighbours_do_not_matter():
    wrong = fibre()
    values = dict(wrong.parameters)
    for order in (8, 10):
        values[order] = parameters(order) * [1, 0.6, 1, 1, 1, 1]
    spoiled = Across(values, COLUMNS)
    assert spoiled.departure(9, parameters(9)) < 0.02
    assert spoiled.departure(8, values[8]) > 0.2


def test_the_limit_grows_with_what_is_typical():
    assert fibre().limit(0.08) == 0.08
    rng = np.random.default_rng(1)
    scattered = {i: parameters(i) + rng.normal(0, 150) * CENTRE for i in range(ORDERS)}
    across = Across(scattered, COLUMNS)
    assert across.limit(0.08) > 0.15
    assert np.mean([across.departure(i, values) < across.limit(0.08) for i, values in scattered.items()]) >= 0.9


def test_too_few_orders_say_nothing():
    few = Across({i: parameters(i) for i in range(5)}, COLUMNS)
    assert few.departure(0, parameters(0)) is None
    assert few.predicted(0) is None
    assert few.limit(0.08) == 0.08
    assert few.departure(7, parameters(7)) is not None


@pytest.mark.parametrize("order", [0, 7, 19])
@pytest.mark.parametrize("grating", [False, True], ids=["polynomial", "grating"])
def test_prediction(order, grating):
    found, scatter = fibre(grating=grating).predicted(order)
    expected = parameters(order, grating)
    np.testing.assert_allclose(shape(found * [1, 1, 1, 1, 1, 0] + [0, 0, 0, 0, 0, 2e-5]), shape(expected), atol=0.01)
    assert (found[0], found[5]) == (1.0, 0.0)
    assert (scatter[[0, 5]] == 0).all()
    if grating:
        assert found[1] == pytest.approx(expected[1], rel=1e-9)


def test_prediction_does_not_use_the_order_itself():
    values = dict(fibre().parameters)
    values[7] = parameters(7) * [1, 0.3, 1, 1, 1, 1]
    np.testing.assert_array_equal(Across(values, COLUMNS).predicted(7)[0], fibre().predicted(7)[0])


def test_prediction_is_robust():
    values = dict(fibre().parameters)
    for order in (3, 12):
        values[order] = parameters(order) * [1, 0.3, 1, 1, 1, 1]
    np.testing.assert_allclose(Across(values, COLUMNS).predicted(7)[0][1:3], parameters(7)[1:3], rtol=0.02)


def test_scatter_of_the_prediction():
    rng = np.random.default_rng(3)
    values = {i: parameters(i) + rng.normal(0, 20) * CENTRE for i in range(ORDERS)}
    assert 8 < Across(values, COLUMNS).predicted(7)[1][2] < 35


def test_orders_left_out():
    assert set(fibre().without({3, 4}).parameters) == set(range(ORDERS)) - {3, 4}
