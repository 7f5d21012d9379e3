"""What tests of figures ask of a figure, and the small night they are drawn from."""

from dataclasses import replace

from matplotlib.backends.backend_agg import FigureCanvasAgg

from flatcore.instrument import load_profile
from flatcore.settings import Settings

SMALL = load_profile("SMALL")
LIMITS = Settings().flat
ORDER = SMALL.plot.order


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def names(figure):
    return [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]


def texts(figure):
    return " ".join(text.get_text() for text in figure.texts)


def only_fiber(image, name="C"):
    return replace(image, fibers={name: image.fibers[name]})


def draw(figure):
    figure.set_dpi(40)
    FigureCanvasAgg(figure).draw()
