"""The page is one file that needs nothing else, and what a model said stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.report.build import Options, Report, build  # noqa: E402
from moe_eval_plugin.report.page.fill import SCRIPTS  # noqa: E402
from tests.report.report_runs import (  # noqa: E402
    ATTACK,
    prepare_beforehand,
    set_question_types,
    write_run,
    wrong_every,
)
from tests.vqa.vqa_files import edit_json  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


# The libraries of the charts, and the data of the charts, of the questions and of the copies.
N_SCRIPTS = len(SCRIPTS) + 4
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and the content of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == "script":
            self.scripts.append((attributes.get("type"), data))
        else:
            self.texts.append(data)

    def json(self, name: str) -> Any:
        """Return the data of a script element."""
        places = [attrs.get("id") for tag, attrs in self.elements if tag == "script"]
        return json.loads(self.scripts[places.index(name)][1])


def n_scripts(page: Page) -> int:
    """Return how many scripts a page has, those with data included."""
    return len([tag for tag, _ in page.elements if tag == "script"])


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.html)


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in LOADING or (name == "href" and tag != "a"):
                assert value is None or value.startswith("data:"), (tag, name)
            if name == "href" and tag == "a":
                assert value is not None
                assert value.startswith("#"), (tag, value)


def test_the_page_forbids_every_connection_and_every_script_but_its_own(page: Page) -> None:
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    running = [text for kind, text in page.scripts if kind is None]
    assert len(running) == 1 + len(SCRIPTS)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in running
    ]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].split()) == {"'unsafe-eval'", *hashes}


def test_what_a_model_said_stays_text(page: Page) -> None:
    assert ATTACK in page.json("changed")["texts"]
    assert n_scripts(page) == N_SCRIPTS
    assert not any("onerror" in attributes for _, attributes in page.elements)


def test_a_title_stays_text(page: Page) -> None:
    assert ATTACK in page.texts


def test_names_from_results_files_stay_text(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8, pretrained=ATTACK)
    edit_json(path, lambda content: content.update(git_hash=ATTACK))

    page = Page(build([tmp_path], Options()).html)

    assert n_scripts(page) == N_SCRIPTS
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert ATTACK in page.texts


def test_question_types_stay_text(tmp_path: Path) -> None:
    for k in (8, 4):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(k))
        set_question_types(path, lambda number: ATTACK if number % 2 else "what")

    page = Page(build([tmp_path], Options()).html)

    assert n_scripts(page) == N_SCRIPTS
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert ATTACK in page.texts


def test_the_page_says_what_its_speeds_are_of(tmp_path: Path, report: Report) -> None:
    for k in (8, 4):
        prepare_beforehand(write_run(tmp_path / f"k{k}", k))

    html = build([tmp_path], Options()).html

    assert "The speeds are those of the model alone" in html
    assert "preprocessing included" not in html
    assert "The speeds are those of an end-to-end run" in report.html


def test_each_chart_has_its_place(page: Page) -> None:
    places = [attributes.get("data-chart") for _, attributes in page.elements]

    names = [one["name"] for one in page.json("charts")["specs"]]
    assert len(names) == len(set(names)) >= 8
    assert [place for place in places if place is not None] == names


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]

    assert len(ids) == len(set(ids))
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


def test_every_setting_is_a_column_of_all_numbers(report: Report) -> None:
    heads = re.findall(r'<table class="numbers".*?</thead>', report.html, re.DOTALL)

    settings = [re.findall(r'<th scope="col">([^<]*)</th>', head) for head in heads]
    assert settings == [["k=8", "k=4"], ["unmodified"]]
