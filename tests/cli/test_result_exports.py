"""Real runs of the embedded model, exported to every format by the command."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.cli.programs import lmms_eval, moe_eval
from tests.publish.exports.schemas import (
    EVAL_RESULTS,
    EVERY_EVAL_EVER,
    MODEL_INDEX,
    assert_data_store_takes,
)
from tests.vqa.vqa_files import IMAGE_IDS, write_official

if TYPE_CHECKING:
    from pathlib import Path

N_QUESTIONS = len(IMAGE_IDS)
K = ("num_experts_per_tok", "observed_num_experts_per_tok", "baseline_num_experts_per_tok")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, at k = 4 and as published, of a task from files and of another one."""
    folder = tmp_path_factory.mktemp("runs")
    write_official(folder / "data")
    for name, model_args in (("k4", "pretrained=demo,experts_k=4"), ("base", "pretrained=demo")):
        done = lmms_eval(
            *("--model", "moe_hf", "--model_args", model_args, "--batch_size", 8),
            *("--tasks", "easy_vqa,okvqa", "--limit", N_QUESTIONS),
            *("--output_path", folder / "out" / name),
            cwd=folder,
            MOE_EVAL_DATA=folder / "data",
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert list((folder / "out" / name).rglob("*_results.json")), done.stderr[-3000:]
    return folder / "out"


def exported(runs: Path, folder: Path, format_name: str) -> tuple[dict[str, str], str]:
    """Export runs by the command, and read what it wrote and what it said."""
    out = folder / "exported"
    done = moe_eval("export", "--format", format_name, runs, "--output", out)
    assert done.returncode == 0, done.stderr
    paths = [path for path in out.rglob("*") if path.is_file()]
    return {
        path.relative_to(out).as_posix(): path.read_text("utf-8") for path in paths
    }, done.stdout


def test_csv_has_every_score_of_both_runs(runs: Path, tmp_path: Path) -> None:
    files, _ = exported(runs, tmp_path, "csv")
    rows = list(csv.DictReader(files["results.csv"].splitlines()))
    found = [(row["task"], *(row[name] for name in K)) for row in rows]
    assert [row["task"] for row in rows] == sorted(row["task"] for row in rows)
    assert set(found) == {
        (task, *k) for task in ("easy_vqa", "okvqa") for k in (("", "8", "8"), ("4", "4", "8"))
    }
    assert {"exact_match", "vqa_accuracy", "samples_per_s"} <= {row["metric"] for row in rows}
    (score,) = [row for row in rows if row["metric"] == "vqa_accuracy" and row["experts_k"]]
    assert score["n"] == str(N_QUESTIONS)
    assert score["data_origin"] == "official files"
    assert len(json.loads(score["data_sha256"])) == 2
    assert json.loads(score["versions"])["lmms-eval"]


def test_markdown_shows_both_runs(runs: Path, tmp_path: Path) -> None:
    files, _ = exported(runs, tmp_path, "markdown")
    text = files["results.md"]
    assert "| 8 (published)" in text
    assert "| 4 " in text


def test_every_eval_ever_is_valid_for_each_task_of_each_run(runs: Path, tmp_path: Path) -> None:
    files, _ = exported(runs, tmp_path, "every-eval-ever")
    assert len(files) == 4
    for path, text in files.items():
        content: dict[str, Any] = json.loads(text)
        jsonschema.validate(content, EVERY_EVAL_EVER)
        assert_data_store_takes(path, content)
        for result in content["evaluation_results"]:
            details = result["generation_config"]["additional_details"]
            assert details["baseline_num_experts_per_tok"] == "8"
            assert details["observed_num_experts_per_tok"] == details.get("experts_k", "8")


def test_eval_results_are_valid_and_leave_out_what_is_on_no_hub(runs: Path, tmp_path: Path) -> None:
    files, said = exported(runs, tmp_path, "hf-eval-results")
    assert sorted(files) == [".eval_results/okvqa.yaml", ".eval_results/okvqa_k4.yaml"]
    for text in files.values():
        jsonschema.validate(yaml.safe_load(text), EVAL_RESULTS)
    assert "easy_vqa is left out" in said
    assert "demo has no repository on the Hub" in said


def test_a_model_index_is_valid_and_has_k_among_the_arguments(runs: Path, tmp_path: Path) -> None:
    files, _ = exported(runs, tmp_path, "model-index")
    content = yaml.safe_load(files["model-index.yaml"])
    jsonschema.validate(content, MODEL_INDEX)
    (model,) = content["model-index"]
    told = {
        tuple(metric["args"].get(name) for name in K)
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert told == {(4, 4, 8), (None, 8, 8)}
