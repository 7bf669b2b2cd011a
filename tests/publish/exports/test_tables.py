"""CSV keeps every digit and runs no formula."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.tables import CSV_FILE, EXPORTERS
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
    results,
    results_of_another_model,
    written,
)

(TO_CSV,) = EXPORTERS
HOSTILE = st.text(st.sampled_from("ab |\\`*_<>&=+-@\"',;:#[]()!~$\n\r\t%"))


def csv_rows(folder: Path, *contents: dict[str, Any]) -> list[dict[str, str]]:
    text = TO_CSV.export(written(folder, *contents), None).files[CSV_FILE]
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


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


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_a_task_that_is_not_there_is_refused(tmp_path: Path, exporter: Any) -> None:
    with pytest.raises(DataError, match="no task 'mmmu'"):
        exporter.export(written(tmp_path, results()), "mmmu")
