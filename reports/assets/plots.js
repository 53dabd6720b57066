// One chart: controls above, the plot, a line that says what is in it; colours and shapes, the tip beside a mark, the keyboard.
"use strict";
const plots = (() => {
  const { table, section, metrics, varying, passing, label, trait, page, printed, named, element } = cells;
  const COLOURS = 6, HEIGHT = 380, CROWD = 800;

  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const ink = colour("ink"), soft = colour("soft"), line = colour("line");
    const text = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 140 };
    const palette = Array.from({ length: COLOURS }, (_, n) => colour(`l${n}`));
    return {
      ink, soft, palette,
      config: {
        background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, aria: false,
        axis: { ...text, domainColor: soft, tickColor: soft, gridColor: line, labelOverlap: true },
        legend: { ...text, orient: "bottom", direction: "horizontal", symbolStrokeWidth: 2, symbolOpacity: 1, symbolBaseFillColor: ink, symbolBaseStrokeColor: ink, columnPadding: 14, layout: { bottom: { direction: "vertical", anchor: "start" } } },
      },
    };
  };
  const distinct = (values) => [...new Set(values)];
  const common = (values) => {
    const count = new Map();
    for (const value of values) count.set(value, (count.get(value) ?? 0) + 1);
    const kept = [...count.keys()].sort((a, b) => count.get(b) - count.get(a)).slice(0, count.size > COLOURS ? COLOURS - 1 : COLOURS);
    return distinct(values).filter((value) => kept.includes(value));
  };
  // Rows get a colour name and a shape name; beyond the palette a name is one of the "others".
  const painted = (rows, by, look, width) => {
    const shape = by === "backend" ? varying.find((axis) => axis === "target") : "backend";
    const kept = common(passing().map((i) => trait(by, i)));  // of all that is shown, so that a colour means the same in every chart
    for (const row of rows) {
      const name = trait(by, row.i);
      row.colour = kept.includes(name) ? name : "others";
      row.shape = shape ? trait(shape, row.i) : "";
      row.measured = Boolean(table.measured[row.i]);
    }
    const present = new Set(rows.map((row) => row.colour)), names = kept.filter((name) => present.has(name));
    const range = names.map((name) => look.palette[kept.indexOf(name)]);
    const others = rows.some((row) => row.colour === "others");
    const scale = { domain: others ? [...names, "others"] : names, range: others ? [...range, look.soft] : range };
    const title = by === "family" ? "method" : by;
    const columns = Math.max(1, Math.floor(width / 150));
    const legend = scale.domain.length > 1 ? { columns, title } : null;
    const colour = { field: "colour", type: "nominal", scale, legend };
    const shapes = distinct(rows.map((row) => row.shape));
    return { colour, shape: shapes.length > 1 ? { field: "shape", type: "nominal", title: shape, legend: { columns } } : { value: "circle" } };
  };
  const log = (values, span = 8) => Math.min(...values) > 0 && Math.max(...values) > span * Math.min(...values);
  const quantitative = (field, title, isLog, more = {}) => ({
    field, type: "quantitative", title, axis: isLog ? { format: "~g", tickCount: 6 } : { tickCount: 6 },
    scale: { type: isLog ? "log" : "linear", ...(isLog ? {} : { zero: false }), nice: false, padding: 14 }, ...more,
  });
  const points = (x, y, paint) => ({
    data: { name: "cells" },
    mark: { type: "point", size: 80, strokeWidth: 2, cursor: "pointer", opacity: 0.95 },
    encoding: {
      x, y, shape: paint.shape, stroke: paint.colour, fill: paint.colour,
      fillOpacity: { condition: { test: "datum.measured", value: 0.9 }, value: 0 }, tooltip: { field: "i", type: "nominal" },
    },
  });
  const ring = (x, y, look) => ({
    data: { name: "focus" },
    mark: { type: "point", shape: "circle", size: 420, filled: false, stroke: look.ink, strokeWidth: 2, opacity: 1 },
    encoding: { x, y, strokeOpacity: { condition: { test: "datum.off", value: 0 }, value: 1 } },
  });

  // ---- the tip beside a point
  const tip = element("div", "", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  const tell = (i, x, y) => {
    tip.replaceChildren(element("b", label("method", i)));
    tip.append(element("div", ["model", "backend", ...varying.filter((a) => !["model", "method", "backend"].includes(a))]
      .map((a) => (a === "threads" || a === "batch" ? `${a} ${label(a, i)}` : label(a, i))).join(", "), { className: "soft" }));
    const list = element("dl");
    for (const metric of metrics.values()) {
      if (metric.value[i] != null) list.append(element("dt", named(metric)), element("dd", printed(metric, i)));
    }
    list.append(element("dt", "status"), element("dd", `ok${table.baseline[i] ? ", the baseline" : ""}`));
    tip.append(list);
    for (const remark of table.remarks[i]) tip.append(element("div", table.words[remark], { className: "soft" }));
    tip.hidden = false;
    const room = 12;
    const left = x + room + tip.offsetWidth > window.innerWidth ? x - room - tip.offsetWidth : x + room;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + room, window.innerHeight - tip.offsetHeight - 4))}px`;
  };

  // ---- one chart: controls above, the plot, a line that says what is in it
  class Chart {
    constructor(name, specify) {
      this.figure = section.querySelector(`[data-chart=${name}]`);
      this.controls = this.figure.querySelector(".controls");
      this.plot = this.figure.querySelector(".plot");
      this.said = this.figure.querySelector(".said");
      this.specify = specify;
      this.turn = 0;
      this.plot.addEventListener("keydown", (event) => this.key(event));
      this.plot.addEventListener("blur", () => this.at(-1));
    }
    async draw() {
      const turn = ++this.turn, look = theme(), drawing = this.specify(look, this.figure.clientWidth);
      hide();
      this.said.replaceChildren(...drawing.said);
      this.rows = drawing.rows;
      this.index = -1;
      this.view?.finalize();
      this.view = undefined;
      this.plot.replaceChildren();
      this.plot.hidden = !drawing.rows.length;
      if (!drawing.rows.length) return;
      const canvas = element("div");
      const specification = {
        width: "container", height: Math.min(HEIGHT, window.innerHeight * 0.7), autosize: { type: "fit-x", contains: "padding" },
        config: look.config, datasets: { cells: drawing.rows, focus: [{ ...drawing.rows[0], off: true }], ...drawing.datasets }, layer: drawing.layer,
      };
      this.plot.append(canvas);
      const told = (_, event, item) => (item?.datum?.i == null ? hide() : tell(item.datum.i, event.clientX, event.clientY));
      const renderer = drawing.rows.length > CROWD ? "canvas" : "svg";
      const { view } = await window.vegaEmbed(canvas, specification, { mode: "vega-lite", actions: false, ast: true, renderer, tooltip: told });
      if (turn !== this.turn) { view.finalize(); return; }
      this.view = view;
      view.addEventListener("click", (_, item) => { if (item?.datum?.i != null) page(item.datum.i); });
      this.figure.dataset.drawn = String(drawing.rows.length);
    }
    // The keyboard's way to a point: arrows go from cell to cell by x, Enter opens its page.
    key(event) {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (step !== undefined) {
        event.preventDefault();
        this.at(Math.max(0, Math.min(this.rows.length - 1, this.index < 0 && step < 0 ? 0 : this.index + step)));
      } else if (event.key === "Enter" && this.index >= 0) page(this.rows[this.index].i);
      else if (event.key === "Escape") this.at(-1);
    }
    at(index) {
      if (!this.view) return;
      this.index = index;
      const row = this.rows[index];
      this.view.data("focus", [row ? { ...row } : { ...this.rows[0], off: true }]).run();
      if (!row) { hide(); return; }
      const frame = this.plot.querySelector("canvas, svg").getBoundingClientRect(), [left, top] = this.view.origin();
      tell(row.i, frame.left + left + this.view.scale("x")(row.x), frame.top + top + this.view.scale("y")(row.y));
    }
  }

  return { CROWD, Chart, distinct, hide, log, painted, points, quantitative, ring };
})();
