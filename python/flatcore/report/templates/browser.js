// The order browser: unpacks a fibre's orders, shows one of them, and tells what each pixel is.
"use strict";

(async () => {
  const data = JSON.parse(document.getElementById("order-data").textContent);
  const panels = JSON.parse(document.getElementById("order-panels").textContent);
  const byId = (id) => document.getElementById(id);

  if (typeof DecompressionStream === "undefined") {
    byId("panels").textContent = "This browser cannot unpack the orders: it has no DecompressionStream.";
    return;
  }

  // ---- data

  async function unpackFiber(fiber) {
    const { orders, width } = fiber;
    const plane = (text) => unpack(text, orders, width);
    const [columns, mask] = await Promise.all([plane(fiber.columns), plane(fiber.mask)]);
    const spectra = {};
    for (const name of ["e2ds", "blaze", "flat"]) spectra[name] = await plane(fiber[name].data);
    const part = (values, order) => values.subarray(order * width, (order + 1) * width);
    const value = (name, order) =>
      valuesOf(part(spectra[name], order), fiber[name].low[order], fiber[name].span[order]);
    return (order) => ({
      x: part(columns, order),
      mask: part(mask, order),
      e2ds: value("e2ds", order),
      blaze: value("blaze", order),
      flat: value("flat", order),
    });
  }

  const unpacked = new Map();
  function ordersOf(index) {
    if (!unpacked.has(index)) unpacked.set(index, unpackFiber(data.fibers[index]));
    return unpacked.get(index);
  }

  // ---- plots

  await Bokeh.embed.embed_item(panels, "panels");
  const plots = Bokeh.documents.at(-1);
  const model = (name) => plots.get_model_by_name(name);
  const [columns, values, runs, reasons] = ["columns", "values", "runs", "reasons"].map(model);
  const figures = ["flux", "flat", "mask"].map(model);
  const cursor = model("cursor");

  const dress = () => dressPlots(figures);
  document.addEventListener("flatcore-theme", dress);
  dress();

  const state = { fiber: 0, order: 0, shown: null, runs: null, pixel: -1 };
  const fiberOf = () => data.fibers[state.fiber];

  // Runs of columns that have a reason, for its line in the panel of flags.
  function runsOf(shown) {
    const found = { left: [], right: [], reason: [], colour: [] };
    const present = [];
    for (const { bit, name, colour } of data.reasons) {
      let start = -1;
      for (let i = 0; i <= shown.mask.length; i++) {
        const has = i < shown.mask.length && (shown.mask[i] & bit) !== 0;
        if (has && start < 0) start = i;
        if (has || start < 0) continue;
        found.left.push(shown.x[start] - 0.5);
        found.right.push(shown.x[i - 1] + 0.5);
        found.reason.push(name);
        found.colour.push(colour);
        start = -1;
        if (present.at(-1) !== name) present.push(name);
      }
    }
    return { found, present: present.reverse() };
  }

  function fit() {
    const { shown } = state;
    if (!shown) return;
    fitRange(model("flux-range"), shown.x, [shown.e2ds, shown.blaze], columns);
    fitRange(model("flat-range"), shown.x, [shown.flat], columns, 0.001);
    // Runs beyond the columns that are shown would leave their ends at the edge.
    const { left, right } = state.runs;
    const within = (_, i) => right[i] > columns.start && left[i] < columns.end;
    runs.data = Object.fromEntries(Object.entries(state.runs).map(([name, run]) => [name, run.filter(within)]));
  }

  async function show(fiber, order, whole = false) {
    const other = fiber !== state.fiber;
    state.fiber = fiber;
    state.order = Math.min(Math.max(order, 0), fiberOf().orders - 1);
    const shown = (await ordersOf(fiber))(state.order);
    state.shown = shown;
    values.data = { x: shown.x, e2ds: shown.e2ds, blaze: shown.blaze, flat: shown.flat };
    const { found, present } = runsOf(shown);
    state.runs = found;
    reasons.factors = present;
    model("flux").left[0].axis_label = `flux [${fiberOf().unit}]`;
    if (whole || other) all();
    fit();
    tell();
    if (state.pixel >= 0) point(state.pixel);
  }

  function tell() {
    const { fiber } = fiberOf();
    byId("order").value = state.order;
    byId("order").max = fiberOf().orders - 1;
    byId("order-title").textContent = `Fibre ${fiber}, order ${state.order}: ${data.facts[fiber]?.[state.order] ?? ""}`;
    for (const button of byId("fiber-buttons").children)
      button.setAttribute("aria-pressed", String(Number(button.dataset.index) === state.fiber));
  }

  // ---- columns

  const last = () => Math.max(...state.shown.x);

  function span(start, end) {
    const width = Math.min(Math.max(end - start, 8), last() + 1);
    const left = Math.min(Math.max(start, -0.5), last() + 0.5 - width);
    columns.setv({ start: left, end: left + width });
  }

  function all() {
    columns.setv({ start: -0.5, end: last() + 0.5 });
  }

  function zoom(factor) {
    const { start, end } = columns;
    const middle = state.pixel >= start && state.pixel <= end ? state.pixel : (start + end) / 2;
    span(middle - (middle - start) * factor, middle + (end - middle) * factor);
  }

  function pan(share) {
    const step = share * (columns.end - columns.start);
    span(columns.start + step, columns.end + step);
  }

  columns.change.connect(fit);

  // ---- one pixel

  function nearest(x) {
    const { shown } = state;
    let best = 0;
    for (let i = 1; i < shown.x.length; i++) if (Math.abs(shown.x[i] - x) < Math.abs(shown.x[best] - x)) best = i;
    return best;
  }

  function point(x) {
    const { shown } = state;
    if (!shown) return;
    const i = nearest(x);
    state.pixel = shown.x[i];
    cursor.location = state.pixel;
    const words = data.reasons.filter(({ bit }) => shown.mask[i] & bit).map(({ name, words }) => `${name}: ${words}`);
    const { unit } = fiberOf();
    byId("readout").textContent =
      `pixel ${shown.x[i]} · E2DS ${digits(shown.e2ds[i])} ${unit} · blaze ${digits(shown.blaze[i])} ${unit} · ` +
      `flat ${digits(shown.flat[i])} · ${words.join("; ") || "no flag"}`;
  }

  function stepPixel(step) {
    const { shown } = state;
    const i = state.pixel < 0 ? nearest((columns.start + columns.end) / 2) : nearest(state.pixel) + step;
    const x = shown.x[Math.min(Math.max(i, 0), shown.x.length - 1)];
    point(x);
    if (x < columns.start || x > columns.end) pan(Math.sign(step) / 2);
  }

  // ---- what a user does

  const step = (by) => show(state.fiber, state.order + by);
  const stepFiber = (by) => show((state.fiber + by + data.fibers.length) % data.fibers.length, state.order);
  const actions = {
    next: () => step(1),
    previous: () => step(-1),
    in: () => zoom(0.5),
    out: () => zoom(2),
    left: () => pan(-0.25),
    right: () => pan(0.25),
    whole: all,
  };
  const keys = {
    j: actions.next,
    k: actions.previous,
    "]": () => stepFiber(1),
    "[": () => stepFiber(-1),
    "+": actions.in,
    "=": actions.in,
    "-": actions.out,
    h: actions.left,
    l: actions.right,
    0: actions.whole,
    ",": () => stepPixel(-1),
    ".": () => stepPixel(1),
  };

  data.fibers.forEach(({ fiber }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.index = index;
    button.textContent = fiber;
    button.addEventListener("click", () => show(index, state.order));
    byId("fiber-buttons").append(button);
  });
  for (const button of document.querySelectorAll("#browser [data-do]"))
    button.addEventListener("click", () => actions[button.dataset.do]());
  byId("order").addEventListener("change", (event) => show(state.fiber, Math.round(Number(event.target.value)) || 0));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const link of document.querySelectorAll(".order-link"))
    link.addEventListener("click", async () => {
      const index = data.fibers.findIndex(({ fiber }) => fiber === link.dataset.fiber);
      if (index < 0) return;
      await show(index, Number(link.dataset.order));
      byId("browser").scrollIntoView();
      byId("browser").focus({ preventScroll: true });
    });

  window.flatcoreBrowser = { point, state };
  await show(0, data.start, true);
  byId("browser").dataset.ready = "true";
})();
