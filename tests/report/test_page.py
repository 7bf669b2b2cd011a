"""The page is one file that needs nothing else, and what a model said stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from tests.report.report_runs import (
    ATTACK,
    prepare_beforehand,
    right,
    set_question_types,
    write_bench,
    write_other_run,
    write_run,
    wrong_every,
)
from tests.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.report.build import Options, Report, build  # noqa: E402
from moe_eval_plugin.report.files import check_output, write_report  # noqa: E402

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
        """Give the data of a script element."""
        places = [attrs.get("id") for tag, attrs in self.elements if tag == "script"]
        return json.loads(self.scripts[places.index(name)][1])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "k8", 8, right, rate=10)
    write_run(folder / "k4", 4, wrong_every(5, ATTACK), rate=15)
    write_other_run(folder / "other")
    bench = write_bench(folder / "bench.json")
    return build([folder], Options(title=ATTACK, benches=[bench]))


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.html)


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in LOADING or (name == "href" and tag != "a"):
                assert value is None or value.startswith("data:"), (tag, name)
            if name == "href":
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
    assert len(running) == 2
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in running
    ]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].split()) == {"'unsafe-eval'", *hashes}


def test_what_a_model_said_stays_text(page: Page) -> None:
    said = [answer for one in page.json("changed")["questions"] for _, answer, _ in one["a"]]

    assert ATTACK in said
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4
    assert not any("onerror" in attributes for _, attributes in page.elements)


def test_a_title_stays_text(page: Page) -> None:
    assert ATTACK in page.texts


def test_names_from_results_files_stay_text(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8, pretrained=ATTACK)
    edit_json(path, lambda content: content.update(git_hash=ATTACK))

    page = Page(build([tmp_path], Options()).html)

    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert ATTACK in page.texts


def test_question_types_stay_text(tmp_path: Path) -> None:
    for k in (8, 4):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(k))
        set_question_types(path, lambda number: ATTACK if number % 2 else "what")

    page = Page(build([tmp_path], Options()).html)

    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert ATTACK in page.texts


def test_the_page_says_what_its_speeds_are_of(tmp_path: Path, report: Report) -> None:
    for k in (8, 4):
        prepare_beforehand(write_run(tmp_path / f"k{k}", k))

    html = build([tmp_path], Options()).html

    assert "The speeds are those of the model alone" in html
    assert "preprocessing included" not in html
    assert "The speeds are those of the whole benchmark" in report.html


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


def test_every_point_is_in_the_table(report: Report) -> None:
    table = report.html.partition('<table class="sortable" id="all">')[2].partition("</table>")[0]

    assert re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', table) == ["k=8", "k=4", "as it is"]


def test_provenance_has_a_command_that_lmms_eval_understands(tmp_path: Path) -> None:
    path = write_run(tmp_path, 4)
    arguments = {"model": "moe_hf", "model_args": "pretrained=demo,experts_k=4", "limit": 40.0}
    edit_json(path, lambda content: content["config"].update(resolved_cli_args=arguments))

    html = build([tmp_path], Options()).html

    assert (
        "lmms-eval --model moe_hf --model_args pretrained=demo,experts_k=4 --tasks easy_vqa "
        "--limit 40 --log_samples --output_path repeated"
    ) in html


def test_a_sweep_tells_its_command_and_what_is_not_done(tmp_path: Path) -> None:
    path = write_run(tmp_path / "k8", 8)
    results = str(path.relative_to(tmp_path))
    points = {
        "k8": {"point": {}, "digest": "", "state": "done", "results": results},
        "k4": {"point": {}, "digest": "", "state": "failed"},
    }
    command = ["moe-eval", "sweep", "--model", "moe_hf"]
    manifest = {"schema_version": 1, "kind": "sweep", "command": command, "settings": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "points": points}))

    html = build([tmp_path], Options()).html

    assert "Command of the sweep: moe-eval sweep --model moe_hf" in html
    assert "Not done when this report was made: k4 (failed)." in html


def test_files_lie_beside_the_page(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"

    written = write_report(report, path)

    assert written[0] == path
    assert {file.name for file in (tmp_path / "new").iterdir()} == {path.name, "report_files"}
    assert path.read_text("utf-8") == report.html
    assert {file.suffix for file in written[1:]} == {".svg", ".png", ".csv", ".md"}
    for file in written[1:]:
        head = file.read_bytes()[:8]
        assert (head == b"\x89PNG\r\n\x1a\n") == (file.suffix == ".png")
        assert head.startswith(b"<svg") == (file.suffix == ".svg")


def test_a_report_that_cannot_be_written_leaves_nothing_behind(
    report: Report, tmp_path: Path
) -> None:
    (tmp_path / "report_files").write_text("a file where a folder is needed")

    with pytest.raises(DataError, match="--output"):
        write_report(report, tmp_path / "report.html")

    assert [file.name for file in tmp_path.iterdir()] == ["report_files"]


def test_only_a_report_is_overwritten(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    check_output(path)
    path.write_text("<title>Something else</title>")
    with pytest.raises(InvalidArgumentError, match="--force"):
        check_output(path)
    check_output(path, force=True)

    write_report(report, path)

    check_output(path)


def test_the_page_has_to_be_an_html_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"does not end in \.html"):
        check_output(tmp_path / "report.pdf")
