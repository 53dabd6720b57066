// The three interactive charts of a run's page, which Vega-Lite draws: trade-off, claimed against measured, strength swept.
"use strict";
(() => {
  const { table, section, metrics, varying, narrowed, shown, passing, label, href, ends, named, headed, element, select, check } = cells;
  const { CROWD, Chart, distinct, hide, log, painted, points, quantitative, ring } = plots;
  const LINKS = 8;

  const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;
  const text = (words) => [document.createTextNode(words)];
  const byX = (rows) => rows.sort((a, b) => a.x - b.x || a.y - b.y);
  const row = (i, x, y) => {
    const [x0, x1] = ends(x, i), [y0, y1] = ends(y, i);
    return { i, x: x.value[i], x0, x1, y: y.value[i], y0, y1 };
  };
  const has = (metric, i) => metric.value[i] != null;
  const options = (list) => list.map((metric) => [metric.name, named(metric)]);

  // ---- trade-off: any metric against any other, and the cells that no other beats in both
  const front = (rows, x, y) => {
    const sign = (metric) => (metric.better === "high" ? -1 : 1);
    const best = [];
    for (const one of [...rows].sort((a, b) => sign(x) * (a.x - b.x) || sign(y) * (a.y - b.y))) {
      const last = best.at(-1);
      if (!last || sign(y) * (one.y - last.y) < 0 || (one.x === last.x && one.y === last.y)) best.push(one);
    }
    return best;
  };
  const tradeoff = (() => {
    const all = [...metrics.values()].filter((metric) => !metric.name.endsWith("_ratio") && metric.name !== "claimed_speedup");
    if (all.length < 2) return null;
    const state = {};
    const chart = new Chart("tradeoff", (look, width) => {
      const x = metrics.get(state.x), y = metrics.get(state.y);
      let rows = passing().filter((i) => has(x, i) && has(y, i)).map((i) => row(i, x, y));
      const positive = (key) => rows.every((r) => r[key] > 0 && r[`${key}0`] > 0);
      const isLog = (key, wanted) => positive(key) && (wanted ?? log(rows.map((r) => r[key])));
      const is = { x: isLog("x", state.logX), y: isLog("y", state.logY) };
      boxes.logX.checked = is.x;
      boxes.logY.checked = is.y;
      rows = byX(rows);
      const crowded = rows.length > CROWD, paint = painted(rows, cells.colourBy(), look, width);
      const measured = rows.filter((r) => r.measured), isMixed = measured.length > 0 && measured.length < rows.length;
      const best = front(isMixed ? measured : rows, x, y);  // what was not measured races nothing that was
      const better = (metric, low, high) => `, ${metric.better === "high" ? high : low} is better`;
      const X = quantitative("x", headed(x) + better(x, "left", "right"), is.x), Y = quantitative("y", headed(y) + better(y, "down", "up"), is.y);
      const box = {
        data: { name: "cells" }, mark: { type: "rect", fillOpacity: 0.07, strokeOpacity: 0.35, strokeWidth: 1 },
        encoding: {
          x: { ...X, field: "x0" }, x2: { field: "x1" }, y: { ...Y, field: "y0" }, y2: { field: "y1" },
          fill: paint.colour, stroke: paint.colour,
        },
      };
      const line = {
        data: { name: "front" },
        mark: { type: "line", interpolate: x.better === "high" ? "step-before" : "step-after", color: look.soft, strokeDash: [4, 3] },
        encoding: { x: X, y: Y },
      };
      const links = best.slice(0, LINKS).flatMap((one, n) => [
        document.createTextNode(n ? "; " : ""), element("a", ["method", "backend", ...narrowed.filter((axis) => shown[axis] === "")].map((axis) => label(axis, one.i)).join(", "), { href: href(one.i) }),
      ]);
      const more = best.length > LINKS ? text(`; and ${best.length - LINKS} more`) : [];
      const said = rows.length
        ? [...text(`${count(rows.length, "cell", "cells")}, ${best.length} on the front${isMixed ? " of the measured ones" : ""}: `), ...links, ...more,
          ...text(crowded ? ". Too many to draw their intervals." : ".")]
        : text("With these filters no cell has both numbers.");
      return { rows, said, datasets: { front: byX([...best]).map(({ x: a, y: b }) => ({ x: a, y: b })) },
        layer: [line, ...(crowded ? [] : [box]), ring(X, Y, look), points(X, Y, paint)] };
    });
    const pick = (axis, name) => {
      state[axis] = name;
      state[axis === "x" ? "logX" : "logY"] = undefined;  // as the numbers suggest, until the reader says otherwise
    };
    const boxes = {}, y = metrics.has("quality") ? "quality" : all[1].name, x = ["latency", "instructions", all[0].name].find((name) => metrics.has(name));
    pick("x", x);
    pick("y", y);
    select(chart.controls, "across", options(all), x, (name) => { pick("x", name); chart.draw(); });
    select(chart.controls, "up", options(all), y, (name) => { pick("y", name); chart.draw(); });
    boxes.logX = check(chart.controls, "logarithmic across", false, (on) => { state.logX = on; chart.draw(); });
    boxes.logY = check(chart.controls, "logarithmic up", false, (on) => { state.logY = on; chart.draw(); });
    return chart;
  })();

  // ---- claimed against measured
  const claimed = (() => {
    const claims = [...metrics.values()].filter((m) => m.name.startsWith("claimed_")), speedup = metrics.get("speedup");
    if (!claims.length || !speedup) return null;
    let chosen = claims[0];
    const chart = new Chart("claimed", (look, width) => {
      const usable = (i) => !table.baseline[i] && chosen.value[i] > 0 && speedup.value[i] > 0;
      const rows = byX(passing().filter(usable).map((i) => row(i, chosen, speedup)));
      const paint = painted(rows, cells.colourBy(), look, width);
      const all = rows.flatMap((r) => [r.x, r.y0, r.y1]).filter((v) => v > 0);
      const domain = [Math.min(1, ...all) * 0.9, Math.max(1, ...all) * 1.1];
      const scale = { type: "log", base: 2, domain, nice: false };
      const X = quantitative("x", headed(chosen), true, { scale }), Y = quantitative("y", `measured: ${headed(speedup)}`, true, { scale });
      const [low, high] = domain;
      const stroke = (name, more) => ({ data: { name }, mark: { type: "line", color: look.soft, ...more }, encoding: { x: X, y: Y } });
      const whisker = {
        data: { name: "cells" }, mark: { type: "rule", opacity: 0.6 },
        encoding: { x: X, y: { ...Y, field: "y0" }, y2: { field: "y1" }, color: paint.colour },
      };
      const fulfilled = rows.filter((r) => r.y0 >= r.x).length;
      const said = rows.length
        ? text(`${count(rows.length, "cell", "cells")}; ${fulfilled} on or above the line, where the device gives what was claimed.`)
        : text("With these filters no cell has both a claim and a measured speed-up.");
      return {
        rows, said, datasets: { promise: [{ x: low, y: low }, { x: high, y: high }], none: [{ x: low, y: 1 }, { x: high, y: 1 }] },
        layer: [stroke("promise", {}), stroke("none", { strokeDash: [4, 3] }), whisker, ring(X, Y, look), points(X, Y, paint)],
      };
    });
    select(chart.controls, "claimed", options(claims), chosen.name, (name) => { chosen = metrics.get(name); chart.draw(); });
    return chart;
  })();

  // ---- strength swept: one number of a family of methods across, any metric up
  const sweep = (() => {
    const families = new Map();
    for (const [method, [name, parameter, value]] of Object.entries(table.strength)) {
      const key = JSON.stringify([name, parameter]);
      families.set(key, (families.get(key) ?? new Map()).set(method, value));
    }
    const kept = [...families].filter(([, members]) => new Set(members.values()).size > 2);
    if (!kept.length) return null;
    const swept = Object.fromEntries(kept);
    let chosen = kept[0][0], metric = metrics.get(metrics.has("speedup") ? "speedup" : [...metrics.keys()][0]);
    const chart = new Chart("sweep", (look, width) => {
      const members = swept[chosen], parameter = JSON.parse(chosen)[1];
      const usable = (i) => members.has(label("method", i)) && has(metric, i);
      const rows = byX(passing("method").filter(usable).map((i) => {
        const [y0, y1] = ends(metric, i), x = members.get(label("method", i));
        return { i, x, y: metric.value[i], y0, y1, line: varying.filter((a) => a !== "method").map((a) => label(a, i)).join(" · ") };
      }));
      const paint = painted(rows, cells.colourBy() === "family" || cells.colourBy() === "method" ? "backend" : cells.colourBy(), look, width);
      const X = quantitative("x", parameter, rows.length > 0 && log(rows.map((r) => r.x), 20)), Y = quantitative("y", headed(metric), false);
      const line = {
        data: { name: "cells" }, mark: { type: "line", opacity: 0.7 },
        encoding: { x: X, y: Y, detail: { field: "line" }, stroke: paint.colour },
      };
      const whisker = {
        data: { name: "cells" }, mark: { type: "rule", opacity: 0.6 },
        encoding: { x: X, y: { ...Y, field: "y0" }, y2: { field: "y1" }, color: paint.colour },
      };
      const lines = distinct(rows.map((r) => r.line)).length;
      const said = rows.length ? text(`${count(rows.length, "cell", "cells")} on ${count(lines, "line", "lines")}.`)
        : text("With these filters no cell of this family has the number.");
      return { rows, said, layer: [line, whisker, ring(X, Y, look), points(X, Y, paint)] };
    });
    const name = (key) => { const [title, parameter] = JSON.parse(key); return `${title}, ${parameter}`; };
    select(chart.controls, "method", kept.map(([key]) => [key, name(key)]), chosen, (key) => { chosen = key; chart.draw(); });
    select(chart.controls, "up", options([...metrics.values()]), metric.name, (key) => { metric = metrics.get(key); chart.draw(); });
    return chart;
  })();

  // ---- drawn when first seen, with a library that is loaded then; again when filters, width or light change
  const charts = [tradeoff, claimed, sweep].filter(Boolean), seen = new Set();
  const redraw = () => { for (const chart of seen) chart.draw(); };
  let library;
  const loaded = () => (library ??= new Promise((resolve, reject) => {
    document.head.append(element("script", "", { src: document.getElementById("chart-data").dataset.vega, onload: resolve, onerror: reject }));
  }));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      watcher.unobserve(entry.target);
      const chart = charts.find((one) => one.figure === entry.target);
      loaded().then(() => { seen.add(chart); chart.draw(); });
    }
  }, { rootMargin: "400px" });
  for (const node of document.querySelectorAll("[data-needs-script]")) node.hidden = false;
  for (const figure of section.querySelectorAll("[data-chart]")) figure.hidden = !charts.some((chart) => chart.figure === figure);
  for (const chart of charts) watcher.observe(chart.figure);
  document.addEventListener("assay:cells", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("scroll", hide, { passive: true });
})();
