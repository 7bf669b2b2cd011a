"use strict";
// Draw the charts: first those that are seen, then those that are folded away.

// The drawn charts by their names, for those who save them.
const views = new Map();

// A folded chart has no width; it gets the one that it will have.
function widthOf(element) {
  const folded = element.closest("details:not([open])");
  if (!folded) return element.clientWidth;
  folded.open = true;
  const width = element.clientWidth;
  folded.open = false;
  return width;
}

async function drawChart({ name, spec }, config) {
  const element = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
  const folded = element.closest("details:not([open])");
  const sized = folded ? { ...spec, width: widthOf(element), autosize: { type: "fit-x", contains: "padding" } } : spec;
  try {
    const drawn = await vegaEmbed(element, sized, { config, actions: false, renderer: "svg" });
    views.set(name, drawn.view);
    element.dispatchEvent(new Event("chart-drawn", { bubbles: true }));
  } catch (error) {
    element.textContent = `This chart could not be drawn: ${error.message}`;
    element.classList.add("failed");
  }
}

// Let the browser show what is there, and answer to its reader, before more is drawn.
const pause = () => new Promise((go) => { setTimeout(go); });

async function drawCharts() {
  const { config, specs } = read("charts");
  const isFolded = ({ name }) => Boolean(document.querySelector(`[data-chart="${CSS.escape(name)}"]`).closest("details:not([open])"));
  const folded = specs.filter(isFolded);
  for (const one of specs.filter((one) => !folded.includes(one))) {
    await pause();
    await drawChart(one, config);
  }
  performance.mark("charts-seen");
  for (const one of folded) {
    await pause();
    await drawChart(one, config);
  }
  document.documentElement.dataset.drawn = "yes";
  performance.mark("charts-drawn");
}

drawCharts();
