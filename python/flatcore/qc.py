"""Eighth stage: quality control of a fibre's flat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flatcore.instrument import Qc
from flatcore.results import FiberQc, QcCheck
from flatcore.spectra import FiberFlat


def check_fiber(flat: FiberFlat, limits: Qc) -> FiberQc:
    """Check a fibre's flat, and each of its orders.

    Parameters
    ----------
    flat
        The fibre's flat.
    limits
        Largest rms, and the orders that are not asked.
    """
    return FiberQc(flat.fiber, (check_rms(flat.rms, limits),), order_verdicts(flat.rms, limits))


def check_rms(rms: NDArray[np.float64], limits: Qc) -> QcCheck:
    """Check that the largest rms of the flat stays below the limit; an order without a flat fails.

    Parameters
    ----------
    rms
        Scatter of the flat per order; NaN where there is no flat.
    """
    asked = np.setdiff1d(np.arange(rms.size), limits.skip_orders)
    values = rms[asked]
    worst = float("nan") if values.size == 0 or np.isnan(values).any() else float(values.max())
    # With every order skipped there is nothing that could fail.
    passed = values.size == 0 or worst < limits.max_rms
    return QcCheck("max_rms", worst, f"max_rms < {limits.max_rms:g}", bool(passed))


def order_verdicts(rms: NDArray[np.float64], limits: Qc) -> tuple[str, ...]:
    """Give each order's own verdict: pass, fail, or skipped."""
    return tuple(
        "skipped" if order in limits.skip_orders else "pass" if value < limits.max_rms else "fail"
        for order, value in enumerate(rms)
    )
