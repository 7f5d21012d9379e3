// The trend page: figures of an order, or of all orders, against date.
"use strict";

(async () => {
  const data = JSON.parse(document.getElementById("trend-data").textContent);
  const panels = JSON.parse(document.getElementById("trend-panels").textContent);
  const byId = (id) => document.getElementById(id);
  const ALL = -1;

  // ---- data: per figure, a row of nights for each order

  async function unpackSeries(series) {
    const width = series.times.length;
    const rows = {};
    for (const { name } of data.figures) {
      const { low, span, data: text } = series.values[name];
      const steps = await unpack(text, series.orders, width);
      rows[name] = low.map((least, order) =>
        valuesOf(steps.subarray(order * width, (order + 1) * width), least, span[order]),
      );
    }
    return rows;
  }

  const unpacked = new Map();
  function rowsOf(index) {
    if (!unpacked.has(index)) unpacked.set(index, unpackSeries(data.series[index]));
    return unpacked.get(index);
  }

  // The median of the orders of a night, the least and the greatest.
  function summary(rows, night) {
    const values = rows.map((row) => row[night]).filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
    if (!values.length) return [NaN, NaN, NaN];
    const half = values.length >> 1;
    const median = values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
    return [median, values[0], values.at(-1)];
  }

  // ---- plots

  await Bokeh.embed.embed_item(panels, "panels");
  const plots = Bokeh.documents.at(-1);
  const model = (name) => plots.get_model_by_name(name);
  const [dates, cursor] = ["dates", "cursor"].map(model);
  const figures = data.figures.map(({ name }) => model(`plot-${name}`));
  const dress = () => dressPlots(figures);
  document.addEventListener("flatcore-theme", dress);
  dress();

  const state = { series: 0, order: ALL, shown: {}, bands: {}, night: -1 };
  const seriesOf = () => data.series[state.series];

  async function show(series, order) {
    const other = series !== state.series;
    state.series = series;
    state.order = Math.min(Math.max(order, ALL), seriesOf().orders - 1);
    const rows = await rowsOf(series);
    const { times } = seriesOf();
    for (const { name } of data.figures) {
      const table =
        state.order === ALL
          ? times.map((_, night) => summary(rows[name], night))
          : times.map((_, night) => Array(3).fill(rows[name][state.order][night]));
      const [y, low, high] = [0, 1, 2].map((part) => Float64Array.from(table, (row) => row[part]));
      state.shown[name] = y;
      state.bands[name] = [low, high];
      model(`values-${name}`).data = { x: Float64Array.from(times), y, low, high };
    }
    if (other || dates.end === 1) all();
    fit();
    tell(other);
    if (state.night >= 0) tellNight(Math.min(state.night, times.length - 1));
  }

  function fit() {
    for (const [name, band] of Object.entries(state.bands)) fitRange(model(`range-${name}`), seriesOf().times, band, dates);
  }

  dates.change.connect(fit);

  function all() {
    const { times } = seriesOf();
    const margin = Math.max(0.03 * (times.at(-1) - times[0]), 43200000);
    dates.setv({ start: times[0] - margin, end: times.at(-1) + margin });
  }

  function tell(other) {
    const { name, orders, nights } = seriesOf();
    if (other || !byId("order").options.length) {
      byId("order").replaceChildren(new Option("all", ALL));
      for (let order = 0; order < orders; order++) byId("order").add(new Option(order, order));
    }
    byId("order").value = state.order;
    const which = state.order === ALL ? "all orders, median, least and greatest" : `order ${state.order}`;
    byId("series-title").textContent = `${name}, ${which}; ${nights.length} night${nights.length === 1 ? "" : "s"}`;
    for (const button of byId("series-buttons").children)
      button.setAttribute("aria-pressed", String(Number(button.dataset.index) === state.series));
  }

  // ---- one night

  function tellNight(night) {
    const { times, nights } = seriesOf();
    state.night = night;
    cursor.location = times[night];
    const values = data.figures.map(({ name, label }) => `${label} ${digits(state.shown[name][night])}`);
    byId("readout").textContent = [nights[night], ...values].join(" · ");
  }

  function point(x) {
    const { times } = seriesOf();
    let best = 0;
    times.forEach((time, i) => {
      if (Math.abs(time - x) < Math.abs(times[best] - x)) best = i;
    });
    tellNight(best);
  }

  const stepNight = (by) => tellNight(Math.min(Math.max(state.night + by, 0), seriesOf().times.length - 1));

  // ---- what a user does

  const step = (by) => show(state.series, state.order + by);
  const stepSeries = (by) => show((state.series + by + data.series.length) % data.series.length, state.order);
  const actions = { next: () => step(1), previous: () => step(-1) };
  const keys = {
    j: actions.next,
    k: actions.previous,
    "]": () => stepSeries(1),
    "[": () => stepSeries(-1),
    0: all,
    ",": () => stepNight(-1),
    ".": () => stepNight(1),
  };

  data.series.forEach(({ name }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.index = index;
    button.textContent = name;
    button.addEventListener("click", () => show(index, state.order));
    byId("series-buttons").append(button);
  });
  for (const button of document.querySelectorAll("#trends [data-do]"))
    button.addEventListener("click", () => actions[button.dataset.do]());
  byId("order").addEventListener("change", (event) => show(state.series, Number(event.target.value)));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  window.flatcoreTrends = { point, state };
  await show(0, ALL);
  byId("trends").dataset.ready = "true";
})();
