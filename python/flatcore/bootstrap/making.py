"""The calibrations of a workbench as files, each with the figure that tells how good it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flatcore.bootstrap.badpixels import Bad, counts
from flatcore.bootstrap.files import Card, rows_of, trace_cards
from flatcore.bootstrap.tracetable import trace_records, trace_table
from flatcore.bootstrap.workbench import Workbench
from flatcore.fitsio import FitsImage
from flatcore.hdu import Hdu

IDENTITY = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Content:
    """What goes into a calibration file.

    Attributes
    ----------
    image
        Pixels.
    frames
        What it is made of.
    cards
        Keywords of its own.
    figure, numbers
        What to know of it, in words and for programs.
    tables
        Tables that follow the image.
    """

    image: NDArray[Any]
    frames: Sequence[FitsImage]
    cards: Mapping[str, Card]
    figure: str
    numbers: Mapping[str, Any]
    tables: Sequence[Hdu] = ()


def content_of(keyname: str, fiber: str, bench: Workbench) -> Content:
    """Make a calibration.

    Raises
    ------
    InputError
        The frames do not give it.
    """
    return MAKERS[keyname](bench, fiber)


def _dark(bench: Workbench, _fiber: str) -> Content:
    darks, biases = bench.light.inputs.darks, bench.light.inputs.biases
    exptime_s = bench.light.main.exptime_s
    image = bench.light.dark.image(exptime_s)
    cards: dict[str, Card] = {
        "DARKNUM": (len(darks), "number of darks"),
        "BIASNUM": (len(biases), "number of biases"),
        "DARKZERO": (bench.light.dark.is_zero, "nothing is known of the dark"),
    }
    if biases:
        cards["DARKFLAT"] = (exptime_s, "EXPTIME of the flats that it serves [s]")
    if bench.light.dark.is_zero:
        return Content(
            image, bench.light.main.frames, cards, "zero: no dark frames", {"frames": 0, "median_adu_per_s": 0.0}
        )
    # A sample tells the median of millions of pixels well enough.
    sample = image.ravel()[:: max(image.size // 1_000_000, 1)]
    level = float(np.nanmedian(sample))
    cards["DARKMED"] = (level, "median [ADU/s]")
    made_of = " and ".join(
        f"{len(frames)} {noun}{'s' * (len(frames) > 1)}"
        for frames, noun in ((darks, "dark"), (biases, "bias frame"))
        if frames
    )
    numbers = {"frames": len(darks), "biases": len(biases), "median_adu_per_s": level}
    return Content(image, (*darks, *biases), cards, f"{made_of}, median {level:.4g} ADU/s", numbers)


def _badpix(bench: Workbench, _fiber: str) -> Content:
    found = counts(bench.bad)
    share = float(np.count_nonzero(bench.bad)) / bench.bad.size
    cards: dict[str, Card] = {"BADSHARE": (share, "share of bad pixels")}
    for number, kind in enumerate(Bad):
        cards[f"BADB{number}"] = (kind.title, f"bit {number}: {kind.words}")
        cards[f"BADN{number}"] = (found[kind], f"pixels with bit {number}")
    kinds = ", ".join(f"{count} {kind.title}" for kind, count in found.items() if count)
    figure = f"{share:.3%} bad{f': {kinds}' if kinds else ''}"
    numbers = {"share": share, "pixels": {kind.title: count for kind, count in found.items()}}
    return Content(bench.bad, bench.light.main.frames + bench.light.inputs.darks, cards, figure, numbers)


def _unlit(bench: Workbench, _fiber: str) -> Content:
    share = float(bench.unlit.mean())
    box, settings = bench.light.profile.background.box, bench.settings.unlit
    cards: dict[str, Card] = {
        "BKGSHARE": (share, "share of unlit pixels"),
        "BKGBOX": (box, "width of ribbons and running percentile"),
        "BKGPERC": (settings.percent, "percentile"),
    }
    return Content(bench.unlit, bench.light.inputs.flats, cards, f"{share:.1%} unlit", {"share": share})


def _traces(bench: Workbench, fiber: str) -> Content:
    coefficients = bench.coefficients[fiber]
    traces = bench.found[fiber]
    rms = np.array([trace.rms for trace in traces])
    lamp = next(lamp for lamp in bench.lamps if any(one.name == fiber for one in lamp.localisations))
    orders = len({trace.order for trace in traces})
    widths = np.array([trace.fwhm_coefficients for trace in traces])
    cards = trace_cards(coefficients, widths) | {"LORMS": (float(np.median(rms)), "median rms of the traces [pixel]")}
    figure = f"{orders} orders, rms {np.median(rms):.3f} px, width {np.median([t.fwhm for t in traces]):.1f} px"
    numbers = {"orders": orders, "traces": len(traces), "rms": rms.tolist(), "trace": trace_records(traces)}
    frames = bench.light.inputs.main[lamp.dprtype].frames
    columns = bench.light.profile.detector.kept_shape[1]
    return Content(rows_of(coefficients, columns), frames, cards, figure, numbers, (trace_table(traces),))


def _profile(bench: Workbench, fiber: str) -> Content:
    image = bench.profiles[fiber]
    lamp = next(lamp for lamp in bench.lamps if any(one.name == fiber for one in lamp.localisations))
    lit = image != 0
    covered, empty = float(lit.mean()), int(np.count_nonzero(~np.isfinite(image)))
    half = bench.settings.orderprofile.half
    cards: dict[str, Card] = {"ORDPHALF": (half, "columns to both sides of the median")}
    figure = f"{covered:.1%} of the detector, {empty} pixels without a value"
    return Content(
        image, bench.light.inputs.main[lamp.dprtype].frames, cards, figure, {"covered": covered, "without_value": empty}
    )


def _shapex(bench: Workbench, _fiber: str) -> Content:
    tilt = bench.tilt
    if tilt is None:
        return Content(bench.dxmap, bench.light.inputs.flats, {}, "zero: no comb or arc frame", {"zones": 0})
    low, high = float(tilt.tilts.min()), float(tilt.tilts.max())
    cards: dict[str, Card] = {
        "TILTMIN": (low, "least tilt [column per row]"),
        "TILTMAX": (high, "greatest tilt [column per row]"),
        "TILTRMS": (tilt.rms, "scatter of the tilt [column per row]"),
        "TILTZONE": (tilt.zones, "zones measured"),
    }
    figure = f"tilt {low:+.4f} to {high:+.4f} px per row in {tilt.zones} zones, {tilt.edge_error:.3f} px at slit ends"
    numbers = {"zones": tilt.zones, "tilt": [low, high], "rms": tilt.rms}
    return Content(tilt.dxmap, bench.arcs, cards, figure, numbers)


def _shapey(bench: Workbench, _fiber: str) -> Content:
    shape = bench.shape
    cards: dict[str, Card] = {
        "SHAPERMS": (shape.rms, "rms of the traces about the surface [pixel]"),
        "SHAPEMAX": (float(np.abs(bench.dymap).max()), "largest shift [pixel]"),
        "SHAPEOUT": (len(shape.left_out), "traces that do not count"),
    }
    figure = f"shifts up to {np.abs(bench.dymap).max():.1f} px, traces {shape.rms:.3f} px rms about a smooth surface"
    numbers = {"rms": shape.rms, "steepest": shape.steepest, "left_out": list(shape.left_out)}
    return Content(bench.dymap, bench.light.inputs.flats, cards, figure, numbers)


def _shapel(bench: Workbench, _fiber: str) -> Content:
    return Content(np.array([IDENTITY]), bench.light.inputs.flats, {}, "identity", {})


MAKERS: Mapping[str, Callable[[Workbench, str], Content]] = {
    "DARKREF": _dark,
    "BADPIX": _badpix,
    "BKGRDMAP": _unlit,
    "LOC": _traces,
    "ORDER_PROFILE": _profile,
    "SHAPEX": _shapex,
    "SHAPEY": _shapey,
    "SHAPEL": _shapel,
}
