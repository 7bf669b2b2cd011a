"use strict";
// Show the verdicts at the margin that is chosen. All of them are in the page: nothing is decided here.

const marginChoices = document.querySelectorAll("#margins input");

function chosenMargin() {
  return [...marginChoices].find((one) => one.checked).value;
}

// Tell a main chart which window to show: that of the chosen margin, or all k drawn to scale.
function showWindow(figure) {
  const view = views.get(figure.querySelector("[data-chart]").dataset.chart);
  const all = figure.querySelector(".all-k")?.getAttribute("aria-pressed") === "true" ? " all" : "";
  if (view && figure.dataset.windows === "margins") view.signal("shown", chosenMargin() + all).runAsync();
}

function showMargin() {
  const margin = chosenMargin();
  for (const one of document.querySelectorAll("[data-margin]")) one.hidden = one.dataset.margin !== margin;
  for (const row of document.querySelectorAll("tr[data-recommended]")) {
    row.classList.toggle("recommended", row.dataset.recommended.split(" ").includes(margin));
  }
  document.querySelectorAll(".main-chart").forEach(showWindow);
}

function chooseMargin(margin) {
  const choice = [...marginChoices].find((one) => one.value === margin);
  if (!choice || choice.checked) return;
  choice.checked = true;
  showMargin();
}

for (const choice of marginChoices) {
  choice.addEventListener("change", () => {
    showMargin();
    address.set({ margin: choice.value });
    const headlines = document.querySelectorAll(".verdict:not([hidden]) .headline");
    document.getElementById("verdict-status").textContent = [...headlines].map((one) => one.textContent).join(". ");
  });
}

for (const button of document.querySelectorAll(".all-k")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    showWindow(button.closest(".main-chart"));
  });
}

chooseMargin(address.get("margin"));
window.addEventListener("hashchange", () => chooseMargin(address.get("margin")));
document.addEventListener("chart-drawn", (event) => {
  const figure = event.target.closest(".main-chart");
  if (figure) showWindow(figure);
});
