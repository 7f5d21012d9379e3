"""How many orders tracing finds on random images with known traces: ``python -m benchmarks.geometries``.

Every seed draws a geometry (see :mod:`benchmarks.scenes`) and an image of it; tracing is told the image and the number
of fibres, nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import LEAST_COLUMNS, LEAST_SNR, LIT_SNR, Geometry, Scene, draw_geometry, draw_scene
from flatcore.locate import Located, LocateSettings, locate

BEGIN, END = "<!-- geometries: begin -->", "<!-- geometries: end -->"
# A trace is found where a located one is this near over all its lit columns, rms: in widths, and in pixels at least.
NEAR_WIDTHS, NEAR_PIXELS = 0.25, 0.5
# A located trace is false where no true one is this near, in widths.
FALSE_WIDTHS = 0.5
BRIGHT_SNR = 20.0


@dataclass(frozen=True)
class Outcome:
    """What tracing made of an image.

    Attributes
    ----------
    snr, error
        Of the traces asked for: signal to noise at the brightest, and distance of the nearest located trace over the
        lit columns [pixels, rms].
    false
        Signal to noise, as tracing has it, of the located traces that are none.
    matched, paired
        Located traces that are true ones, and those of them with the right fibre.
    seconds
        Of tracing.
    """

    geometry: Geometry
    snr: NDArray[np.float64]
    error: NDArray[np.float64]
    false: NDArray[np.float64]
    matched: int
    paired: int
    seconds: float

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which of the traces asked for were found."""
        return self.error <= max(NEAR_WIDTHS * self.geometry.fwhm, NEAR_PIXELS)


def trace_scene(scene: Scene) -> Outcome:
    """Trace an image and hold the result to the truth."""
    started = time.perf_counter()
    located = locate(scene.image, LocateSettings(fibers=scene.geometry.fibers))
    seconds = time.perf_counter() - started
    distance = _distances(located, scene)
    nearest = distance.argmin(axis=1) if distance.size else np.zeros(0, int)
    is_true = distance.min(axis=1, initial=np.inf) <= FALSE_WIDTHS * scene.geometry.fwhm
    fibers = np.array([trace.fiber for trace in located.traces], dtype=int)
    snr = np.array([trace.peak_snr for trace in located.traces])
    return Outcome(
        geometry=scene.geometry,
        snr=scene.peak_snr[scene.asked],
        error=_errors(located, scene)[scene.asked],
        false=snr[~is_true],
        matched=int(is_true.sum()),
        paired=int((fibers[is_true] == scene.fiber[nearest[is_true]]).sum()),
        seconds=seconds,
    )


def _errors(located: Located, scene: Scene) -> NDArray[np.float64]:
    """Distance of each true trace from the nearest located one over its lit columns [pixels, rms]."""
    rows = located.rows() if located.traces else np.empty((0, scene.image.shape[1]))
    errors = np.full(len(scene.centres), np.inf)
    for i, (centre, lit) in enumerate(zip(scene.centres, scene.lit, strict=True)):
        if lit.any() and len(rows):
            errors[i] = np.sqrt(np.mean((rows[:, lit] - centre[lit]) ** 2, axis=1)).min()
    return errors


def _distances(located: Located, scene: Scene) -> NDArray[np.float64]:
    """Distance of located traces from true ones over the columns they were followed [pixels, rms]."""
    rows = located.rows() if located.traces else np.empty((0, scene.image.shape[1]))
    distances = np.full((len(rows), len(scene.centres)), np.inf)
    for i, (row, trace) in enumerate(zip(rows, located.traces, strict=True)):
        seen = slice(trace.first, trace.last + 1)
        distances[i] = np.sqrt(np.mean((scene.centres[:, seen] - row[seen]) ** 2, axis=1))
    return distances


def measure(seeds: Sequence[int], tell: Callable[[str], None] = print) -> list[Outcome]:
    """Trace the images of some seeds, and tell of each that is not perfect."""
    outcomes = []
    for seed in seeds:
        outcome = trace_scene(draw_scene(draw_geometry(seed)))
        outcomes.append(outcome)
        missed = int((~outcome.found).sum())
        if missed or outcome.false.size:
            tell(
                f"seed {seed}: {missed} of {len(outcome.found)} missed, {outcome.false.size} false; {outcome.geometry}"
            )
    return outcomes


def table(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Lines of the table: what is counted, images, traces asked for, found, share, false, error, fibre."""
    lines = [_line("all", outcomes, lambda o: np.ones(len(o.snr), bool))]
    for low, high in ((10, 20), (20, 50), (50, 100), (100, 500)):
        lines.append(_line(f"S/N {low} to {high}", outcomes, _snr_between(low, high), false=(low, high)))
    groups: list[tuple[str, Callable[[Geometry], bool]]] = []
    groups += [(f"{n} fibre{'s' * (n > 1)}", lambda g, n=n: g.fibers == n) for n in (1, 2, 3)]
    groups += [
        (f"FWHM {low:g} to {high:g} px", lambda g, low=low, high=high: low <= g.fwhm < high)
        for low, high in ((2.5, 5), (5, 10), (10, 30))
    ]
    groups += [
        (f"{low} to {high} orders", lambda g, low=low, high=high: low <= g.orders <= high)
        for low, high in ((5, 14), (15, 39), (40, 90))
    ]
    groups += [(f"profile: {kind}", lambda g, kind=kind: g.profile == kind) for kind in ("gaussian", "flat", "slicer")]
    groups += [
        ("background", lambda g: g.background > 0),
        ("vignetting", lambda g: g.vignetting > 0),
        ("bad columns", lambda g: g.bad_columns > 0),
    ]
    for name, chosen in groups:
        lines.append(_line(name, [o for o in outcomes if chosen(o.geometry)], lambda o: np.ones(len(o.snr), bool)))
    return lines


def _snr_between(low: float, high: float) -> Callable[[Outcome], NDArray[np.bool_]]:
    return lambda outcome: (outcome.snr >= low) & (outcome.snr < high) | (outcome.snr >= high) & (high >= 500)


def _line(
    name: str,
    outcomes: Sequence[Outcome],
    which: Callable[[Outcome], NDArray[np.bool_]],
    false: tuple[float, float] = (0, np.inf),
) -> tuple[str, ...]:
    chosen = [(outcome, which(outcome)) for outcome in outcomes]
    chosen = [(outcome, mask) for outcome, mask in chosen if mask.any()]
    asked = sum(int(mask.sum()) for _, mask in chosen)
    found = sum(int((outcome.found & mask).sum()) for outcome, mask in chosen)
    wrong = sum(int(((o.false >= false[0]) & (o.false < false[1])).sum()) for o in outcomes)
    errors = np.concatenate([outcome.error[mask & outcome.found] for outcome, mask in chosen] or [np.empty(0)])
    matched, paired = (sum(getattr(outcome, what) for outcome, _ in chosen) for what in ("matched", "paired"))
    if not asked:
        return (name, "0", "0", "", "", str(wrong), "", "", "", "")
    middle, most, worst = np.percentile(errors, [50, 95, 100]) if errors.size else (np.nan,) * 3
    texts = (f"{middle:.3f}", f"{most:.3f}", f"{worst:.2f}", f"{paired / max(matched, 1):.2%}")
    return (name, str(len(chosen)), str(asked), str(found), f"{found / asked:.2%}", str(wrong), *texts)


HEADINGS = ("", "images", "asked for", "found", "share", "false", "error [px]", "95 %", "largest", "fibre right")


def markdown(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> str:
    """Give rules and table as Markdown."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *table(outcomes)]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    seconds = np.median([outcome.seconds for outcome in outcomes])
    bright = sum(int((o.false > BRIGHT_SNR).sum()) for o in outcomes)
    return (
        f"Seeds {seeds[0]} to {seeds[-1]}; {seconds:.2f} s an image (median). A trace is asked for where it has a "
        f"signal to noise of {LEAST_SNR:g} per column or more somewhere, and {LIT_SNR:g} or more over {LEAST_COLUMNS} "
        f"columns at least (lit columns); where its centre is nearer than its width to an edge of the detector, and in "
        f"columns without value, it counts as dark. It is found where a located trace is within {NEAR_WIDTHS:g} of its "
        f"width (or {NEAR_PIXELS:g} px, if that is more), rms over all its lit columns. A located trace is false where "
        f"no true one, however faint, is within {FALSE_WIDTHS:g} of a width, rms over the columns it was followed; "
        f"false ones brighter than S/N {BRIGHT_SNR:g}: {bright}. Errors are rms over the lit columns of each trace "
        f"found: median over the traces, 95th percentile, largest. S/N is that of the trace itself at its brightest; "
        f"of false ones, as measured.\n\n"
        f"{lines}"
    )


def save_markdown(text: str, path: Path) -> None:
    """Write between the markers of a page.

    Raises
    ------
    ValueError
        The page has no markers.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: expected the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main(arguments: Sequence[str] | None = None, tell: Callable[[str], None] = print) -> None:
    """Measure, print, and write the table where it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.geometries", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=200, help="number of seeds")
    parser.add_argument("--page", type=Path, help="page with markers, in which the table is written")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.count)
    text = markdown(measure(seeds, tell), seeds)
    tell(text)
    if chosen.page:
        save_markdown(text, chosen.page)


if __name__ == "__main__":
    main()
