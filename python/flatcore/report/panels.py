"""The trend page's plots: a panel per figure with linked dates, which ``trends.js`` fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.events import MouseMove
from bokeh.layouts import column
from bokeh.models import (
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    CustomJS,
    PanTool,
    Range1d,
    Toolbar,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure as new_plot

from flatcore.report.trends import Figure

LINE, BAND = "#2C8BC6", "#56B4E9"
HEIGHT = 170


def trend_panels(figures: Sequence[Figure]) -> dict[str, Any]:
    """Give the panels in the form that ``Bokeh.embed.embed_item`` takes.

    Each shows one order, or the median of all with a band from the least to the greatest.
    """
    dates = Range1d(start=0, end=1, name="dates")
    cursor = Span(dimension="height", line_dash="dotted", line_width=1, name="cursor", location=0)
    panels = []
    for number, figure in enumerate(figures):
        source = ColumnDataSource(data={"x": [], "y": [], "low": [], "high": []}, name=f"values-{figure.name}")
        plot = new_plot(
            name=f"plot-{figure.name}", height=HEIGHT + (30 if number == len(figures) - 1 else 0), x_range=dates,
            y_range=Range1d(start=0, end=1, name=f"range-{figure.name}"),
            sizing_mode="stretch_width", y_axis_label=figure.label, x_axis_type="datetime", tools="",
            toolbar_location=None if number else "right",
        )  # fmt: skip
        zoom, wheel = BoxZoomTool(dimensions="width"), WheelZoomTool(dimensions="width", modifiers={"ctrl": True})
        plot.toolbar = Toolbar(tools=[zoom, PanTool(dimensions="width"), wheel], active_drag=zoom, active_scroll=wheel,
                               logo=None)  # fmt: skip
        plot.yaxis.formatter = BasicTickFormatter(power_limit_high=7)
        plot.min_border_left = 90
        plot.add_layout(cursor)
        plot.varea("x", "low", "high", source=source, color=BAND, alpha=0.35)
        plot.line("x", "y", source=source, color=LINE, line_width=1.5)
        plot.scatter("x", "y", source=source, color=LINE, size=6)
        plot.js_on_event(MouseMove, CustomJS(code="window.flatcoreTrends?.point(cb_obj.x)"))
        panels.append(plot)
    panels[-1].xaxis.axis_label = "date (UTC)"
    return dict(json_item(column(*panels, sizing_mode="stretch_width")))
