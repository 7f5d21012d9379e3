"""Time against number of frames, image size and number of orders: per element it must not grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.bench import Bench, Detail, Row
from benchmarks.measure import race
from flatcore import _core
from flatcore.blaze import fit_orders
from flatcore.calibrate import subtract_background
from flatcore.combine import combine_frames
from flatcore.images import Transform
from flatcore.straighten import straighten

FRAMES = (5, 10, 20, 40, 80)
ORDERS = (10, 25, 49)
SIDES = (512, 1024, 2048, 4096)
# Side of the frames whose number grows.
FRAME_SIDE = 1024
REPEATS = 3


def growth(bench: Bench) -> list[Row]:
    """Add the table of growth; it has no targets of its own."""
    steps = bench.steps
    noise = np.random.default_rng(1)
    frames = list(noise.normal(500, 30, (max(FRAMES), FRAME_SIDE, FRAME_SIDE)).astype(np.float32))
    lines = [
        _line(bench, "median", "frames", "pixel", {
            count: (count * FRAME_SIDE**2, lambda count=count: combine_frames(frames[:count])) for count in FRAMES
        }),
        *(_images(bench)),
    ]  # fmt: skip
    name = next(iter(steps.windows))
    fiber = steps.profile.fibers[name]
    profile, windows = steps.straight_profiles[fiber.localisation], list(steps.windows[name])
    e2ds = steps.extracted(name).e2ds
    columns = e2ds.shape[1]

    def extracted(count: int) -> object:
        mapping = (steps.transform.linear, steps.transform.dxmap, steps.transform.dymap)
        noise = (steps.readnoise_e, 1.0)
        return _core.extract_orders(steps.straight, profile, windows[:count], 10.0, False, noise, *mapping)

    def fitted(count: int) -> object:
        return fit_orders(e2ds[-count:], steps.profile.blaze, steps.settings.blaze, bench.threads)

    lines.append(_line(bench, "extraction", "orders", "column", {
        count: (count * columns, lambda count=count: extracted(count)) for count in ORDERS
    }))  # fmt: skip
    lines.append(_line(bench, "blaze fits", "orders", "column", {
        count: (count * columns, lambda count=count: fitted(count)) for count in ORDERS
    }))  # fmt: skip
    bench.details.append(
        Detail(
            "Growth",
            ["work", "against", "nanoseconds for each", "measured", "last over first"],
            lines,
            "Linear growth is 1.00 in the last column; less than that is better than linear.",
        )
    )
    return []


def _images(bench: Bench) -> list[tuple[str, ...]]:
    """Steps on square images, cut from the full night's image repeated beyond its edges."""
    steps, side = bench.steps, max(SIDES)
    rows, columns = steps.corrected.shape
    transform, back = steps.transform, steps.profile.background

    def wide(image: np.ndarray) -> np.ndarray:
        return np.pad(image, ((0, side - rows), (0, side - columns)), mode="wrap")

    image, unlit, bad = wide(steps.electrons), wide(steps.calibrations.unlit), wide(steps.calibrations.bad)
    dxmap, dymap = wide(transform.dxmap), wide(transform.dymap)
    works: dict[str, Callable[[int], Callable[[], object]]] = {}

    def cut(array: np.ndarray, size: int) -> np.ndarray:
        return np.ascontiguousarray(array[:size, :size])

    def straightening(size: int) -> Callable[[], object]:
        frame, maps = cut(image, size), Transform(transform.linear, cut(dxmap, size), cut(dymap, size))
        return lambda: straighten(frame, maps)

    def background(size: int) -> Callable[[], object]:
        frame, mask = cut(image, size), cut(unlit, size)
        return lambda: subtract_background(frame, mask, back)

    def hot_pixels(size: int) -> Callable[[], object]:
        frame, mask = cut(image, size), cut(bad, size)
        return lambda: _core.repair_hot_pixels(frame, mask, 10.0)

    works = {"straighten": straightening, "background, 5 passes": background, "hot pixels": hot_pixels}
    return [
        _line(bench, work, "side of the image", "pixel", {size: (size**2, make(size)) for size in SIDES})
        for work, make in works.items()
    ]


def _line(
    bench: Bench, work: str, against: str, element: str, sizes: Mapping[int, tuple[int, Callable[[], object]]]
) -> tuple[str, ...]:
    """Nanoseconds per element at each size, and how the last compares with the first."""
    rounds = race(
        {str(size): task for size, (_, task) in sizes.items()},
        max(bench.repeats, REPEATS),
        lambda text: bench.tell(f"growth of {work}: {text}"),
        budget_s=4.0,
    )
    times = bench.record(f"growth of {work}", rounds)
    each = {size: 1e9 * times[str(size)] / elements for size, (elements, _) in sizes.items()}
    values = list(each.values())
    shown = ", ".join(f"{size}: {value:.3g}" for size, value in each.items())
    return work, against, element, shown, f"{values[-1] / values[0]:.2f}"
