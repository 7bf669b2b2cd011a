"use strict";
// Draw the charts.

// The drawn charts by their names, for those who save them.
const views = new Map();

async function drawCharts() {
  const { config, specs } = read("charts");
  for (const { name, spec } of specs) {
    const element = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
    try {
      const drawn = await vegaEmbed(element, spec, { config, actions: false, renderer: "svg" });
      views.set(name, drawn.view);
    } catch (error) {
      element.textContent = `This chart could not be drawn: ${error.message}`;
      element.classList.add("failed");
    }
  }
  document.documentElement.dataset.drawn = "yes";
}

drawCharts();
