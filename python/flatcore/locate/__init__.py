"""Order tracing without a priori positions: an image in, numbered traces with widths and windows out."""

from flatcore.locate.orders import locate
from flatcore.locate.results import Located, Trace
from flatcore.locate.settings import LocateSettings

__all__ = ["LocateSettings", "Located", "Trace", "locate"]
