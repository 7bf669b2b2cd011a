"use strict";
// Sort tables by the column whose heading is pressed: a third press brings back the order of before.
// The headings of a table are one stop of the tab key; the arrow keys go from one to the next.

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  const numbers = !Number.isNaN(x) && !Number.isNaN(y);
  return numbers ? x - y : a.localeCompare(b, "en", { numeric: true });
}

// The directions of the presses of a heading; numbers begin with the largest.
const directions = (heading) =>
  heading.classList.contains("number") ? ["descending", "ascending", null] : ["ascending", "descending", null];

function sortBy(table, original, column) {
  const heading = table.tHead.rows[0].cells[column];
  const order = directions(heading);
  const next = order[(order.indexOf(heading.getAttribute("aria-sort")) + 1) % order.length];
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...original];
  if (next) {
    rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      // Unknown values come last, in both directions.
      if (a === "" || b === "") return (a === "") - (b === "");
      return next === "ascending" ? compare(a, b) : compare(b, a);
    });
  }
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  if (next) heading.setAttribute("aria-sort", next);
  table.tBodies[0].append(...rows);
}

function oneStop(buttons) {
  const to = (button) => {
    for (const one of buttons) one.tabIndex = one === button ? 0 : -1;
    button.focus();
  };
  buttons.forEach((button, number) => {
    button.tabIndex = number ? -1 : 0;
    button.addEventListener("keydown", (event) => {
      const ends = { Home: 0, End: buttons.length - 1, ArrowLeft: number - 1, ArrowRight: number + 1 };
      const target = buttons[ends[event.key]];
      if (!target) return;
      event.preventDefault();
      to(target);
    });
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const original = [...table.tBodies[0].rows];
  const cells = [...table.tHead.rows[0].cells];
  cells.forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortBy(table, original, column));
  });
  oneStop(cells.map((cell) => cell.querySelector("button")));
}
