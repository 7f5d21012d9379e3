"""The measurements by name, in the order of the work."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench, Row
from benchmarks.growth import growth
from benchmarks.rows.frames import median_of_files, median_of_frames
from benchmarks.rows.image import background, hot_pixels, straightening
from benchmarks.rows.process import startup, whole_run
from benchmarks.rows.spectra import blaze_fits, extraction

ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "median": median_of_frames,
    "files": median_of_files,
    "straighten": straightening,
    "background": background,
    "hotpixels": hot_pixels,
    "extract": extraction,
    "blaze": blaze_fits,
    "run": whole_run,
    "startup": startup,
    "growth": growth,
}
