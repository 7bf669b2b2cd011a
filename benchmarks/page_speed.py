"""Measure how long it takes until a report has drawn itself in a browser.

Run ``python benchmarks/page_speed.py REPORT.html ...``. Each page is opened in headless Chromium
several times, each time in a new window. Its times count from the begin of the navigation: until
the page can be read, until the charts that are not folded are drawn, and until all are drawn. It
exits with 1 if the median time until the charts that are not folded are drawn is above
``--at-most``. It needs selenium, chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 120
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
# Seconds since the navigation began; the page sets the marks of its charts.
TIMES = """
const mark = (name) => performance.getEntriesByName(name)[0].startTime / 1000;
return {
  readable: mark("first-contentful-paint"),
  "charts seen": mark("charts-seen"),
  "all charts": mark("charts-drawn"),
};
"""


def open_once(driver: Any, page: Path) -> dict[str, float]:  # noqa: ANN401  (selenium has no types)
    """Open a page in a new window, and return its seconds by what was reached."""
    first = driver.current_window_handle
    driver.switch_to.new_window("window")
    driver.get(page.resolve().as_uri())
    WebDriverWait(driver, PATIENCE_S).until(
        lambda one: one.execute_script("return performance.getEntriesByName('charts-drawn').length")
    )
    seconds: dict[str, float] = driver.execute_script(TIMES)
    driver.close()
    driver.switch_to.window(first)
    return seconds


def measure(driver: Any, page: Path, runs: int) -> dict[str, Any]:  # noqa: ANN401
    """Return the median and the range of each time of a page; a first run is not counted."""
    open_once(driver, page)
    found = [open_once(driver, page) for _ in range(runs)]
    return {
        "page": page.name,
        "bytes": page.stat().st_size,
        "runs": runs,
        "seconds": {
            name: {
                "median": statistics.median(one[name] for one in found),
                "smallest": min(one[name] for one in found),
                "largest": max(one[name] for one in found),
            }
            for name in found[0]
        },
    }


def browser(folder: str) -> Any:  # noqa: ANN401
    """Start Chromium with a new profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in (*ARGUMENTS, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def main() -> int:
    """Measure the pages, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path, metavar="REPORT.html")
    parser.add_argument("--runs", type=int, default=5, help="times to open each page (default: 5)")
    parser.add_argument(
        "--at-most", type=float, default=3.0, metavar="SECONDS", help="limit (default: 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        driver = browser(folder)
        version = driver.capabilities["browserVersion"]
        try:
            found = [measure(driver, page, options.runs) for page in options.pages]
        finally:
            driver.quit()
    for one in found:
        print(f"{one['page']} ({one['bytes'] / 1e6:.1f} MB), median of {one['runs']} runs:")
        for name, times in one["seconds"].items():
            ends = f"{times['smallest']:.2f} to {times['largest']:.2f}"
            print(f"  {name:12} {times['median']:6.2f} s ({ends})")
    if options.json:
        record = {"browser": version, "machine": platform.processor(), "pages": found}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    slow = [
        one["page"] for one in found if one["seconds"]["charts seen"]["median"] > options.at_most
    ]
    if slow:
        print(f"Slower than {options.at_most:g} s: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
