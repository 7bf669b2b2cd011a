"""Write a picture of a report as a browser shows it, for the documentation.

Run ``python benchmarks/page_picture.py REPORT.html PICTURE.png``. It opens the page in headless
Chromium, 1280 pixels wide and in light colours, waits until all charts are drawn, and takes its
first screen. ``--part ID`` takes one part of the page instead, for instance ``questions``, and
``--unfold`` opens what is folded there. ``demo_sweep_files.sh`` makes the pictures of the
documentation. It needs selenium, pillow, chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from page_speed import PATIENCE_S, browser
from PIL import Image
from selenium.webdriver.support.wait import WebDriverWait

N_COLOURS = 128
MARGIN_PX = 16
# What is folded in a part of the page, but not the notes inside of it.
UNFOLD = """
const part = document.getElementById(arguments[0]);
for (const one of part.querySelectorAll(":scope > details")) one.open = true;
"""
# Where a part of the page is, in pixels from its top left corner.
BOX = """
const box = document.getElementById(arguments[0]).getBoundingClientRect();
return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height};
"""


def open_page(driver: Any, page: Path, width: int, height: int) -> None:  # noqa: ANN401
    """Open a report at a size in pixels, in light colours, and wait until it is drawn."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
    # A picture has no scrollbars: without this the page is laid out again while it is taken.
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    driver.get(page.resolve().as_uri())
    WebDriverWait(driver, PATIENCE_S).until(
        lambda one: one.execute_script("return document.documentElement.dataset.drawn") == "yes"
    )


def area(driver: Any, part: str | None, width: int, height: int) -> dict[str, float]:  # noqa: ANN401
    """Return the area of the picture: the first screen, or the top of a part of the page."""
    if part is None:
        return {"x": 0, "y": 0, "width": width, "height": height}
    box: dict[str, float] = driver.execute_script(BOX, part)
    top = max(0, box["y"] - MARGIN_PX)
    return {"x": 0, "y": top, "width": width, "height": min(height, box["height"] + 2 * MARGIN_PX)}


def take(driver: Any, clip: dict[str, float]) -> Image.Image:  # noqa: ANN401
    """Return an area of the open page as a picture of few colours, which makes a small file."""
    found = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": {**clip, "scale": 1}}
    )
    picture = Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB")
    return picture.quantize(N_COLOURS, dither=Image.Dither.NONE)


def main() -> int:
    """Write the picture, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, metavar="REPORT.html")
    parser.add_argument("picture", type=Path, metavar="PICTURE.png")
    parser.add_argument("--part", metavar="ID", help="part of the page (default: first screen)")
    parser.add_argument("--unfold", action="store_true", help="open what is folded in the part")
    parser.add_argument("--width", type=int, default=1280, help="in pixels (default: 1280)")
    parser.add_argument("--height", type=int, default=640, help="at most, in pixels (default: 640)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        driver = browser(folder)
        try:
            open_page(driver, options.page, options.width, options.height)
            if options.unfold:
                driver.execute_script(UNFOLD, options.part)
            clip = area(driver, options.part, options.width, options.height)
            take(driver, clip).save(options.picture, optimize=True)
        finally:
            driver.quit()
    print(f"{options.picture}: {options.picture.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
