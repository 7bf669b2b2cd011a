"""List what is cut off on the built pages, at the widths of a phone and of a desk.

Run by hand, after ``make docs``: ``.venv/bin/python docs/_ext/page_widths.py [PAGE ...]``. It opens
each page in Chromium, in two widths, and ends with exit code 1 if it found something.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILT = Path(__file__).parents[1] / "_build" / "html"
WIDTHS = (390, 1280)
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
# Elements beyond the edge of the window, without a box around them that scrolls, and boxes that
# hide what does not fit. The drawers of the theme wait beside the window on purpose.
CUT = """
const width = window.innerWidth;
const drawers = ".sidebar-drawer, .toc-drawer, .skip-to-content, .headerlink, .visually-hidden";
const scrolls = (one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
const found = [];
for (const one of document.querySelectorAll("body *")) {
  const box = one.getBoundingClientRect();
  if (!box.width || !box.height || one.closest(drawers)) continue;
  let around = one.parentElement;
  while (around && !scrolls(around)) around = around.parentElement;
  const isBeyond = (box.right > width + 1 || box.left < -1) && !around;
  const isHidden = getComputedStyle(one).overflowX === "hidden"
    && one.scrollWidth > one.clientWidth + 1;
  if (isBeyond || isHidden) {
    const text = one.textContent.trim().slice(0, 60).replace(/\\s+/g, " ");
    const what = `${one.tagName.toLowerCase()}.${one.className}`;
    found.push(`${what} to ${Math.round(box.right)}: ${text}`);
  }
}
return found;
"""


def cut_off(pages: list[Path]) -> Iterator[str]:
    """Yield a line for each element that is cut off, with its page and width."""
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        for width in WIDTHS:
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}  # noqa: PLR2004
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            for page in pages:
                browser.get(page.resolve().as_uri())
                for line in browser.execute_script(CUT):
                    yield f"{page.relative_to(BUILT)} at {width}: {line}"
    finally:
        browser.quit()


def main(names: list[str]) -> int:
    """Print what is cut off on the named pages, or on all, and return an exit code."""
    pages = [BUILT / name for name in names] or sorted(BUILT.rglob("*.html"))
    pages = [page for page in pages if (BUILT / "measurements") not in page.parents or names]
    found = list(cut_off(pages))
    print("\n".join(found) or f"Nothing is cut off on {len(pages)} pages.")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
