"use strict";
// Say the value of the cell of a heat map that is pointed at. The opacity of the map's image has it.

const STRONGEST = 255;

async function opacities(cells) {
  const address = getComputedStyle(cells).getPropertyValue("--map").trim().replace(/^url\(["']?|["']?\)$/g, "");
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

function shown(value, form) {
  return form === "share" ? `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%` : `${value.toFixed(2)}×`;
}

function startMap(cells) {
  const { top, form, unit, row, column, nRows, nColumns, rowNames, columnNames } = cells.dataset;
  const names = [rowNames, columnNames].map((text) => (text ? JSON.parse(text) : null));
  const said = cells.closest("figure").querySelector(".cell-value");
  const before = said.textContent;
  let values = null;
  const show = async (event) => {
    values ??= opacities(cells);
    const found = await values;
    const box = cells.getBoundingClientRect();
    const place = (at, start, size, n) => Math.min(n - 1, Math.max(0, Math.floor(((at - start) / size) * n)));
    const y = place(event.clientY, box.top, box.height, Number(nRows));
    const x = place(event.clientX, box.left, box.width, Number(nColumns));
    const opacity = found[4 * (y * Number(nColumns) + x) + 3] / STRONGEST;
    const more = opacity === 1 && said.previousElementSibling.textContent.includes("more") ? "at least " : "";
    said.textContent = `${row} ${names[0]?.[y] ?? y}, ${column} ${names[1]?.[x] ?? x}: ${more}${shown(opacity * Number(top), form)}`;
    said.title = unit;
  };
  cells.addEventListener("pointermove", show);
  cells.addEventListener("pointerdown", show);
  cells.addEventListener("pointerleave", () => { said.textContent = before; });
}

document.querySelectorAll(".cells").forEach(startMap);
