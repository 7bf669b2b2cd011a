"use strict";
// Show one layer of each section, the same in all of them; it is kept in the address: #layer=3.

const layerSelects = [...document.querySelectorAll(".choose-layer select")];

function showLayer(name) {
  for (const part of document.querySelectorAll(".layers")) {
    const panels = [...part.querySelectorAll(".layer")];
    // A section may not have this layer, then it shows the one that it has shown.
    if (!panels.some((panel) => panel.dataset.layer === name)) continue;
    for (const panel of panels) panel.hidden = panel.dataset.layer !== name;
    const select = part.querySelector(".choose-layer select");
    if (select) select.value = name;
  }
}

for (const part of document.querySelectorAll(".layers")) {
  [...part.querySelectorAll(".layer")].slice(1).forEach((panel) => { panel.hidden = true; });
}
for (const select of layerSelects) {
  select.addEventListener("change", () => {
    address.set({ layer: select.value });
    showLayer(select.value);
  });
}
const showChosenLayer = () => { if (address.get("layer") !== null) showLayer(address.get("layer")); };
window.addEventListener("hashchange", showChosenLayer);
showChosenLayer();
