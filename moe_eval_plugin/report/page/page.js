"use strict";
// Draw the charts, sort tables, and list the changed questions.
// Text from runs is only ever inserted as text, never as HTML.

const read = (id) => JSON.parse(document.getElementById(id).textContent);

async function drawCharts() {
  const { config, specs } = read("charts");
  for (const { name, spec } of specs) {
    const element = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
    try {
      await vegaEmbed(element, spec, { config, actions: false, renderer: "svg" });
    } catch (error) {
      element.textContent = `This chart could not be drawn: ${error.message}`;
      element.classList.add("failed");
    }
  }
  document.documentElement.dataset.drawn = "yes";
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  const numbers = !Number.isNaN(x) && !Number.isNaN(y);
  return numbers ? x - y : a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column) {
  const heading = table.tHead.rows[0].cells[column];
  const up = heading.getAttribute("aria-sort") !== "ascending";
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    // Unknown values come last, in both directions.
    if (a === "" || b === "") return (a === "") - (b === "");
    return up ? compare(a, b) : compare(b, a);
  });
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortBy(table, column));
  });
}

function fill(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

function startQuestions() {
  const form = document.getElementById("filters");
  if (!form) return;
  const { series, questions, images } = read("changed");
  const [list, count, more, template] = ["cards", "count", "more", "card"].map((id) =>
    document.getElementById(id),
  );
  const PAGE = 24;
  const { series: run, point, type, text } = form.elements;
  let found = [];
  let shown = 0;

  function card({ s, i, k, q, t, y, a, w }) {
    const item = template.content.firstElementChild.cloneNode(true);
    const image = item.querySelector("img");
    if (i !== null) {
      image.src = images[i];
      image.alt = `Image of question ${k}`;
      image.hidden = false;
    }
    item.querySelector(".question").textContent = q;
    item.querySelector(".about").textContent = `Expected: ${t} · ${y} · question ${k}`;
    for (const [label, answer, right] of a) {
      const line = document.createElement("li");
      const mark = document.createElement("b");
      mark.textContent = `${right ? "✓ right" : "✗ wrong"} `;
      line.className = right ? "right" : "wrong";
      line.append(mark, `${label}${label === series[s].baseline ? " (published)" : ""}: ${answer || "(empty)"}`);
      item.querySelector(".answers").append(line);
    }
    return item;
  }

  function showMore() {
    const next = found.slice(shown, shown + PAGE);
    list.append(...next.map(card));
    shown += next.length;
    more.hidden = shown >= found.length;
    count.textContent = `${found.length} questions match · showing ${shown}`;
  }

  function choose() {
    const wanted = text.value.trim().toLowerCase();
    found = questions.filter(
      (one) =>
        String(one.s) === run.value &&
        (point.value === "" || one.w.includes(point.value)) &&
        (type.value === "" || one.y === type.value) &&
        (wanted === "" || [one.q, one.t, ...one.a.map((each) => each[1])].join("\n").toLowerCase().includes(wanted)),
    );
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  function showRun() {
    const chosen = series[Number(run.value)];
    const points = chosen.points.map(({ label, changed, shown: some }) => [
      label,
      some < changed ? `${label} (${some} of ${changed})` : `${label} (${changed})`,
    ]);
    const types = new Set(questions.filter((one) => String(one.s) === run.value).map((one) => one.y));
    fill(point, [["", "any"], ...points]);
    fill(type, [["", "any"], ...[...types].sort().map((name) => [name, name])]);
    choose();
  }

  fill(run, series.map(({ name, task }, number) => [String(number), `${name}, ${task}`]));
  run.addEventListener("change", showRun);
  for (const control of [point, type]) control.addEventListener("change", choose);
  text.addEventListener("input", choose);
  more.addEventListener("click", showMore);
  form.addEventListener("submit", (event) => event.preventDefault());
  run.value = String(questions[0].s);
  showRun();
}

startQuestions();
drawCharts();
