"""Traces of a laboratory échelle from its frames alone, held to those that came with it."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from flatcore.combine import combine_frames
from flatcore.fitsio import read_header, read_image
from flatcore.localisation import read_traces
from flatcore.locate import locate
from tests.conftest import shared

COLUMNS = 2560


@pytest.fixture(scope="module")
def laboratory():
    """Traces found, and those given."""
    source = shared("data", "lhd_zyla")
    frames = [read_image(path)[1] for path in sorted((source / "tmp" / "2019-03-14").glob("*.fits"))]
    dark = read_image(source / "calib" / "lhd_dark_ref.fits")[1]
    path = source / "calib" / "lhd_loco_A.fits"
    given = chebyshev.chebval(2 * np.arange(COLUMNS) / COLUMNS - 1, read_traces(read_header(path), path).T)
    return locate(combine_frames(frames) - dark), given


def test_all_orders_are_found_and_no_other_is_between_them(laboratory):
    located, given = laboratory
    assert len(located.traces) >= 27
    middle = located.rows()[:, COLUMNS // 2]
    within = middle[(middle > given[0, COLUMNS // 2] - 10) & (middle < given[-1, COLUMNS // 2] + 10)]
    assert len(within) == 27


def test_traces_are_near_those_given_over_the_bright_half(laboratory):
    located, given = laboratory
    half = slice(COLUMNS // 4, 3 * COLUMNS // 4)
    for trace in given:
        nearest = np.abs(located.rows()[:, half] - trace[half]).max(axis=1).min()
        assert nearest < 0.3


def test_bright_orders_fit_and_are_as_wide_as_the_slit(laboratory):
    located, _ = laboratory
    bright = [trace for trace in located.traces if trace.peak_snr > 200 and trace.complete]
    assert len(bright) >= 12
    assert max(trace.rms for trace in bright) < 0.03
    assert all(25 < trace.fwhm < 27 for trace in bright)
    assert all(trace.ends == ("detector", "detector") for trace in bright)
    assert all(15 < trace.below < 25 and 15 < trace.above < 25 for trace in bright)
