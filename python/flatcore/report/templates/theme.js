// Plots in the colours of the page, light or dark.
"use strict";

function dressPlots(plots) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const [ink, faint, line, paper] = ["--ink", "--faint", "--line", "--paper"].map(colour);
  for (const plot of plots) {
    plot.setv({ background_fill_color: paper, border_fill_color: paper, outline_line_color: line });
    for (const axis of [...plot.left, ...plot.below])
      axis.setv({
        axis_label_text_color: ink,
        major_label_text_color: ink,
        axis_line_color: line,
        major_tick_line_color: line,
        minor_tick_line_color: line,
      });
    for (const part of plot.center) {
      if (part.type === "Grid") part.setv({ grid_line_color: faint });
      if (part.type === "Legend")
        part.setv({ background_fill_color: paper, background_fill_alpha: 0.8, label_text_color: ink, border_line_color: null });
      if (part.type === "Span") part.setv({ line_color: ink });
    }
  }
}
