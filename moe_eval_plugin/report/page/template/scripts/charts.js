"use strict";
// Draw the charts.

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

drawCharts();
