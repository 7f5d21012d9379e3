"""The order browser's plots: empty panels with linked columns, which ``browser.js`` fills order by order."""

from __future__ import annotations

from typing import Any

from bokeh.embed import json_item
from bokeh.events import MouseMove
from bokeh.layouts import column
from bokeh.models import (
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    CustomJS,
    FactorRange,
    PanTool,
    Range1d,
    Toolbar,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from bokeh.resources import Resources

from flatcore.report.reasons import WORDINGS

# After Okabe & Ito, whose colours those who see few colours tell apart; the blue is lighter, to be seen on black too.
SPECTRUM, BLAZE, FLAT, MASKED, DOUBTFUL = "#2C8BC6", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
HEIGHTS = (280, 220, 150)


def plotting_script() -> str:
    """Give the plotting library's own script."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def browser_panels() -> dict[str, Any]:
    """Give the panels in the form that ``Bokeh.embed.embed_item`` takes.

    Three panels share their columns: spectrum and blaze, flat, and the reasons of flagged pixels.
    """
    columns = Range1d(start=0, end=1, name="columns")
    values = ColumnDataSource(data={"x": [], "e2ds": [], "blaze": [], "flat": []}, name="values")
    runs = ColumnDataSource(data={"left": [], "right": [], "reason": [], "colour": []}, name="runs")
    cursor = Span(dimension="height", line_dash="dotted", line_width=1, name="cursor", location=0)

    def panel(name: str, height: int, label: str, **more: Any) -> Any:
        plot = figure(
            name=name, height=height, sizing_mode="stretch_width", x_range=columns, y_axis_label=label,
            toolbar_location="right" if name == "flux" else None, tools="", output_backend="canvas", **more,
        )  # fmt: skip
        zoom = BoxZoomTool(dimensions="width")
        wheel = WheelZoomTool(dimensions="width", modifiers={"ctrl": True})
        plot.toolbar = Toolbar(tools=[zoom, PanTool(dimensions="width"), wheel],
                               active_drag=zoom, active_scroll=wheel, logo=None)  # fmt: skip
        # Wide enough for the longest name of a reason, so that the panels' columns stand above one another.
        plot.min_border_left = 112
        plot.add_layout(cursor)
        # browser.js tells the pixel's value and reasons, also where there is no value to point at.
        plot.js_on_event(MouseMove, CustomJS(code="window.flatcoreBrowser?.point(cb_obj.x)"))
        return plot

    flux = panel("flux", HEIGHTS[0], "flux", y_range=Range1d(start=0, end=1, name="flux-range"))
    flux.line("x", "e2ds", source=values, color=SPECTRUM, line_width=1, legend_label="E2DS")
    flux.line("x", "blaze", source=values, color=BLAZE, line_width=2, legend_label="blaze")
    flux.legend.orientation, flux.legend.padding, flux.legend.spacing = "horizontal", 4, 14
    flux.legend.location = "bottom_center"
    # Electrons as people write them, not as powers of ten.
    flux.yaxis.formatter = BasicTickFormatter(power_limit_high=7)
    flat = panel("flat", HEIGHTS[1], "flat", y_range=Range1d(start=0, end=1, name="flat-range"))
    flat.line("x", "flat", source=values, color=FLAT, line_width=1)
    # A name of its own for each reason: as many lines as an order has reasons.
    mask = panel("mask", HEIGHTS[2], "flags", y_range=FactorRange(factors=[], name="reasons"))
    mask.hbar(y="reason", left="left", right="right", height=0.6, source=runs, color="colour")
    mask.xaxis.axis_label = "column [pixel]"
    return dict(json_item(column(flux, flat, mask, sizing_mode="stretch_width")))


def reason_words() -> list[dict[str, Any]]:
    """Give the reasons by bit, with the colour of each."""
    return [
        {
            "bit": wording.reason.value,
            "name": wording.reason.name,
            "words": wording.words,
            "masked": wording.masked,
            "colour": MASKED if wording.masked else DOUBTFUL,
        }
        for wording in WORDINGS
    ]
