// The cells that the charts draw: the page's table of them, and which are shown. They are filtered as the page is (page.js); a chart of all
// models and devices at once says little, so it begins with the first of each, until a reader chooses otherwise.
//
//   "assay:cells"   the event on document when other cells are shown, or the same in other colours
"use strict";
const cells = (() => {
  const table = JSON.parse(document.getElementById("chart-data").textContent);
  const section = document.getElementById("explore");
  const axes = Object.fromEntries(table.axes.map((axis) => [axis.name, axis]));
  const metrics = new Map(table.metrics.map((metric) => [metric.name, metric]));
  const varying = table.axes.filter((axis) => axis.labels.length > 1).map((axis) => axis.name);
  const changed = () => document.dispatchEvent(new CustomEvent("assay:cells"));

  // ---- the table
  const label = (axis, i) => axes[axis].labels[axes[axis].of[i]];
  const family = (i) => label("method", i).split("(")[0];
  const trait = (name, i) => (name === "family" ? family(i) : label(name, i));
  const href = (i) => `cells/${table.id[i]}.html`;
  const page = (i) => { window.location.href = href(i); };
  const ends = (metric, i) => [metric.low?.[i] ?? metric.value[i], metric.high?.[i] ?? metric.value[i]];
  const number = (value) => String(Number(value.toPrecision(4)));
  const spaced = (unit) => (unit === "" || unit === "%" || unit === "×" ? unit : ` ${unit}`);
  const printed = (metric, i) => {
    const interval = metric.low?.[i] == null ? "" : ` [${number(metric.low[i])}, ${number(metric.high[i])}]`;
    return `${number(metric.value[i])}${spaced(metric.unit)}${interval}`;
  };
  const named = (metric) => (metric.claimed && !metric.title.startsWith("claimed") ? `claimed ${metric.title}` : metric.title);
  const headed = (metric) => named(metric) + (metric.unit ? ` (${metric.unit})` : "");

  // ---- controls
  const element = (name, text, properties = {}) => Object.assign(document.createElement(name), { textContent: text }, properties);
  const select = (parent, title, options, value, changed) => {
    const box = element("select");
    for (const [key, text] of options) box.append(element("option", text, { value: key }));
    box.value = value;
    box.setAttribute("aria-label", title);
    box.addEventListener("change", () => changed(box.value));
    const around = element("label", title);
    around.append(box);
    parent.append(around);
    return box;
  };
  const check = (parent, title, value, changed) => {
    const box = element("input", "", { type: "checkbox", checked: value });
    box.addEventListener("change", () => changed(box.checked));
    const around = element("label", "", { className: "check" });
    around.append(box, title);
    parent.append(around);
    return box;
  };

  const narrowed = varying.filter((axis) => axis !== "method" && axis !== "backend");
  const bar = section.querySelector(".narrow"), shown = {}, boxesOf = {};
  for (const axis of narrowed) {
    const labels = axes[axis].labels;
    shown[axis] = labels[0];
    boxesOf[axis] = select(bar, { target: "device", cpus: "CPUs", frequency_hz: "clock" }[axis] ?? axis, [...labels.map((text) => [text, text]), ["", `all ${labels.length}`]], labels[0],
      (value) => {
        shown[axis] = value;
        if (assay.chosen(axis)) assay.choose({ [axis]: value });
        else changed();
      });
  }
  const follow = () => {
    for (const axis of narrowed) {
      const wanted = assay.chosen(axis);
      if (axes[axis].labels.includes(wanted)) boxesOf[axis].value = shown[axis] = wanted;
    }
    changed();
  };
  const traits = ["family", ...varying];
  let colourBy = "family";
  if (traits.length > 1) {
    select(bar, "colour", traits.map((name) => [name, { family: "method family", target: "device", cpus: "CPUs", frequency_hz: "clock" }[name] ?? name]), colourBy, (value) => {
      colourBy = value;
      changed();
    });
  }
  const cell = (i, besides) => Object.fromEntries(table.axes.map(({ name }) => [name, name === besides ? undefined : label(name, i)]));
  const passing = (besides = "") => table.id.map((_, i) => i).filter((i) =>
    narrowed.every((axis) => shown[axis] === "" || label(axis, i) === shown[axis]) && assay.matches(cell(i, besides)));

  document.addEventListener("assay:choice", follow);
  follow();
  return {
    table, section, metrics, varying, narrowed, shown, passing, label, trait, href, page, ends, printed, named, headed, element, select, check,
    colourBy: () => colourBy,
  };
})();
