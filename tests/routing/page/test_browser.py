"""The page of a study in a real browser: drawn without errors, usable on a phone and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.report.test_browser import (
    PAPER_WIDTH,
    SCHEMES,
    WIDTHS,
    axe_source,
    browser,
    show,
    show_drawn,
    texts,
)
from tests.routing.page.known_traces import known_trace, other_trace
from tests.routing.page.test_page import page_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["browser"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routing") / "index.html"
    path.write_text(page_of(known_trace(images=True), other_trace(images=True)).html, "utf-8")
    return path


def open_all(browser: Any) -> None:
    browser.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true })"
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_drawn_without_errors_and_can_be_read(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    show(browser, page, width, scheme)
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map((one) => !!one.querySelector('svg'))"
    )
    sizes = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    open_all(browser)
    browser.execute_script(axe_source())
    found = browser.execute_async_script("axe.run().then(arguments[0])")

    assert len(drawn) == 7
    assert all(drawn)
    assert texts(browser, ".chart.failed") == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert sizes[0] <= sizes[1]
    assert found["passes"]
    faults = [
        (fault["impact"], fault["id"], fault["nodes"][0]["html"]) for fault in found["violations"]
    ]
    assert [fault for fault in faults if fault[0] in ("serious", "critical")] == []


def shown_layers(browser: Any) -> list[str]:
    shown: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.layer:not([hidden])')]"
        ".map((one) => one.dataset.layer)"
    )
    return shown


def test_one_layer_is_shown_and_kept_in_the_address(browser: Any, page: Path) -> None:
    from selenium.webdriver.support.select import Select

    show(browser, page)
    before = shown_layers(browser)
    Select(browser.find_element("css selector", "#layer-tokens")).select_by_value("3")
    chosen, link = shown_layers(browser), browser.current_url
    browser.get("about:blank")
    browser.get(link)
    show_drawn(browser)

    assert before == ["1", "1", "1"]
    assert chosen == shown_layers(browser) == ["3", "3", "3"]
    assert link.endswith("#layer=3")


def test_a_cell_says_its_value(browser: Any, page: Path) -> None:
    show(browser, page)
    script = """
        const [selector, x, y, done] = arguments;
        const cells = document.querySelector(selector);
        const box = cells.getBoundingClientRect();
        const place = {clientX: box.left + x * box.width, clientY: box.top + y * box.height};
        cells.dispatchEvent(new PointerEvent("pointermove", place));
        const said = cells.closest("figure").querySelector(".cell-value");
        setTimeout(() => done(said.textContent), 300);
    """
    load = browser.execute_async_script(script, "#load .cells", 0.1, 0.1)
    unused = browser.execute_async_script(script, "#load .cells", 0.9, 0.1)
    together = browser.execute_async_script(script, "#coactivation .cells", 0.3, 0.1)

    # In the first layer two of four experts have all tokens.
    assert load == "layer 1, expert 0: 2.00×"
    assert unused == "layer 1, expert 3: 0.00×"
    assert together == "expert 0, chosen together with expert 1: 100%"


def test_on_paper_nothing_is_wider_than_the_page(browser: Any, page: Path) -> None:
    show(browser, page, PAPER_WIDTH)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    width = browser.execute_script("return document.documentElement.scrollWidth")
    heights = browser.execute_script(
        "return [...document.querySelectorAll('.layer:not([hidden]) .cells, #load .cells')]"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert width <= PAPER_WIDTH
    assert heights
    assert all(heights)
