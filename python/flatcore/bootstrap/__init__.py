"""From frames to calibrations: all that a run needs, made of the night's flats, darks and biases alone."""

from flatcore.bootstrap.inputs import Names
from flatcore.bootstrap.request import STEPS, BootstrapRequest
from flatcore.bootstrap.results import BootstrapImages, BootstrapResult, Made, Window
from flatcore.bootstrap.session import bootstrap

__all__ = [
    "STEPS",
    "BootstrapImages",
    "BootstrapRequest",
    "BootstrapResult",
    "Made",
    "Names",
    "Window",
    "bootstrap",
]
