"""The page in a real browser: no errors, nothing cut off, usable with keys and by ear."""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.report.charts.theme import COLOURS
from tests.report.report_runs import (
    ATTACK,
    in_provenance,
    one_per_image,
    records,
    right,
    set_question_types,
    write_bench,
    write_other_run,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.report.schedule_runs import SEARCHED, tuning_record, write_setting
from tests.results.timing.timed_files import around
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.vqa.dataset import Record

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
if CHROMIUM is None or CHROMEDRIVER is None:
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
PATIENCE_S = 30
# A sheet of A4 without its margins of 0.4 inches, in CSS pixels.
PAPER_WIDTH = 717
# Of a screen that is 1280 pixels wide, what is seen without scrolling.
FIRST_SCREEN = 620


def axe_source() -> str:
    """Return the source of axe-core, from the package that brings it."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed")
    (source,) = Path(found.origin).parent.rglob("axe.min.js")
    return source.read_text("utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from moe_eval_plugin.report.build import Options, build

    folder = tmp_path_factory.mktemp("runs")
    # Three on each image.
    questions = records(360)[::3]
    for k, step in ((8, 60), (4, 12), (2, 4), (1, 2)):
        answer = wrong_every(step, ATTACK if k == 1 else "a wrong answer")
        path = write_run(folder / f"k{k}", k, answer if k < 8 else right, questions, rate=20 - k)
        set_question_types(path, lambda number: f"what is the colour of {number % 16}")
        if k == 2:
            unread = {"document": 0, "question_id": 0, "reason": "its image cannot be read"}
            edit_json(path, in_provenance("unanswered", [unread]))
            edit_json(path, in_provenance("n_unanswered", 1))
    write_other_run(folder / "other", questions)
    bench = write_bench(folder / "bench.json")
    path = folder / "report.html"
    path.write_text(build([folder], Options(benches=[bench])).html, "utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=CHROMEDRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(PATIENCE_S)
    yield driver
    driver.quit()


def show(browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """Open the page at a width, in light or dark, and wait for its charts."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    show_drawn(browser)


def show_drawn(browser: Any) -> None:
    """Wait for the charts of a page."""
    end = time.monotonic() + PATIENCE_S
    while browser.execute_script("return document.documentElement.dataset.drawn") != "yes":
        assert time.monotonic() < end, "the charts were not drawn"
        time.sleep(0.05)


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    found: list[str] = browser.execute_script(script, selector)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_all_charts_are_drawn_without_an_error(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    show(browser, page, width, scheme)

    drawn = (
        "return [...document.querySelectorAll('.chart')].map((one) => !!one.querySelector('svg'))"
    )
    assert all(browser.execute_script(drawn))
    assert texts(browser, ".chart.failed") == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width)

    sizes = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    too_wide = browser.execute_script(
        "return [...document.querySelectorAll('.chart svg')].filter((one) => "
        "one.getBoundingClientRect().right > one.closest('figure').getBoundingClientRect().right)"
        ".length"
    )
    assert sizes[0] <= sizes[1]
    assert too_wide == 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_serious_fault_of_accessibility(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    show(browser, page, width, scheme)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true })"
    )
    browser.execute_script(axe_source())

    found = browser.execute_async_script("axe.run().then(arguments[0])")

    assert found["passes"]
    faults = [
        (fault["impact"], fault["id"], fault["nodes"][0]["html"]) for fault in found["violations"]
    ]
    assert [fault for fault in faults if fault[0] in ("serious", "critical")] == []
    # Inside charts alone, axe leaves two things open. It takes SVG for a picture, and does not see
    # the colour behind text: the next test looks at that. And it cannot hear how Vega's words for
    # marks sound; each chart has a text beside it, and all its numbers in a table. And it finds the
    # marks ✓, ✗ and ⚠ too short to judge; the test of the theme has their colours.
    open_questions = {
        (unsure["id"], node["html"][:80])
        for unsure in found["incomplete"]
        for node in unsure["nodes"]
        if unsure["id"] not in ("color-contrast", "aria-roledescription")
        or not browser.execute_script(
            "return !!document.querySelector(arguments[0])"
            ".closest('.chart, .answers b, .caveat [aria-hidden]')",
            node["target"][-1],
        )
    }
    assert open_questions == set()


@pytest.fixture(scope="module")
def priced_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a searched schedule, a schedule by hand and a policy."""
    from moe_eval_plugin.report.build import Options, build

    folder = tmp_path_factory.mktemp("priced")
    questions = one_per_image(60)
    for k, step in ((8, 30), (2, 3)):
        write_run(folder / f"k{k}", k, wrong_every(step), questions, rate=20 - k)
    tuned = {"experts_k": SEARCHED, "tuning": tuning_record(doc_ids=range(5))}
    for number, one in enumerate(
        (tuned, {"experts_k": "2/1:4"}, {"policy": "threshold:0.3", "observed": 5.2})
    ):
        write_setting(folder / f"s{number}", wrong_every(20), questions, **one)
    path = folder / "report.html"
    path.write_text(build([folder], Options()).html, "utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_schedules_and_policies_are_drawn_within_the_page_and_without_faults(
    browser: Any, priced_page: Path, width: int, scheme: str
) -> None:
    show(browser, priced_page, width, scheme)

    names = texts(browser, "#equal-price h3")
    assert names == ["Accuracy at each price", "Experts per token in each layer"]
    assert len(texts(browser, "#equal-price .chart svg")) == 2
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    sizes = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1]
    browser.execute_script(axe_source())
    script = "axe.run(document.getElementById('equal-price')).then(arguments[0])"
    found = browser.execute_async_script(script)
    assert found["passes"]
    assert [fault["id"] for fault in found["violations"]] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_in_charts_can_be_read(browser: Any, page: Path, scheme: str) -> None:
    show(browser, page, scheme=scheme)

    fills = browser.execute_script(
        "return [...document.querySelectorAll('.chart svg text')].filter((one) => "
        "one.textContent.trim() && !one.hasAttribute('stroke-width'))"
        ".map((one) => getComputedStyle(one).fill)"
    )
    # That these stand out from the background is checked beside the colours themselves.
    which = SCHEMES.index(scheme)
    readable = {rgb(COLOURS[name][which]) for name in ("ink", "muted", "good", "bad")}

    assert len(fills) > 100
    assert set(fills) <= readable


def rgb(colour: str) -> str:
    return "rgb({}, {}, {})".format(*(int(colour[place : place + 2], 16) for place in (1, 3, 5)))


def test_a_table_is_sorted_with_keys_and_says_how(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, page)
    table = "[data-test=sorted]"
    browser.execute_script(
        "const one = [...document.querySelectorAll('table.sortable')].find((table) => "
        "table.textContent.includes('Accuracy')); one.dataset.test = 'sorted'; "
        "const folded = one.closest('details'); if (folded) folded.open = true"
    )
    names = texts(browser, f"{table} thead button")
    column = next(number for number, name in enumerate(names, 1) if name.startswith("Accuracy"))
    cells = f"{table} tbody td:nth-child({column}), {table} tbody th:nth-child({column})"
    heading = browser.find_element("css selector", f"{table} th:nth-child({column})")

    def press() -> tuple[list[str], str | None]:
        heading.find_element("css selector", "button").send_keys(Keys.ENTER)
        return texts(browser, cells), heading.get_attribute("aria-sort")

    before = texts(browser, cells)
    down, up, again = press(), press(), press()

    # Numbers begin with the largest, and a third press brings back the order of before.
    assert (down[1], up[1]) == ("descending", "ascending")
    values = [float(re.split("[ %]", text)[0]) for text in down[0]]
    assert values == sorted(values, reverse=True)
    assert up[0][0] == down[0][-1]
    assert again == (before, None)
    # The headings of a table are one stop of the tab key.
    stops = f"return document.querySelectorAll('{table} button[tabindex=\"0\"]').length"
    assert browser.execute_script(stops) == 1
    heading.find_element("css selector", "button").send_keys(Keys.HOME)
    focused = "return document.activeElement.textContent"
    assert browser.execute_script(focused) == names[0]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(focused) == names[1]


def buttons(browser: Any, beginning: str) -> list[Any]:
    """Return the buttons whose names begin so."""
    found: list[Any] = browser.find_elements("css selector", f"[aria-label^='{beginning}']")
    return found


def statuses(browser: Any) -> list[str]:
    return [text for text in texts(browser, ".tools [role=status]") if text]


def test_a_table_is_copied_or_selected_where_copying_is_not_allowed(
    browser: Any, page: Path
) -> None:
    show(browser, page)
    found = browser.find_elements("css selector", ".tools button")
    every = [button.text for button in found if button.is_displayed()]
    keep = "navigator.clipboard.writeText = async (text) => { window.kept = text; }"
    browser.execute_script(keep)
    latex = buttons(browser, "LaTeX: copy Every setting of")[0]
    latex.send_keys("\ue007")
    copied = statuses(browser)
    text = browser.execute_script("return window.kept")
    refuse = "navigator.clipboard.writeText = () => Promise.reject(new Error('no'))"
    browser.execute_script(refuse)
    buttons(browser, "CSV: copy Every setting of")[0].click()
    field = browser.execute_script("return document.activeElement.value")
    selected = browser.execute_script(
        "const [one] = [document.activeElement]; return [one.selectionStart, one.selectionEnd]"
    )

    assert every[:3] == ["Markdown", "LaTeX", "CSV"]
    assert copied == ["Copied as LaTeX"]
    assert "\\begin{tabular}" in text
    assert ATTACK not in text
    assert statuses(browser) == ["The text is selected: press Ctrl+C or ⌘C to copy it"]
    assert "score_low" in field.splitlines()[0]
    assert selected[0] == 0
    assert selected[1] >= field.count("k=")


def test_a_chart_is_saved_as_it_is_drawn(browser: Any, page: Path, tmp_path: Path) -> None:
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    show(browser, page)
    chart = browser.find_element("css selector", "figure .saving")
    chart.find_element("css selector", "summary").click()
    for button in chart.find_elements("css selector", "button"):
        button.click()
    end = time.monotonic() + PATIENCE_S
    while len(found := [one for one in tmp_path.iterdir() if one.suffix in (".svg", ".png")]) < 2:
        assert time.monotonic() < end, statuses(browser)
        time.sleep(0.05)

    png, svg = sorted(found, key=lambda one: one.suffix)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "var(--" not in svg.read_text("utf-8")
    assert COLOURS["series-1"][0] in svg.read_text("utf-8")


def chosen(browser: Any) -> list[str]:
    """Return what the address says is chosen."""
    return sorted(browser.execute_script("return location.hash.slice(1).split('&')"))


def test_changed_questions_are_filtered_by_setting_kind_and_type(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    show(browser, page)
    first = texts(browser, "#count")[0]
    counts = texts(browser, ".kinds label")
    Select(browser.find_element("name", "setting")).select_by_value("k=2")
    at_2 = texts(browser, "#count")[0]
    Select(browser.find_element("name", "type")).select_by_value("yes/no")
    of_type = texts(browser, "#count")[0]
    about = texts(browser, "#cards .about")
    address = chosen(browser)
    browser.find_element("css selector", ".kinds input:checked").send_keys(Keys.ARROW_RIGHT)

    assert first.startswith("10 of 120 questions score worse at k=4 than at k=8 (published).")
    assert [text.strip() for text in counts] == ["Lost 10", "Gained 0", "Changed, same score 0"]
    assert at_2.startswith("30 of 120 questions")
    assert "1 question could not be put to the model at k=2." in at_2
    assert re.search(r" (\d+) match the filters", of_type)
    assert about
    assert all("yes/no" in text for text in about)
    assert address == ["kind=lost", "setting=k=2", "type=yes/no"]
    assert "kind=gained" in chosen(browser)
    assert "0 of 120 questions score better at k=2" in texts(browser, "#count")[0]


def test_questions_are_grouped_by_image_and_more_are_shown_on_demand(
    browser: Any, page: Path
) -> None:
    from selenium.webdriver.support.select import Select

    show(browser, page)
    Select(browser.find_element("name", "setting")).select_by_value("k=1")
    before = len(texts(browser, "#cards .card"))
    browser.find_element("id", "more").click()
    images = texts(browser, "#cards .about-image")
    sizes = "return [...document.querySelectorAll('#cards img')].map((one) => one.naturalWidth)"

    assert before == 24
    assert len(images) == len({text.split(" · ")[0] for text in images}) > 24
    assert len(texts(browser, "#cards .question")) == 60
    assert not browser.find_element("id", "more").is_displayed()
    assert all(width > 0 for width in browser.execute_script(sizes))


def test_a_link_leads_to_a_question_and_keeps_what_else_is_chosen(browser: Any, page: Path) -> None:
    show(browser, page)
    browser.execute_script("location.hash = '#margin=2&setting=k=1&kind=lost'")
    browser.execute_async_script("setTimeout(arguments[0])")
    browser.find_element("id", "more").click()
    question = browser.find_elements("css selector", "#cards .question")[-1]
    key = question.get_attribute("data-question")
    browser.find_elements("css selector", "#cards .question .link")[-1].click()
    address = chosen(browser)
    browser.refresh()
    show_drawn(browser)

    assert address == ["kind=lost", "margin=2", f"q={key}", "setting=k=1"]
    marked = browser.execute_script(
        "const one = document.querySelector('.marked'); return [one.dataset.question, "
        "document.activeElement === one, one.getBoundingClientRect().top < innerHeight]"
    )
    assert marked == [key, True, True]
    # A question without a setting is shown where it changed.
    browser.execute_script("location.hash = arguments[0]", f"#q={key}")
    browser.execute_async_script("setTimeout(arguments[0])")
    assert len(browser.find_elements("css selector", ".marked")) == 1


def test_an_image_is_enlarged_with_keys_and_the_focus_returns(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, page)
    opened = "return [viewer.open, document.querySelector('#viewer-title').textContent]"
    browser.find_element("css selector", "#cards .enlarge").send_keys(Keys.ENTER)
    first = browser.execute_script(opened)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    second = browser.execute_script(opened)
    words = texts(browser, "#viewer .words")
    browser.execute_script(axe_source())
    found = browser.execute_async_script("axe.run('#viewer').then(arguments[0])")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    focused = "return document.activeElement === document.querySelectorAll('.enlarge')[1]"

    assert first[0]
    assert re.fullmatch(r"Image \d+ · 1 of \d+", first[1])
    assert "· 2 of" in second[1]
    assert words == texts(browser, "#cards .card:nth-child(2) .words")
    assert [fault["id"] for fault in found["violations"]] == []
    assert browser.execute_script("return viewer.open") is False
    assert browser.execute_script(focused)


def test_answers_unfold_with_keys(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, page)
    summary = browser.find_element("css selector", "#cards .answers summary")
    strip = " ".join(summary.text.split())
    summary.send_keys(Keys.ENTER)
    browser.execute_async_script("setTimeout(arguments[0])")

    assert re.match(r"8 ✓ ?k=8 right: \S+ · 4 ✗ ?k=4 wrong: a wrong answer · ", strip)
    whole = texts(browser, "#cards .whole li")
    assert whole[0].startswith("✓ right k=8 (published): ")
    assert whole[1] == "✗ wrong k=4: a wrong answer"
    assert whole[2] == "✗ wrong k=2: (no answer): its image cannot be read"
    assert len(whole) == 4


def test_what_a_model_said_does_not_run(browser: Any, page: Path) -> None:
    show(browser, page)

    browser.execute_script("location.hash = '#setting=k=1&kind=lost'")
    browser.execute_async_script("setTimeout(arguments[0])")

    assert ATTACK in "".join(texts(browser, "#cards .answers"))
    assert browser.title != "taken"


def test_dark_is_dark_and_paper_is_light(browser: Any, page: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    show(browser, page, scheme="dark")
    dark = browser.execute_script(background)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    paper = browser.execute_script(background)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert (dark, paper) == ("rgb(20, 23, 28)", "rgb(255, 255, 255)")


def on_paper(browser: Any, page: Path) -> None:
    """Show the page as it is laid out for print on A4."""
    show(browser, page, PAPER_WIDTH)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})


def test_on_paper_nothing_is_wider_than_the_page(browser: Any, page: Path) -> None:
    on_paper(browser, page)

    too_wide = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter((one) => "
        "!one.closest('.vega-embed svg *') && "
        "(one.getBoundingClientRect().right > arguments[0] || one.scrollWidth > one.clientWidth "
        "&& getComputedStyle(one).display !== 'inline' && getComputedStyle(one).overflow !== "
        "'visible')).map((one) => one.outerHTML.slice(0, 90))",
        PAPER_WIDTH,
    )
    width = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert too_wide == []
    assert width <= PAPER_WIDTH


def test_on_paper_all_numbers_are_there_and_what_is_folded_too(browser: Any, page: Path) -> None:
    script = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((one) => one.getBoundingClientRect().height > 0 && one.checkVisibility())"
    )
    folded = "details:not([open], figcaption details) > :not(summary, .tools)"
    show(browser, page, PAPER_WIDTH)
    on_screen = browser.execute_script(script, folded)
    on_paper(browser, page)
    unfolded = browser.execute_script(script, folded)
    cells = browser.execute_script(script, ".numbers th, .numbers td:not(:empty)")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert on_screen
    assert not any(on_screen)
    assert all(unfolded)
    assert cells
    assert all(cells)


def test_the_page_can_be_printed(browser: Any, page: Path) -> None:
    show(browser, page)

    paper = {"paperWidth": 8.27, "paperHeight": 11.69}
    printed = browser.execute_cdp_cmd("Page.printToPDF", paper)
    pdf = base64.b64decode(printed["data"])

    assert pdf.startswith(b"%PDF")
    # Too much width would make Chromium shrink all of it onto fewer sheets.
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 40


@pytest.fixture(scope="module")
def one_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a timed sweep, in which the margin decides what is recommended."""
    from moe_eval_plugin.report.build import Options, build

    folder = tmp_path_factory.mktemp("sweep")
    usual = wrong_every(10)

    def worse(number: int, record: Record) -> str:
        return "a wrong answer" if number in range(1, 5) else usual(number, record)

    answers = {8: usual, 7: usual, 6: usual, 5: usual, 4: worse, 3: worse, 2: wrong_every(2)}
    seconds = {f"k{k}": around(k / 2) for k in answers}
    write_sweep(folder, {**answers, 1: wrong_every(1)}, {**seconds, "k1": around(0.5)})
    path = folder / "report.html"
    path.write_text(build([folder], Options()).html, encoding="utf-8")
    return path


def headline(browser: Any) -> list[str]:
    return texts(browser, ".verdict:not([hidden]) .headline")


def test_the_first_screen_holds_the_answer(browser: Any, one_sweep: Path) -> None:
    show(browser, one_sweep)
    bottoms = browser.execute_script(
        "return ['.answer', '.main-chart svg', '.glance'].map((one) => "
        "document.querySelector(one).getBoundingClientRect().bottom)"
    )

    assert browser.title == "demo on easy_vqa: how many experts are enough?"
    assert headline(browser) == ["Use k=5 instead of 8"]
    assert len(texts(browser, ".glance tbody tr")) == 8
    assert max(bottoms) < FIRST_SCREEN


def test_the_margin_is_switched_with_keys_and_kept_in_the_address(
    browser: Any, one_sweep: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, one_sweep)
    ticks = ".main-chart svg .role-axis-label"
    before = texts(browser, ticks)
    for _ in range(2):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        browser.find_element("css selector", "#margins input:checked").send_keys(Keys.ARROW_RIGHT)
    shown = headline(browser), texts(browser, "tr.recommended th"), texts(browser, ticks)
    said, link = texts(browser, "#verdict-status"), browser.current_url
    browser.get("about:blank")
    browser.get(link)

    assert shown[0] == said == headline(browser) == ["Use k=3 instead of 8"]
    assert shown[1] == ["k=3"]
    assert shown[2] != before
    assert link.endswith("#margin=5")


def test_the_colours_can_be_chosen(browser: Any, one_sweep: Path) -> None:
    from selenium.webdriver.support.select import Select

    background = "return getComputedStyle(document.body).backgroundColor"
    show(browser, one_sweep)
    Select(browser.find_element("id", "theme")).select_by_value("dark")
    dark = browser.execute_script(background)
    Select(browser.find_element("id", "theme")).select_by_value("system")

    assert dark == "rgb(20, 23, 28)"
    assert browser.execute_script(background) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("paper", [(8.27, 11.69), (8.5, 11)])
def test_the_first_screen_alone_is_printed_on_one_sheet(
    browser: Any, one_sweep: Path, paper: tuple[float, float]
) -> None:
    show(browser, one_sweep)
    browser.execute_script("document.documentElement.dataset.print = 'answer'")

    size = {"paperWidth": paper[0], "paperHeight": paper[1]}
    printed = browser.execute_cdp_cmd("Page.printToPDF", size)

    assert len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed["data"]))) == 1
