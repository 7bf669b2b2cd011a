"use strict";
// What belongs to the page as a whole: light or dark, print of the first sheet, and links to sections.

const THEME = "moe-eval-theme";

function showTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function startThemes() {
  const select = document.getElementById("theme");
  let kept = null;
  // A page from a file may not be allowed to keep anything.
  try { kept = localStorage.getItem(THEME); } catch { /* the system's choice holds */ }
  if (kept === "light" || kept === "dark") select.value = kept;
  showTheme(select.value);
  select.addEventListener("change", () => {
    showTheme(select.value);
    try { localStorage.setItem(THEME, select.value); } catch { /* it holds until the page is closed */ }
  });
}

function startPrinting() {
  const root = document.documentElement;
  document.getElementById("print-answer")?.addEventListener("click", () => {
    root.dataset.print = "answer";
    window.print();
  });
  window.addEventListener("afterprint", () => { delete root.dataset.print; });
}

function addLinks() {
  for (const section of document.querySelectorAll("main section[id][aria-labelledby]")) {
    const heading = section.querySelector("h2");
    if (!heading) continue;
    const link = document.createElement("a");
    link.href = `#${section.id}`;
    link.className = "anchor";
    link.textContent = "#";
    link.setAttribute("aria-label", `Link to: ${heading.textContent.trim()}`);
    heading.append(" ", link);
  }
}

for (const tool of document.querySelectorAll(".page-tools")) tool.hidden = false;
startThemes();
startPrinting();
addLinks();
