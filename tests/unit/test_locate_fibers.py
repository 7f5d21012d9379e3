"""Pairing of fibres by their distances."""

import numpy as np
import pytest

from flatcore.locate.fibers import assign


def rows_of(orders, fibers, spacing=60.0, gap=9.0, change=0.3, lost=()):
    """Rows of traces whose spacing changes by a share over the orders; some are lost."""
    steps = spacing * (1 + change * np.linspace(-1, 1, orders))
    start = np.cumsum(steps)
    truth = [(o, f) for o in range(orders) for f in range(fibers) if (o, f) not in lost]
    return np.array([start[o] + f * gap * (1.0 + 0.2 * (f == 2)) for o, f in truth]), truth


@pytest.mark.parametrize("fibers", [1, 2, 3])
@pytest.mark.parametrize("orders", [1, 2, 5, 30, 90])
def test_whole_orders(fibers, orders):
    rows, truth = rows_of(orders, fibers)
    found = assign(rows, fibers)
    assert list(zip(found.order, found.fiber, strict=True)) == truth
    assert found.missing == ()


@pytest.mark.parametrize("lost", [(7, 0), (7, 1), (7, 2), (0, 0), (19, 2)])
@pytest.mark.parametrize("fibers", [2, 3])
def test_a_missing_fibre_shifts_nothing(fibers, lost):
    if lost[1] >= fibers:
        lost = (lost[0], fibers - 1)
    rows, truth = rows_of(20, fibers, lost={lost})
    found = assign(rows, fibers)
    assert list(zip(found.order, found.fiber, strict=True)) == truth
    assert found.missing == (lost,)


@pytest.mark.parametrize("fibers", [2, 3])
def test_a_dark_order_has_no_number(fibers):
    dark = {(8, f) for f in range(fibers)}
    rows, truth = rows_of(20, fibers, lost=dark)
    found = assign(rows, fibers)
    assert list(zip(found.order, found.fiber, strict=True)) == [(o - (o > 8), f) for o, f in truth]
    assert found.missing == ()


def test_two_fibres_lost_in_one_place_and_one_in_another():
    rows, truth = rows_of(25, 3, lost={(5, 1), (5, 2), (18, 0)})
    found = assign(rows, 3)
    assert list(zip(found.order, found.fiber, strict=True)) == truth
    assert found.missing == ((5, 1), (5, 2), (18, 0))


def test_noise_in_the_rows():
    rng = np.random.default_rng(5)
    rows, truth = rows_of(40, 2, spacing=25, gap=10)
    found = assign(rows + rng.normal(0, 0.3, len(rows)), 2)
    assert list(zip(found.order, found.fiber, strict=True)) == truth


def test_nothing():
    assert assign(np.empty(0), 2).order.size == 0
