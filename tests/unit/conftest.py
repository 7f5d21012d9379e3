"""A small night with its images, as figures are drawn from it, and a damaged fibre of it."""

from dataclasses import replace

import numpy as np
import pytest

from flatcore import plots
from flatcore.blaze import fit_orders
from flatcore.fitsio import read_header
from flatcore.flat import make_flat
from flatcore.localisation import read_traces, traces_of_fiber
from flatcore.recipe import run_night
from flatcore.settings import Settings
from tests.figures import LIMITS, SMALL


@pytest.fixture(scope="session")
def plot_night(small_night):
    """A night's result with its images, and the traces of its fibres."""
    result = run_night("2020-08-31", data_root=small_night, settings={"output": {"save": False}}, keep_images=True)
    loc = {file.fiber: file.path for file in result.calibrations if file.keyname == "LOC"}
    traces = {}
    for name, fiber in SMALL.fibers.items():
        path = loc[fiber.localisation]
        traces[name] = traces_of_fiber(read_traces(read_header(path), path), fiber.traces)
    return result, traces


@pytest.fixture(scope="session")
def views(plot_night):
    result, traces = plot_night
    return {view.fiber: view for view in plots.fiber_views(result, result.images[0], traces, SMALL)}


@pytest.fixture(scope="session")
def damaged(views):
    """Fibre C with one pixel or order for each reason."""
    view = views["C"]
    e2ds = view.spectra.e2ds.copy()
    e2ds[2] = np.nan
    e2ds[3, 300] *= 1.5
    e2ds[3, 400] *= 1.15
    e2ds[3, 500] = np.nan
    e2ds[3, :12] *= 1e-3
    planes = {name: np.zeros(e2ds.shape, bool) for name in ("bad", "outlying", "off_detector")}
    planes["bad"][3, 650] = planes["outlying"][3, 600] = True
    planes["off_detector"][0] = True
    windows = ((-3, view.spectra.windows[3][1]), *view.spectra.windows[1:])
    spectra = replace(view.spectra, e2ds=e2ds, windows=windows, **planes)
    blaze = SMALL.blaze.model_copy(update={"cut": 0.3})
    saturated = np.zeros(e2ds.shape, bool)
    saturated[3, 700] = True
    flat = make_flat(spectra, fit_orders(e2ds, blaze, Settings().blaze), LIMITS, saturated)
    return replace(view, spectra=spectra, flat=flat)
