"""Figures look as they did when somebody last looked at them.

The references in ``tests/data/figures`` are drawn without text and legends, whose sizes differ between versions of
matplotlib and FreeType. After a change that is meant, look at the figures, and draw the references anew: set
FLATCORE_DRAW=1 and run this file.
"""

import os
from dataclasses import replace
from pathlib import Path

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.legend import Legend
from matplotlib.text import Text
from PIL import Image

from flatcore import plots
from tests.figures import SMALL

REFERENCES = Path(__file__).parents[1] / "data" / "figures"
FIGURES = {
    "blaze_order": lambda view: plots.blaze_order_figure(view, 3),
    "blaze_overview": plots.blaze_overview_figure,
    "edges_order": lambda view: plots.edges_order_figure(view, 3),
    "flat_image": plots.flat_image_figure,
    "flat_histogram": plots.flat_histogram_figure,
    "quality": plots.quality_figure,
}
DPI = 40
# Pixels are averaged over so many each way, and then differ by no more than this of full scale: lines may be drawn half
# a pixel beside where they were, and the pixels of a noisy image may be others than they were.
BLOCK, MOST, MOST_OF_IMAGES = 8, 0.05, 0.2
IMAGES = ("blaze_overview", "edges_order", "flat_image", "background")
# Nor does a figure differ by more than this on average.
MEAN, MEAN_OF_IMAGES = 0.004, 0.015


def drawn(figure):
    """Red, green and blue of a figure without text and legends, 0 to 1."""
    for kind in (Text, Legend):
        for artist in figure.findobj(kind):
            artist.set_visible(False)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3] / 255


def averaged(pixels):
    rows, columns = (size // BLOCK * BLOCK for size in pixels.shape[:2])
    return pixels[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK, 3).mean(axis=(1, 3))


def difference(found, expected):
    """Greatest and mean difference of averaged pixels."""
    assert found.shape == expected.shape
    apart = np.abs(averaged(found) - averaged(expected))
    return float(apart.max()), float(apart.mean())


def reference(name):
    with Image.open(REFERENCES / f"{name}.png") as image:
        return np.asarray(image.convert("RGB")) / 255


def compare(found, name):
    """Hold a figure to its reference, or make it the reference."""
    if os.environ.get("FLATCORE_DRAW") == "1":
        Image.fromarray((255 * found).round().astype(np.uint8)).save(REFERENCES / f"{name}.png", optimize=True)
    most, mean = difference(found, reference(name))
    limits = (MOST_OF_IMAGES, MEAN_OF_IMAGES) if name in IMAGES else (MOST, MEAN)
    assert most < limits[0] and mean < limits[1]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(damaged, name):
    with matplotlib.style.context("default"):
        found = drawn(FIGURES[name](damaged))
    compare(found, name)


def test_the_background_looks_as_it_did(plot_night):
    result, traces = plot_night
    image = plots.image_view(result, result.images[0], traces, SMALL)
    with matplotlib.style.context("default"):
        found = drawn(plots.background_figure(image))
    compare(found, "background")


def test_another_figure_is_told_apart(damaged):
    """The comparison sees a limit that is not where it was, an order without flat, and another layout."""
    with matplotlib.style.context("default"):
        limit = replace(damaged, asked=damaged.asked.model_copy(update={"max_rms": 0.03}))
        assert difference(drawn(plots.quality_figure(limit)), reference("quality"))[0] > MOST
        flat = damaged.flat.flat.copy()
        flat[6] = np.nan
        empty = replace(damaged, flat=replace(damaged.flat, flat=flat))
        assert difference(drawn(plots.flat_image_figure(empty)), reference("flat_image"))[0] > MOST_OF_IMAGES
        other = drawn(plots.blaze_order_figure(damaged, 4))
        assert difference(other, reference("blaze_order"))[0] > MOST
