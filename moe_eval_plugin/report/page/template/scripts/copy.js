"use strict";
// Copy tables as text, and save charts as files. Both work without a network.

const COPIED_AS = ["Markdown", "LaTeX", "CSV"];
const PNG_SCALE = 3;

function toolbar(name) {
  const tools = document.createElement("div");
  tools.className = "tools";
  tools.setAttribute("role", "group");
  tools.setAttribute("aria-label", name);
  return tools;
}

function addButton(tools, text, name, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-label", name);
  button.addEventListener("click", act);
  tools.append(button);
}

// What happened, for eyes and for screen readers.
function addStatus(tools) {
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  tools.append(said);
  return (text) => { said.textContent = text; };
}

async function copyText(text, format, tools, say) {
  tools.querySelector("textarea")?.remove();
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied as ${format}`);
  } catch {
    // Without a permission the text is selected instead.
    const field = document.createElement("textarea");
    field.readOnly = true;
    field.rows = 6;
    field.value = text;
    field.setAttribute("aria-label", `The table as ${format}`);
    tools.append(field);
    field.select();
    field.focus();
    say("The text is selected: press Ctrl+C or ⌘C to copy it");
  }
}

function addCopying(table, formats) {
  const name = table.dataset.copyName || table.caption?.textContent.trim() || table.getAttribute("aria-label") || "the table";
  const tools = toolbar(`Copy: ${name}`);
  const title = document.createElement("span");
  title.textContent = "Copy as";
  tools.append(title);
  for (const format of COPIED_AS) {
    const copy = () => copyText(formats[format], format, tools, say);
    addButton(tools, format, `${format}: copy ${name}`, copy);
  }
  const say = addStatus(tools);
  (table.closest(".scroll") ?? table).after(tools);
}

// The page's colours are variables, which a file does not have.
async function svgOf(view) {
  const style = getComputedStyle(document.documentElement);
  const svg = await view.toSVG();
  return svg.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
}

async function pngOf(view) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(await svgOf(view))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth * PNG_SCALE;
  canvas.height = image.naturalHeight * PNG_SCALE;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const SAVED_AS = {
  SVG: async (view) => new Blob([await svgOf(view)], { type: "image/svg+xml" }),
  PNG: pngOf,
};

function addSaving(element) {
  const file = element.dataset.chart;
  const figure = element.closest("figure");
  const title = figure?.querySelector("h2, h3, h4")?.textContent.trim() || file;
  const folded = document.createElement("details");
  folded.className = "saving";
  const summary = document.createElement("summary");
  summary.textContent = "Save chart";
  const tools = toolbar(`Save: ${title}`);
  for (const [format, write] of Object.entries(SAVED_AS)) {
    addButton(tools, format, `${format}: save ${title}`, async () => {
      try {
        const name = `${file}.${format.toLowerCase()}`;
        download(await write(views.get(file)), name);
        say(`Saved ${name}`);
      } catch (error) {
        say(`Not saved: ${error.message}`);
      }
    });
  }
  const say = addStatus(tools);
  folded.append(summary, tools);
  (figure?.querySelector("figcaption") ?? figure ?? element.parentElement).append(folded);
}

function startCopying() {
  const copies = read("copies");
  for (const table of document.querySelectorAll("table[data-copy]")) {
    addCopying(table, copies[table.dataset.copy]);
  }
  document.querySelectorAll("[data-chart]").forEach(addSaving);
}

startCopying();
