"""Dark reference, order profile, and the maps that straighten: against what was put in."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from flatcore import _core
from flatcore.bootstrap.dark import dark_reference
from flatcore.bootstrap.orderprofile import order_profile, strips
from flatcore.bootstrap.settings import OrderProfileSettings, ShapeSettings, TiltSettings
from flatcore.bootstrap.shapes import TracedOrder, moved_along, shape_from_traces
from flatcore.bootstrap.tilt import IDENTITY, Slit, measure_tilt
from flatcore.errors import InputError

SHAPE = (400, 1000)
ROWS = np.linspace(30.0, 360.0, 12)
X = np.arange(SHAPE[1], dtype=float)


def curve(x, row):
    """How far an order lies from its row in the middle."""
    u = (x - SHAPE[1] // 2) / SHAPE[1]
    return 60 * u**2 * (1 + row / 800) + 20 * u + 8 * u**3


def traced(row, error=0.0, first=0, last=SHAPE[1] - 1, degree=4):
    coefficients = chebyshev.chebfit(2 * X / SHAPE[1] - 1, row + curve(X, row), degree)
    coefficients[-1] += error
    return TracedOrder(coefficients, first, last)


class TestDark:
    def test_without_darks_it_is_zero(self):
        dark = dark_reference((3, 4), None)
        assert dark.is_zero
        assert not dark.image(10.0).any()
        assert dark.image(10.0).shape == (3, 4)

    def test_rates_without_a_bias_serve_any_exposure(self):
        rate = np.full((3, 4), 0.25, np.float32)
        dark = dark_reference((3, 4), rate)
        assert (dark.image(10.0) == rate).all()
        assert (dark.image(99.0) == rate).all()

    def test_a_bias_level_counts_once_whatever_the_exposure(self):
        bias, current = np.full((3, 4), 500.0, np.float32), 0.5
        darks = current + bias / 100.0
        dark = dark_reference((3, 4), darks.astype(np.float32), bias, 100.0)
        np.testing.assert_allclose(dark.current, current, rtol=1e-5)
        for exptime in (5.0, 20.0):
            np.testing.assert_allclose(dark.image(exptime) * exptime, current * exptime + 500, rtol=1e-6)

    def test_a_bias_alone_is_subtracted_and_tells_no_hot_pixels(self):
        dark = dark_reference((3, 4), None, np.full((3, 4), 500.0, np.float32))
        assert dark.current is None
        assert (dark.image(10.0) == 50).all()


class TestShape:
    def test_straight_rows_pass_through_the_traces(self):
        found = shape_from_traces([traced(row) for row in ROWS], SHAPE, ShapeSettings())
        np.testing.assert_allclose(found.rows, ROWS, atol=0.01)
        for row in ROWS:
            below = int(row)
            at = found.dymap[below] + (row - below) * (found.dymap[below + 1] - found.dymap[below])
            assert np.abs(at - curve(X, row)).max() < 0.02
        assert not found.left_out
        assert found.steepest == pytest.approx(np.abs(np.diff(curve(X, ROWS[-1]))).max(), rel=0.05)

    def test_between_and_beyond_the_orders_the_map_is_that_of_all(self):
        found = shape_from_traces([traced(row) for row in ROWS], SHAPE, ShapeSettings())
        for row in (0, 45, 200, 399):
            assert np.abs(found.dymap[row] - curve(X, row)).max() < 0.1

    def test_what_a_trace_does_beyond_its_end_does_not_count(self):
        orders = [traced(row) for row in ROWS]
        orders[11] = traced(ROWS[11], error=0.0, first=200, last=800)
        wild = chebyshev.chebfit(2 * X / SHAPE[1] - 1, ROWS[11] + curve(X, ROWS[11]), 4)
        # Right where it was followed, and 3 pixels off at both ends.
        u = 2 * X / SHAPE[1] - 1
        wild += chebyshev.chebfit(u, 3 * np.maximum(np.abs(u) - 0.6, 0) ** 2 / 0.16, 4)
        orders[11] = TracedOrder(wild, 200, 800)
        found = shape_from_traces(orders, SHAPE, ShapeSettings())
        assert np.abs(found.dymap[360] - curve(X, 360.0))[[0, -1]].max() < 0.5

    def test_a_trace_of_its_own_is_left_out(self):
        orders = [traced(row) for row in ROWS]
        orders[4] = traced(ROWS[4], error=15.0)
        found = shape_from_traces(orders, SHAPE, ShapeSettings())
        assert found.left_out == (4,)
        row = round(ROWS[4])
        assert np.abs(found.dymap[row] - curve(X, float(row))).max() < 0.1

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_few_orders_are_enough(self, count):
        found = shape_from_traces([traced(row) for row in ROWS[:count]], SHAPE, ShapeSettings())
        assert np.isfinite(found.dymap).all()
        assert np.abs(found.dymap[30] - curve(X, 30.0)).max() < 0.1

    def test_no_trace_is_refused(self):
        with pytest.raises(ValueError, match="no traces"):
            shape_from_traces([], SHAPE, ShapeSettings())


class TestProfile:
    def test_a_strip_ends_half_way_to_another_fibre(self):
        own, other = np.array([[20.0], [60.0]]), np.array([[30.0]])
        mask = strips(own, other, 8, 8, (80, 5))
        assert np.flatnonzero(mask[:, 2]).tolist() == [*range(12, 25), *range(52, 69)]

    def test_a_profile_follows_its_order_and_fills_bad_pixels(self):
        y = np.arange(SHAPE[0])[:, None]
        light = sum(1000 * np.exp(-0.5 * ((y - row - curve(X, row)) / 1.5) ** 2) for row in ROWS)
        image = light.astype(np.float32)
        image[::7, ::13] = np.nan
        traces = [traced(row) for row in ROWS]
        dymap = shape_from_traces(traces, SHAPE, ShapeSettings()).dymap
        wanted = strips(np.array([t.coefficients for t in traces]), np.empty((0, 1)), 6, 6, SHAPE)
        found = order_profile(image, wanted, dymap, OrderProfileSettings())
        inside = wanted != 0
        assert np.isfinite(found[inside]).all()
        assert np.abs(found - light)[inside].max() < 12
        assert not found[~inside].any()


class TestTilt:
    SLIT = 12

    def comb(self, tilt, seed=1):
        """Lines that lean by ``tilt`` columns per row, a little more towards high columns."""
        y = np.arange(SHAPE[0], dtype=float)[:, None]
        image, slits = np.zeros(SHAPE), []
        for row in ROWS[1::2]:
            away = y - row - curve(X, row)
            straight = X - self.lean(tilt, X) * away
            lines = np.exp(8 * (np.cos(2 * np.pi * straight / (22 + row / 50)) - 1)) + 0.02
            image += 3000 * lines * np.exp(-((np.abs(away) / self.SLIT) ** 6))
            slits.append(Slit(row, int(np.ceil(row - self.SLIT)), int(np.floor(row + self.SLIT))))
        noisy = np.random.default_rng(seed).normal(image, np.sqrt(image + 25))
        return noisy.astype(np.float32), slits

    @staticmethod
    def lean(tilt, x):
        return tilt * (1 + 0.3 * (x / SHAPE[1] - 0.5))

    def dymap(self):
        rows = np.arange(SHAPE[0], dtype=float)[:, None]
        return np.asarray(curve(X, rows), np.float32)

    @pytest.mark.parametrize("tilt", [0.0, 0.08, -0.3])
    def test_the_tilt_of_a_comb_is_measured(self, tilt):
        image, slits = self.comb(tilt)
        found = measure_tilt(image, self.dymap(), slits, TiltSettings())
        middle = found.tilts[:, 8]
        # At the ends of the slit that is 0.05 pixel.
        assert np.abs(middle - self.lean(tilt, 520.0)).max() * self.SLIT < 0.05
        assert found.edge_error < 0.02

    def test_lines_stand_upright_afterwards(self):
        image, slits = self.comb(0.2)
        level = self.dymap()
        dxmap = measure_tilt(image, level, slits, TiltSettings()).dxmap
        straight = _core.straighten(image, IDENTITY, dxmap, moved_along(level, dxmap))
        for slit in slits:
            low, high = (straight[round(slit.middle) + side, 100:900].astype(float) for side in (-8, 8))
            lags = np.arange(-4, 5)
            likeness = [np.nansum(low[10:-10] * np.roll(high, lag)[10:-10]) for lag in lags]
            a, b, c = likeness[np.argmax(likeness) - 1 : np.argmax(likeness) + 2]
            shift = lags[np.argmax(likeness)] + 0.5 * (a - c) / (a - 2 * b + c)
            assert abs(shift) < 0.1

    def test_a_frame_without_lines_is_refused(self):
        _, slits = self.comb(0.0)
        flat = np.random.default_rng(2).normal(100, 10, SHAPE).astype(np.float32)
        with pytest.raises(InputError, match="lines in"):
            measure_tilt(flat, self.dymap(), slits, TiltSettings())
