"""Traces: reading them, choosing a fibre's, moving them, and the rows to extract."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial import chebyshev

from flatcore.errors import CalibrationError
from flatcore.instrument import Fiber
from flatcore.localisation import move_traces, order_windows, read_traces, straight_rows, traces_of_fiber
from tests.twins import extract as extract_twin
from tests.twins import recipe as twin

COLUMNS = 1080
IDENTITY = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
LINEAR = (0.31, -0.42, 1.0003, -0.0004, 0.0007, 0.9996)


def traces_like_spirou(count=6, terms=5):
    """Curved traces 40 rows apart."""
    rng = np.random.default_rng(2)
    traces = rng.normal(0, [0.0, 6.0, 4.0, 0.3, 0.05][:terms], (count, terms))
    traces[:, 0] = 30 + 40.0 * np.arange(count)
    return traces


def loc_header(traces, **changes):
    """The header of a LOC file; a card given as None is left out."""
    cards = {"LONBO": len(traces), "LODEGCTR": traces.shape[1] - 1, "LOPTYPE": "Chebyshev"}
    cards |= {f"LOCE{i:04d}": value for i, value in enumerate(traces.ravel())}
    return fits.Header({key: value for key, value in (cards | changes).items() if value is not None})


def fiber(below, above):
    return Fiber(channel=0, localisation="AB", below=below, above=above)


class TestRead:
    def test_rows_of_coefficients(self, tmp_path):
        traces = traces_like_spirou(4, 3)
        np.testing.assert_array_equal(read_traces(loc_header(traces), tmp_path), traces)

    def test_whole_numbers_and_one_constant_trace(self, tmp_path):
        header = fits.Header({"LONBO": 1, "LODEGCTR": 0, "LOCE0000": 7})
        np.testing.assert_array_equal(read_traces(header, tmp_path), [[7.0]])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"LONBO": None}, "header keyword LONBO = None, expected a number"),
            ({"LODEGCTR": "four"}, "header keyword LODEGCTR = 'four', expected a number"),
            ({"LOCE0011": None}, "header keyword LOCE0011 = None, expected a number"),
            ({"LOCE0003": "x"}, "header keyword LOCE0003 = 'x', expected a number"),
            ({"LOCE0003": True}, "header keyword LOCE0003 = True, expected a number"),
            ({"LONBO": 0}, "LONBO = 0, LODEGCTR = 2: expected at least 1 and 0"),
            ({"LODEGCTR": -1}, "LONBO = 4, LODEGCTR = -1: expected at least 1 and 0"),
            ({"LOPTYPE": "polynomial"}, "header keyword LOPTYPE = 'polynomial', expected 'chebyshev'"),
        ],
    )
    def test_faults(self, tmp_path, changes, message):
        path = tmp_path / "loco.fits"
        with pytest.raises(CalibrationError) as error:
            read_traces(loc_header(traces_like_spirou(4, 3), **changes), path)
        assert str(error.value) == f"{path}: {message}"


class TestOfFiber:
    @pytest.mark.parametrize("which", ["all", "even", "odd", "pair-mean"])
    def test_as_the_twin(self, which):
        traces = traces_like_spirou()
        np.testing.assert_array_equal(traces_of_fiber(traces, which), twin.traces_of(loc_header(traces), which))

    @pytest.mark.parametrize(
        ("which", "rows"), [("all", [0, 1, 2, 3]), ("even", [0, 2]), ("odd", [1, 3]), ("pair-mean", [0.5, 2.5])]
    )
    def test_which_rows(self, which, rows):
        traces = np.repeat(np.arange(4.0)[:, None], 3, axis=1)
        np.testing.assert_array_equal(traces_of_fiber(traces, which)[:, 0], rows)

    @pytest.mark.parametrize("which", ["even", "odd", "pair-mean"])
    def test_an_odd_number_has_no_pairs(self, which):
        with pytest.raises(ValueError, match=rf"5 traces cannot be taken in pairs \({which}\)"):
            traces_of_fiber(np.zeros((5, 3)), which)

    def test_an_odd_number_is_fine_without_pairs(self):
        assert len(traces_of_fiber(np.zeros((5, 3)), "all")) == 5


class TestMove:
    def test_nowhere(self):
        traces = traces_like_spirou()
        np.testing.assert_allclose(move_traces(traces, IDENTITY, COLUMNS), traces, atol=1e-10)

    def test_as_the_twin(self):
        traces = traces_like_spirou()
        expected = [twin.moved_trace(trace, LINEAR, COLUMNS) for trace in traces]
        np.testing.assert_allclose(move_traces(traces, LINEAR, COLUMNS), expected, rtol=1e-12, atol=1e-11)

    def test_columns_that_do_not_fill_the_domain(self):
        # Stretched to three times the domain, where Chebyshev polynomials are anything but orthogonal.
        linear = (40.0, 2.0, 1 / 3, 0.0, 0.0, 1.0)
        traces = traces_like_spirou()
        moved = move_traces(traces, linear, COLUMNS)
        x = np.linspace(0, COLUMNS, 7)
        source = chebyshev.chebval(2 * ((x + 40.0) / 3) / COLUMNS - 1, traces.T)
        np.testing.assert_allclose(chebyshev.chebval(2 * x / COLUMNS - 1, moved.T), source - 2.0, atol=1e-8)

    def test_by_rows(self):
        traces = traces_like_spirou()
        moved = move_traces(traces, (0.0, 2.5, 1.0, 0.0, 0.0, 1.0), COLUMNS)
        expected = traces.copy()
        expected[:, 0] -= 2.5
        np.testing.assert_allclose(moved, expected, atol=1e-10)

    def test_by_columns(self):
        # A straight, sloping trace moved by 3 columns lies 3 slopes higher.
        trace = np.array([[100.0, 54.0]])
        slope = 54.0 * 2 / COLUMNS
        rows = straight_rows(move_traces(trace, (3.0, 0.0, 1.0, 0.0, 0.0, 1.0), COLUMNS), COLUMNS)
        assert rows[0] == pytest.approx(100.0 + 3 * slope, abs=1e-9)

    def test_back_and_forth(self):
        traces = traces_like_spirou(3, 3)
        there = move_traces(traces, (0.0, 0.0, 1.001, 0.002, -0.003, 0.999), COLUMNS)
        back = np.linalg.inv([[1.001, 0.002], [-0.003, 0.999]]).ravel()
        np.testing.assert_allclose(move_traces(there, (0.0, 0.0, *back), COLUMNS), traces, atol=1e-3)
        assert abs(there - traces).max() > 0.1

    def test_the_traces_given_are_not_changed(self):
        traces = traces_like_spirou()
        before = traces.copy()
        move_traces(traces, LINEAR, COLUMNS)
        np.testing.assert_array_equal(traces, before)

    @pytest.mark.parametrize("matrix", [(0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0), (np.nan, 0.0, 0.0, 1.0)])
    def test_a_transform_without_inverse(self, matrix):
        with pytest.raises(ValueError, match="cannot be inverted"):
            move_traces(traces_like_spirou(), (0.0, 0.0, *matrix), COLUMNS)


class TestRows:
    @pytest.mark.parametrize("columns", [1080, 1081, 7])
    def test_at_the_middle_column(self, columns):
        traces = traces_like_spirou()
        expected = [twin.straight_row(trace, IDENTITY, columns) for trace in traces]
        np.testing.assert_allclose(straight_rows(traces, columns), expected, atol=1e-9)

    def test_the_middle_column_is_half_rounded_down(self):
        slope = np.array([[0.0, 1.0]])
        assert straight_rows(slope, 8)[0] == 0.0
        assert straight_rows(slope, 9)[0] == chebyshev.chebval(2 * 4 / 9 - 1, [0.0, 1.0])

    @pytest.mark.parametrize(
        ("centre", "below", "above", "window"),
        [
            (100.0, 16, 16, (84, 33)),
            (100.4, 7, 7, (93, 15)),
            (100.6, 7, 7, (94, 15)),
            # Halves go to the even row at either end.
            (100.5, 7, 7, (94, 15)),
            (101.5, 7, 7, (94, 15)),
            (100.0, 2.5, 2.5, (98, 5)),
            (101.0, 2.5, 2.5, (98, 7)),
            (100.0, 2, 5, (98, 8)),
            (3.0, 7, 7, (-4, 15)),
            (50.0, 0, 0, (50, 1)),
        ],
    )
    def test_windows(self, centre, below, above, window):
        assert order_windows(np.array([centre]), fiber(below, above)) == (window,)
        assert extract_twin.order_rows(centre, below, above) == window

    def test_a_window_for_each_order(self):
        windows = order_windows(np.array([10.0, 50.0, 90.5]), fiber(3, 4))
        assert windows == ((7, 8), (47, 8), (88, 7))
        assert all(type(number) is int for window in windows for number in window)
