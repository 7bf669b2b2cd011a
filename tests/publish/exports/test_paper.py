"""Markdown and LaTeX have a row for each k, and stay tables whatever a run holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.paper import EXPORTERS, LATEX_FILE, MARKDOWN_FILE
from moe_eval_plugin.results.files import find_runs
from tests.report.paper.latex_check import check_latex
from tests.report.report_runs import write_sweep, wrong_every
from tests.results.sample_runs import (
    MODEL,
    MODEL_REVISION,
    easy_vqa,
    renamed,
    results,
    results_of_another_model,
    written,
)
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from moe_eval_plugin.results.run import Run

TO_MARKDOWN, TO_LATEX = EXPORTERS
HOSTILE = st.text(st.sampled_from("ab |\\`*_<>&=+-@\"',;:#[]()!~$\n\r\t%"))


def markdown(runs: list[Run]) -> tuple[list[list[str]], list[str]]:
    """Return the rows of the table, and the items of the lists, as a viewer shows them."""
    text = TO_MARKDOWN.export(runs, None).files[MARKDOWN_FILE]
    rows: list[list[str]] = []
    items: list[str] = []
    inside: list[str] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type.endswith(("_open", "_close")):
            inside = [*inside, token.type] if token.type.endswith("_open") else inside[:-1]
            rows += [[]] if token.type == "tr_open" else []
        elif token.type == "inline":
            children = token.children or []
            kinds = {child.type for child in children}
            assert kinds <= {"text", "strong_open", "strong_close", "softbreak"}, token.content
            plain = "".join(child.content for child in children)
            if "table_open" in inside:
                rows[-1].append(plain)
            elif "list_item_open" in inside:
                items.append(plain)
        else:
            pytest.fail(f"{token.type}: {token.content}")
    return rows, items


def test_a_sweep_has_a_row_for_each_k_with_the_verdict_and_its_margin(tmp_path: Path) -> None:
    wrong = {8: wrong_every(40), 4: wrong_every(40), 1: wrong_every(2)}
    seconds = {"k8": around(4), "k4": around(2), "k1": around(1)}
    runs = find_runs(write_sweep(tmp_path, wrong, seconds))

    rows, items = markdown(runs)

    assert [name.partition(" (")[0] for name in rows[0]] == [
        *("k", "Observed k", "Accuracy", "Change, points", "Verdict", "Speed-up", "Questions/s")
    ]
    assert [row[0] for row in rows[1:]] == ["8 (published)", "4", "1"]
    assert rows[2][3].startswith("0.00 (−")
    assert rows[2][4] == "within 1 point"
    assert rows[2][5].startswith("2.00 (2.00 to 2.0")
    assert rows[3][4] == "loses more than 1 point"
    assert any(item.startswith("Timed pass, batch size 4: ") for item in items)
    check_latex(TO_LATEX.export(runs, None).files[LATEX_FILE])


def test_one_run_of_several_tasks_and_models(tmp_path: Path) -> None:
    runs = written(tmp_path, easy_vqa(4), results(k=2), results_of_another_model())

    rows, items = markdown(runs)

    assert rows[0][:3] == ["Model", "Task", "k"]
    named = {(row[1], row[2]) for row in rows[1:]}
    assert {("easy_vqa", "4"), ("okvqa", "2"), ("okvqa", "unmodified")} <= named
    assert f"Model: {MODEL}" in items
    assert f"Model revision: {MODEL_REVISION}" in items
    assert any("run the published k (k=8)" in item for item in items)


def test_a_task_without_a_main_score_has_all_its_scores(tmp_path: Path) -> None:
    content = results_of_another_model()
    content["results"]["okvqa"] = {"one,none": 0.5, "other,none": 0.25}
    content["higher_is_better"]["okvqa"] = {"one": True, "other": True}

    rows, _ = markdown(written(tmp_path, content))

    assert sorted(row[0] for row in rows[1:]) == ["okvqa, one", "okvqa, other"]


def test_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    for exporter in EXPORTERS:
        runs = written(tmp_path, renamed(results(), "/home/someone/final"))
        (text,) = exporter.export(runs, None).files.values()
        assert "final" in text
        assert "someone" not in text
        assert str(tmp_path) not in text


@settings(deadline=None, max_examples=20)
@example("''")
@example('"a"')
@given(HOSTILE)
def test_whatever_text_a_run_holds_is_text(text: str) -> None:
    content: Any = results()
    content["moe_eval"]["okvqa"]["provenance"]["revision"] = text
    with tempfile.TemporaryDirectory() as folder:
        runs = written(Path(folder), content)
        rows, items = markdown(runs)
        check_latex(TO_LATEX.export(runs, None).files[LATEX_FILE])

    assert len(rows) == 2
    if text.split():
        assert "Model revision: " + " ".join(text.split()) in items


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_a_task_that_is_not_there_is_refused(tmp_path: Path, exporter: Any) -> None:
    with pytest.raises(DataError, match="no task 'mmmu'"):
        exporter.export(written(tmp_path, results()), "mmmu")
