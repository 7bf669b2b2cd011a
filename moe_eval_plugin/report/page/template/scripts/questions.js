"use strict";
// List the changed questions.

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
