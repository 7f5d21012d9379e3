"""Steps on the whole image of 3100 x 4088 pixels: straightening, background, hot pixels."""

from __future__ import annotations

from benchmarks import twins
from benchmarks.agreement import compare
from benchmarks.bench import Bench, Row
from benchmarks.measure import timed
from flatcore import _core
from flatcore.calibrate import subtract_background
from flatcore.straighten import straighten

# Values below this many electrons are compared as if they were so large: noise and read noise are tens of electrons.
FLOOR_E = 100.0


def straightening(bench: Bench) -> list[Row]:
    """The calibrated image, in which clusters of bad pixels are NaN."""
    image, transform = bench.steps.calibrated, bench.steps.transform

    def places() -> twins.Doubles:
        return twins.source_positions(transform.linear, transform.dxmap, transform.dymap)

    # Positions are the same for all images of a night: a recipe makes them once, and so they count once in the sum.
    bench.twin_seconds["positions"] = timed(places)
    positions = places()
    times = bench.race(
        "straighten",
        {
            "flatcore": lambda: straighten(image, transform),
            "SciPy": lambda: twins.straighten(image, positions),
        },
    )
    bench.twin_seconds["straighten"] = times["SciPy"]
    agreement = compare(straighten(image, transform), twins.straighten(image, positions), 1e-5, floor=FLOOR_E)
    work, against = f"straighten {image.shape[0]} × {image.shape[1]} with NaN weights", "two map_coordinates(order=2)"
    return [Row(work, against, times["flatcore"], times["SciPy"], 12.0, agreement=agreement)]


def background(bench: Bench) -> list[Row]:
    """Scattered light and the global map, subtracted."""
    steps = bench.steps
    profile, passes = steps.profile.background, steps.settings.calibrate.background_passes
    unlit = steps.calibrations.unlit
    scattered = profile.scattered_amplitude, profile.kernel_y, profile.kernel_x, profile.kernel_sigma

    def ours() -> twins.Floats:
        return subtract_background(steps.electrons, unlit, profile, passes).corrected

    def theirs() -> twins.Doubles:
        return twins.subtract_background(steps.electrons, unlit != 0, profile.box, scattered, passes)

    times = bench.race("background", {"flatcore": ours, "twin": theirs})
    bench.twin_seconds["background"] = times["twin"]
    agreement = compare(ours(), theirs(), 1e-5, floor=FLOOR_E)
    return [Row(f"background, {passes} passes", "twin", times["flatcore"], times["twin"], 15.0, agreement=agreement)]


def hot_pixels(bench: Bench) -> list[Row]:
    """Hot and bad pixels found and repaired."""
    image, bad = bench.steps.corrected, bench.steps.calibrations.bad
    threshold = bench.steps.settings.calibrate.hot_threshold

    def ours() -> twins.Floats:
        return _core.repair_hot_pixels(image, bad, threshold)

    def theirs() -> twins.Doubles:
        return twins.repair_hot_pixels(image, bad, threshold)

    times = bench.race("hot pixels", {"flatcore": ours, "twin": theirs})
    bench.twin_seconds["hot pixels"] = times["twin"]
    agreement = compare(ours(), theirs(), 1e-5, floor=FLOOR_E)
    return [Row("hot pixels", "twin", times["flatcore"], times["twin"], 20.0, agreement=agreement)]
