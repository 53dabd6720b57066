// Filters and sorts what the page already shows. What a reader chose stands in the address after the #, so that a link can be shared.
//
//   assay.chosen(name)       what is chosen: model, method (part of a name), backend, target, sort ... ; "" where nothing is
//   assay.choose({name: v})  chooses; everything that depends on it follows
//   assay.matches(cell)      whether {model, method, backend, target} is shown; axes that it lacks do not matter
//   "assay:choice"           the event on document after every choice
"use strict";
const assay = (() => {
  const AXES = ["model", "backend", "target", "method"];
  const chosen = new Map();

  const matches = (cell) => AXES.every((axis) => {
    const wanted = chosen.get(axis) || "";
    const label = cell[axis];
    if (!wanted || label === undefined) return true;
    if (axis === "method") return label.toLowerCase().includes(wanted.toLowerCase());
    return label === wanted || (axis === "model" && label.startsWith(`${wanted}/`));  // a layer goes with its network
  });

  const choose = (choices) => {
    for (const [name, value] of Object.entries(choices)) value ? chosen.set(name, value) : chosen.delete(name);
    const address = new URLSearchParams([...chosen]).toString();
    history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
    follow();
  };

  const follow = () => {
    filterTables();
    filterSquares();
    sortTables();
    fillForm();
    document.dispatchEvent(new CustomEvent("assay:choice"));
  };

  const readAddress = () => {
    const address = location.hash.slice(1);
    if (!address.includes("=")) return;  // the name of a place on the page
    chosen.clear();
    for (const [name, value] of new URLSearchParams(address)) if (value) chosen.set(name, value);
  };

  // Tables: a section says its model and device, a row's heads the rest, each under a head with its axis.
  const sheets = [...document.querySelectorAll("section.sheet")].map((section) => ({
    section,
    tables: [...section.querySelectorAll("table.numbers")].map((table) => {
      const axes = [...table.tHead.rows[table.tHead.rows.length - 1].cells].map((head) => head.dataset.axis);
      const rows = [...table.tBodies[0].rows].map((row) => {
        const cell = { model: section.dataset.model, target: section.dataset.target };
        axes.forEach((axis, i) => { if (axis) cell[axis] = row.cells[i].dataset.label ?? row.cells[i].textContent; });
        return { row, cell };
      });
      return { table, rows, isLines: table.classList.contains("lines") };
    }),
  }));

  const filterTables = () => {
    let shown = 0, total = 0;
    for (const { section, tables } of sheets) {
      let any = false;
      for (const { rows, isLines } of tables) {
        for (const { row, cell } of rows) {
          const visible = matches(cell);
          row.hidden = !visible;
          if (isLines) continue;
          any ||= visible;
          total += 1;
          shown += visible;
        }
      }
      section.hidden = !any;
      for (const part of section.querySelectorAll(".sweeps")) part.hidden = ![...part.querySelectorAll("tbody tr")].some((row) => !row.hidden);
    }
    const isFiltered = AXES.some((axis) => chosen.has(axis));
    for (const output of document.querySelectorAll(".filters output")) {
      output.textContent = !isFiltered || !total ? "" : shown ? `${shown} of ${total} cells` : "no cell matches";
    }
  };

  // Squares: rows are hidden; a square of another backend or device stays in its column and steps back.
  const maps = [...document.querySelectorAll("table.heat")].map((table) => ({
    columns: JSON.parse(table.dataset.columns).map((labels) =>
      Object.fromEntries(table.dataset.axes.split(" ").map((axis, i) => [axis, labels[i]]))),
    bodies: [...table.tBodies],
  }));

  const filterSquares = () => {
    for (const { columns, bodies } of maps) {
      const visible = columns.map(matches);
      for (const body of bodies) {
        for (const row of body.rows) {
          const named = { ...body.dataset, ...row.dataset };
          row.hidden = !matches(named);
          if (!row.classList.contains("model")) {
            visible.forEach((is, i) => row.cells[i + 1].classList.toggle("aside", !is));
          }
        }
        body.hidden = [...body.rows].every((row) => row.hidden || row.classList.contains("model"));
      }
    }
  };

  // Sorting: one choice for all tables of the page, so that they can be read side by side.
  const sortTables = () => {
    const [key, direction] = (chosen.get("sort") || "").split(" ");
    for (const { tables } of sheets) {
      for (const { table, rows, isLines } of tables) {
        if (isLines) continue;
        const heads = [...table.tHead.querySelectorAll("th")];
        const head = heads.find((one) => (one.dataset.metric || one.dataset.axis) === key);
        heads.forEach((one) => one === head ? one.setAttribute("aria-sort", direction === "down" ? "descending" : "ascending") : one.removeAttribute("aria-sort"));
        table.classList.toggle("sorted", Boolean(head));
        table.tBodies[0].append(...(head ? sorted(rows, head, direction === "down" ? -1 : 1) : rows).map(({ row }) => row));
      }
    }
  };

  const sorted = (rows, head, sign) => {
    const axis = head.dataset.axis;
    const valueOf = ({ row, cell }) => {
      if (axis) return cell[axis];
      const number = row.querySelector(`td[data-metric="${CSS.escape(head.dataset.metric)}"]`);
      return number ? Number(number.dataset.value) : null;
    };
    return rows.map((row) => [valueOf(row), row]).sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // what has no number stands last, either way
      return sign * (axis ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    }).map(([, row]) => row);
  };

  const makeSortable = () => {
    for (const { tables } of sheets) {
      for (const { table, isLines } of tables) {
        if (isLines) continue;
        for (const head of table.tHead.querySelectorAll("th[data-axis], th[data-metric]")) {
          const button = document.createElement("button");
          button.type = "button";
          button.append(...head.childNodes);
          head.append(button);
          button.addEventListener("click", () => {
            const key = head.dataset.metric || head.dataset.axis;
            const next = { ascending: `${key} down`, descending: "" };
            choose({ sort: next[head.getAttribute("aria-sort")] ?? `${key} up` });
          });
        }
      }
    }
  };

  // The form: its choices are what the page shows.
  const forms = [...document.querySelectorAll(".filters")];

  const known = () => {
    const labels = { model: new Set(), backend: new Set(), target: new Set(), method: new Set() };
    const add = (cell) => AXES.forEach((axis) => { if (cell[axis] !== undefined) labels[axis].add(cell[axis]); });
    for (const { tables } of sheets) for (const { rows, isLines } of tables) if (!isLines) rows.forEach(({ cell }) => add(cell));
    for (const { columns, bodies } of maps) {
      columns.forEach(add);
      for (const body of bodies) for (const row of body.rows) add({ ...body.dataset, ...row.dataset });
    }
    for (const label of [...labels.model]) {
      const network = [...labels.model].find((other) => label.startsWith(`${other}/`));
      if (network) labels.model.delete(label);
    }
    return labels;
  };

  const makeForms = () => {
    const labels = known();
    for (const form of forms) {
      for (const axis of ["model", "backend", "target"]) {
        const select = form.elements[axis];
        for (const label of labels[axis]) select.add(new Option(label, label));
        select.closest("label").hidden = labels[axis].size < 2;
        select.addEventListener("change", () => choose({ [axis]: select.value }));
      }
      const families = new Set([...labels.method].map((label) => label.split("(")[0]));
      form.querySelector("datalist").append(...[...families].map((label) => new Option(label)));
      form.elements.method.addEventListener("input", () => choose({ method: form.elements.method.value }));
      form.addEventListener("reset", () => choose(Object.fromEntries([...AXES, "sort"].map((name) => [name, ""]))));
      form.addEventListener("submit", (event) => event.preventDefault());
      form.hidden = ![...AXES].some((axis) => labels[axis].size > 1);
    }
  };

  const fillForm = () => {
    for (const form of forms) for (const axis of AXES) {
      const control = form.elements[axis];
      if (control.value !== (chosen.get(axis) || "")) control.value = chosen.get(axis) || "";
    }
  };

  const openForPrint = () => document.querySelectorAll("details:not([open])").forEach((part) => {
    part.open = true;
    part.dataset.closed = "";
  });
  const closeAfterPrint = () => document.querySelectorAll("details[data-closed]").forEach((part) => {
    part.open = false;
    delete part.dataset.closed;
  });

  document.addEventListener("DOMContentLoaded", () => {
    makeSortable();
    makeForms();
    readAddress();
    follow();
  });
  addEventListener("hashchange", () => { readAddress(); follow(); });
  addEventListener("beforeprint", openForPrint);
  addEventListener("afterprint", closeAfterPrint);

  return { chosen: (name) => chosen.get(name) || "", choose, matches };
})();
