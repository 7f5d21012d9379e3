// What the pages' plots share: planes unpacked, and plots in the colours of the page, light or dark.
"use strict";

// 16 bits a value, differences along each row, low bytes before high ones, deflated: see packing.py.
async function unpack(text, rows, width) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const values = new Uint16Array(rows * width);
  for (let i = 0; i < values.length; i++)
    values[i] = (i % width ? values[i - 1] : 0) + bytes[i] + 256 * bytes[values.length + i];
  return values;
}

// The values of a row from its steps, of which 0 is none.
function valuesOf(steps, low, span) {
  return Float64Array.from(steps, (step) => (step ? low + ((step - 1) / 65533) * span : NaN));
}

// The axis of values shows what is within the axis of x, no more and no less.
function fitRange(range, x, series, { start, end }, least = 0) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of series)
    values.forEach((value, i) => {
      if (x[i] < start || x[i] > end || Number.isNaN(value)) return;
      low = Math.min(low, value);
      high = Math.max(high, value);
    });
  if (low > high) return;
  const margin = Math.max(0.05 * (high - low), least) || Math.abs(low) * 0.01 || 1;
  range.setv({ start: low - margin, end: high + margin });
}

const digits = (value) => (Number.isNaN(value) ? "no value" : value.toPrecision(5).replace(/e\+?/, "e"));

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
