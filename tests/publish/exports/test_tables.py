"""Tables: CSV keeps every digit and runs no formula, Markdown stays a table whatever it holds."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.tables import CSV_FILE, EXPORTERS, MARKDOWN_FILE
from moe_eval_plugin.results.score_facts import ScoreFacts
from moe_eval_plugin.text import FORMULA_STARTS
from tests.results.sample_runs import (
    ACCURACY,
    DATA_REVISION,
    ISO_DATE,
    MODEL,
    MODEL_REVISION,
    SPEED,
    VERSIONS,
    easy_vqa,
    renamed,
    results,
    results_of_another_model,
    with_official_files,
    written,
)

TO_CSV, TO_MARKDOWN = EXPORTERS
HOSTILE = st.text(st.sampled_from("ab |\\`*_<>&=+-@\"',;:#[]()!~$\n\r\t%"))


def csv_rows(folder: Path, *contents: dict[str, Any]) -> list[dict[str, str]]:
    text = TO_CSV.export(written(folder, *contents), None).files[CSV_FILE]
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def markdown(folder: Path, *contents: dict[str, Any]) -> str:
    return TO_MARKDOWN.export(written(folder, *contents), None).files[MARKDOWN_FILE]


def cells(text: str) -> list[list[list[str]]]:
    """Read tables as a viewer of Markdown would: tables, rows, and the plain text of cells."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline":
            children = token.children or []
            assert {child.type for child in children} <= {"text"}, token.content
            tables[-1][-1].append("".join(child.content for child in children))
    return tables


def test_csv_has_a_row_for_each_score_of_each_task_of_each_run(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, easy_vqa(4), results(k=4), results(k=8))
    assert [(row["task"], row["experts_k"], row["metric"]) for row in rows] == [
        ("easy_vqa", "4", "samples_per_s"),
        ("easy_vqa", "4", "exact_match"),
        ("okvqa", "8", "vqa_accuracy"),
        ("okvqa", "8", "vqa_accuracy_official"),
        ("okvqa", "8", "samples_per_s"),
        ("okvqa", "4", "vqa_accuracy"),
        ("okvqa", "4", "vqa_accuracy_official"),
        ("okvqa", "4", "samples_per_s"),
    ]
    assert len({row["run"] for row in rows}) == 3


def test_csv_has_a_column_for_each_fact_and_keeps_every_digit(tmp_path: Path) -> None:
    row = csv_rows(tmp_path, results(k=4))[0]
    assert list(row) == [*(field.name for field in fields(ScoreFacts)), "n_failed"]
    assert float(row["value"]) == ACCURACY
    assert float(row["samples_per_s"]) == SPEED
    told = {
        "num_experts_per_tok": "4",
        "observed_num_experts_per_tok": "4",
        "baseline_num_experts_per_tok": "8",
        "scoring": "lmms-vqav2",
        "pretrained": MODEL,
        "model_revision": MODEL_REVISION,
        "data_revision": DATA_REVISION,
        "backend": "moe_hf",
        "date": ISO_DATE,
    }
    assert told.items() <= row.items()
    assert json.loads(row["versions"]) == VERSIONS


def test_what_is_not_known_is_an_empty_cell_in_csv(tmp_path: Path) -> None:
    row = csv_rows(tmp_path, results_of_another_model())[0]
    empty = {name for name, cell in row.items() if cell == ""}
    assert {
        "num_experts_per_tok",
        "observed_num_experts_per_tok",
        "baseline_num_experts_per_tok",
        "model_revision",
        "versions",
        "samples_per_s",
    } <= empty
    assert row["n"] == "5046"


@pytest.mark.parametrize("begin", FORMULA_STARTS)
def test_no_cell_of_csv_is_a_formula(tmp_path: Path, begin: str) -> None:
    content = results()
    content["moe_eval"]["okvqa"]["provenance"]["pretrained"] = f"{begin}1+1"
    row = csv_rows(tmp_path, content)[0]
    assert row["pretrained"] == f"'{begin}1+1"


def test_a_negative_score_is_no_formula(tmp_path: Path) -> None:
    content = results()
    content["results"]["okvqa"]["vqa_accuracy,none"] = -0.25
    assert csv_rows(tmp_path, content)[0]["value"] == "-0.25"


@settings(deadline=None, max_examples=30)
@given(HOSTILE)
def test_whatever_text_a_run_holds_stays_in_its_cell_of_csv(text: str) -> None:
    content = results()
    content["moe_eval"]["okvqa"]["provenance"] |= {"system_prompt": text, "pretrained": text or "x"}
    with tempfile.TemporaryDirectory() as folder:
        rows = csv_rows(Path(folder), content)
    assert len(rows) == 3
    assert json.loads(rows[0]["settings"])["system_prompt"] == text
    assert rows[0]["pretrained"].removeprefix("'") == (text or "x").removeprefix("'")
    assert rows[0]["task"] == "okvqa"


def test_markdown_rounds_and_tells_k_and_how_the_numbers_came_about(tmp_path: Path) -> None:
    scores, origins = cells(markdown(tmp_path, results(k=4)))
    assert scores[0] == [
        *("run", "task", "setting", "k", "observed k", "baseline k"),
        *("metric", "value", "stderr", "n", "scoring"),
    ]
    assert {tuple(row[:6]) for row in scores[1:]} == {("1", "okvqa", "k=4", "4", "4", "8")}
    assert [row[6:] for row in scores[1:]] == [
        ["vqa_accuracy", "0.6123", "0.0061", "5046", "lmms-vqav2"],
        ["vqa_accuracy_official", "0.5900", "", "5046", "official"],
        ["samples_per_s", "17.6126", "", "5046", ""],
    ]
    (row,) = [dict(zip(origins[0], row, strict=True)) for row in origins[1:]]
    assert row == {
        "run": "1",
        "task": "okvqa",
        "model": MODEL,
        "model revision": MODEL_REVISION,
        "backend": "moe_hf",
        "data": "hub: lmms-lab/OK-VQA",
        "data revision": DATA_REVISION,
        "answers": "stemmed",
        "questions": "5046",
        "speed": "17.61 questions/s (timed once, while the task was answered)",
        "answers from a cache": "",
        "date": ISO_DATE,
        "settings": "model_class Qwen3VLMoeForConditionalGeneration, batch_size 8",
        "versions": "moe-eval-plugin 0.1.0, lmms-eval 0.7.3, transformers 5.23.0",
        "failed requests": "",
    }


def test_each_row_of_scores_has_the_number_of_its_run_below(tmp_path: Path) -> None:
    text = markdown(tmp_path, easy_vqa(4), results(k=2), results(k=8), results_of_another_model())
    scores, origins = cells(text)
    assert [row[:4] for row in scores[1:] if row[6] in ("vqa_accuracy", "exact_match")] == [
        ["1", "easy_vqa", "k=4", "4"],
        ["2", "okvqa", "k=8", "8"],
        ["3", "okvqa", "k=2", "2"],
        ["4", "okvqa", "", ""],
    ]
    assert [row[:2] for row in origins[1:]] == [
        ["1", "easy_vqa"],
        ["2", "okvqa"],
        ["3", "okvqa"],
        ["4", "okvqa"],
    ]
    assert [row[4] for row in origins[1:]] == ["moe_hf", "moe_hf", "moe_hf", "qwen3_vl"]


def test_official_files_show_their_hashes_where_a_revision_would_stand(tmp_path: Path) -> None:
    _, (header, row) = cells(markdown(tmp_path, with_official_files(results())))
    hashes = dict(zip(header, row, strict=True))["data revision"]
    assert hashes == f"questions.json {'ab' * 32}, annotations.json {'cd' * 32}"


def test_markdown_names_no_folders_of_this_machine(tmp_path: Path) -> None:
    text = markdown(tmp_path, renamed(results(), "/home/someone/final"))
    assert "| final |" in text
    assert "someone" not in text
    assert str(tmp_path) not in text


@settings(deadline=None, max_examples=30)
@example("''")
@example('"a"')
@given(HOSTILE)
def test_whatever_text_a_run_holds_stays_in_its_cell_of_markdown(text: str) -> None:
    content = results()
    content["moe_eval"]["okvqa"]["provenance"]["revision"] = text
    with tempfile.TemporaryDirectory() as folder:
        scores, (header, row) = cells(markdown(Path(folder), content))
    assert len(scores) == 4
    told = dict(zip(header, row, strict=True))
    assert told["model revision"].split() == text.split()
    assert told["backend"] == "moe_hf"


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_a_task_that_is_not_there_is_refused(tmp_path: Path, exporter: Any) -> None:
    with pytest.raises(DataError, match="no task 'mmmu'"):
        exporter.export(written(tmp_path, results()), "mmmu")
