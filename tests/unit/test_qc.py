"""Quality control: the largest scatter of the flat against its limit."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from flatcore.instrument import Qc
from flatcore.qc import check_fiber, check_rms, order_verdicts

NAN = float("nan")


@pytest.mark.parametrize(
    ("rms", "limits", "worst", "passed"),
    [
        ([0.01, 0.03, 0.02], Qc(max_rms=0.05), 0.03, True),
        ([0.01, 0.06, 0.02], Qc(max_rms=0.05), 0.06, False),
        ([0.01, 0.05], Qc(max_rms=0.05), 0.05, False),
        ([0.01, 0.06, 0.02], Qc(max_rms=0.05, skip_orders=(1,)), 0.02, True),
        ([0.01, 0.06, 0.07], Qc(max_rms=0.05, skip_orders=(1, 22, 48)), 0.07, False),
        ([0.01, NAN, 0.02], Qc(max_rms=0.05), NAN, False),
        ([0.01, NAN, 0.02], Qc(max_rms=0.05, skip_orders=(1,)), 0.02, True),
        ([NAN, NAN], Qc(max_rms=1.0), NAN, False),
        ([0.5, NAN], Qc(max_rms=0.05, skip_orders=(0, 1)), NAN, True),
        ([], Qc(), NAN, True),
        ([math.inf], Qc(), math.inf, False),
        ([0.9], Qc(max_rms=1.0), 0.9, True),
    ],
)
def test_of_a_fiber(rms, limits, worst, passed):
    check = check_rms(np.array(rms), limits)
    np.testing.assert_equal(check.value, worst)
    assert check.passed is passed
    assert check.name == "max_rms"


@pytest.mark.parametrize(
    ("limit", "text"), [(0.05, "max_rms < 0.05"), (1.0, "max_rms < 1"), (0.125, "max_rms < 0.125")]
)
def test_the_limit_is_told(limit, text):
    assert check_rms(np.array([0.01]), Qc(max_rms=limit)).limit == text


def test_of_each_order():
    rms = np.array([0.01, 0.05, NAN, 0.5, 0.04999, NAN])
    expected = ("pass", "fail", "fail", "skipped", "pass", "skipped")
    assert order_verdicts(rms, Qc(max_rms=0.05, skip_orders=(3, 5, 99))) == expected


@pytest.mark.parametrize(("rms", "passed"), [([0.01, 0.02], True), ([0.01, 0.2], False)])
def test_both_together(rms, passed):
    flat = SimpleNamespace(fiber="AB", rms=np.array(rms))
    result = check_fiber(flat, Qc())
    assert (result.fiber, result.passed) == ("AB", passed)
    assert [check.passed for check in result.checks] == [passed]
    assert result.orders == ("pass", "pass" if passed else "fail")


def test_a_fiber_passes_where_one_order_fails_that_is_skipped():
    result = check_fiber(SimpleNamespace(fiber="C", rms=np.array([0.01, 9.0])), Qc(skip_orders=(1,)))
    assert result.passed
    assert result.orders == ("pass", "skipped")
