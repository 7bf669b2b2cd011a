"""The forms of the Hugging Face Hub: valid, read back by its own library, and never made up."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.hub import EXPORTERS, FOLDER, MODEL_INDEX
from tests.publish.exports.schemas import EVAL_RESULTS
from tests.publish.exports.schemas import MODEL_INDEX as INDEX_SCHEMA
from tests.results.sample_runs import (
    ACCURACY,
    DATA_REVISION,
    ISO_DATE,
    MODEL,
    MODEL_REVISION,
    SPEED,
    VERSIONS,
    easy_vqa,
    of_lm_eval,
    renamed,
    results,
    results_of_another_model,
    text_task,
    with_official_files,
    written,
)

TO_EVAL_RESULTS, TO_MODEL_INDEX = EXPORTERS
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def entries_of(folder: Path, *contents: dict[str, Any]) -> dict[str, Any]:
    """Export runs, check each file, and read its entry with the library of the Hub."""
    entries = {}
    for path, text in TO_EVAL_RESULTS.export(written(folder, *contents), None).files.items():
        content = yaml.safe_load(text)
        jsonschema.validate(content, EVAL_RESULTS)
        (entries[path],) = parse_eval_result_entries(content)
    return entries


def metrics_of(folder: Path, *contents: dict[str, Any]) -> list[Any]:
    """Export runs, check the file, and read its results as those of a model card."""
    text = TO_MODEL_INDEX.export(written(folder, *contents), None).files[MODEL_INDEX]
    jsonschema.validate(yaml.safe_load(text), INDEX_SCHEMA)
    found: list[Any] = ModelCard(f"---\n{text}---\n# A model\n").data.eval_results
    return found


def notes_of(exporter: Any, folder: Path, *contents: dict[str, Any]) -> str:
    return "\n".join(exporter.export(written(folder, *contents), None).notes)


def test_an_entry_names_the_benchmark_and_the_score_as_it_was_stored(tmp_path: Path) -> None:
    entries = entries_of(tmp_path, results(k=4))
    assert list(entries) == [f"{FOLDER}/okvqa_k4.yaml"]
    entry = entries[f"{FOLDER}/okvqa_k4.yaml"]
    assert (entry.dataset_id, entry.task_id) == ("lmms-lab/OK-VQA", "okvqa_k4")
    assert (entry.value, entry.dataset_revision) == (ACCURACY, DATA_REVISION)
    assert entry.date == ISO_DATE


def test_each_setting_of_a_model_is_a_task_of_its_own(tmp_path: Path) -> None:
    two_seeds = [results(k=4), results(k=4)]
    entries = entries_of(tmp_path, results(k=None), results(k=8), *two_seeds)
    assert [entry.task_id for entry in entries.values()] == [
        *("okvqa", "okvqa_k8", "okvqa_k4", "okvqa_k4_2")
    ]


def test_the_note_of_an_entry_has_k_scoring_revisions_backend_and_versions(tmp_path: Path) -> None:
    (entry,) = entries_of(tmp_path, results(k=4)).values()
    assert entry.notes.split("; ") == [
        "metric=vqa_accuracy",
        "stderr=0.0061",
        "n=5046",
        "n_questions=5046",
        "scoring=lmms-vqav2",
        "answer_set=stemmed",
        "experts_k=4",
        "num_experts_per_tok=4",
        "observed_num_experts_per_tok=4",
        "baseline_num_experts_per_tok=8",
        "experts_policy=uniform",
        "renorm=native",
        f"model_revision={MODEL_REVISION}",
        "data_origin=hub: lmms-lab/OK-VQA",
        f"data_revision={DATA_REVISION}",
        "samples_per_s=17.6126",
        "speed_from=timed once, while the task was answered",
        "backend=moe_hf",
        "versions=moe-eval-plugin 0.1.0, lmms-eval 0.7.3, transformers 5.23.0",
    ]


def test_a_model_that_is_not_ours_has_no_k_in_either_form(tmp_path: Path) -> None:
    (entry,) = entries_of(tmp_path, results_of_another_model()).values()
    assert "experts" not in entry.notes
    assert "backend=qwen3_vl" in entry.notes
    for metric in metrics_of(tmp_path, results_of_another_model()):
        assert not {name for name in metric.metric_args if "experts" in name}
        assert metric.metric_args["backend"] == "qwen3_vl"


def test_each_setting_is_a_file_and_runs_of_one_setting_are_numbered(tmp_path: Path) -> None:
    by_layer = results(k=2)
    by_layer["moe_eval"]["okvqa"]["experts"] |= {"experts_k": "8/1-2:4", "renorm": "unit"}
    twice = (results(k=4), results(k=4))
    entries = entries_of(tmp_path, results(k=None), *twice, by_layer)
    assert list(entries) == [
        f"{FOLDER}/okvqa.yaml",
        f"{FOLDER}/okvqa_k4.yaml",
        f"{FOLDER}/okvqa_k4_2.yaml",
        f"{FOLDER}/okvqa_k8_1-2_4_unit.yaml",
    ]


def test_only_the_main_score_of_a_task_becomes_an_entry(tmp_path: Path) -> None:
    values = [entry.value for entry in entries_of(tmp_path, results(), easy_vqa()).values()]
    assert values == [ACCURACY]


def test_official_files_have_no_revision_and_their_hashes_stand_in_the_note(
    tmp_path: Path,
) -> None:
    (entry,) = entries_of(tmp_path, with_official_files(results())).values()
    assert entry.dataset_revision is None
    assert "data_origin=official files; data_sha256=questions.json abab" in entry.notes
    assert "n=26; n_questions=5046" in entry.notes


def test_a_part_of_a_data_set_is_told(tmp_path: Path) -> None:
    notes = notes_of(TO_EVAL_RESULTS, tmp_path, with_official_files(results()))
    assert "okvqa, k=4: 26 of 5046 questions" in notes
    assert "questions; the note" not in notes_of(TO_EVAL_RESULTS, tmp_path, results())


def test_a_task_whose_data_are_on_no_hub_is_left_out_with_the_reason(tmp_path: Path) -> None:
    reason = "easy_vqa is left out: its data set has no repository on the Hub."
    assert reason in notes_of(TO_EVAL_RESULTS, tmp_path, results(), easy_vqa())
    with pytest.raises(DataError, match=rf"Nothing can be exported to \.eval_results\. {reason}"):
        TO_EVAL_RESULTS.export(written(tmp_path, easy_vqa()), None)


def test_a_task_without_public_answers_is_left_out_with_the_reason(tmp_path: Path) -> None:
    content = results("vqa_v2_test")
    content["configs"]["vqa_v2_test"]["score_key"] = "score"
    content["results"]["vqa_v2_test"] = {"n_answered,none": 447_793, "samples_per_s,none": SPEED}
    with pytest.raises(DataError, match="vqa_v2_test is left out: it has no main score"):
        TO_EVAL_RESULTS.export(written(tmp_path, content), None)


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
@pytest.mark.parametrize(
    ("one", "other"), [("Qwen/Another", MODEL), ("/a/checkpoint", "/b/checkpoint")]
)
def test_runs_of_two_models_are_refused(
    tmp_path: Path, exporter: Any, one: str, other: str
) -> None:
    runs = written(tmp_path, renamed(results(), other), renamed(results(), one))
    with pytest.raises(DataError, match=f"2 models: {one}, {other}"):
        exporter.export(runs, None)


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_a_model_without_a_repository_is_exported_with_a_note(
    tmp_path: Path, exporter: Any
) -> None:
    content = renamed(results(), "/home/someone/final")
    exported = exporter.export(written(tmp_path, content), None)
    assert any(note.startswith("final has no repository on the Hub") for note in exported.notes)
    assert "someone" not in str(exported)
    assert "no repository" not in notes_of(exporter, tmp_path, results())


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_a_task_that_is_not_there_is_refused(tmp_path: Path, exporter: Any) -> None:
    with pytest.raises(DataError, match="no task 'mmmu'"):
        exporter.export(written(tmp_path, results()), "mmmu")


def test_a_text_task_of_lm_eval_is_a_task_of_text_in_a_model_card(tmp_path: Path) -> None:
    (run,) = map(of_lm_eval, written(tmp_path, text_task()))
    for backend, kind in (
        ("moe_hf", "text-generation"),
        ("hf", "text-generation"),
        ("moe_vllm-vlm", "image-text-to-text"),
    ):
        files = TO_MODEL_INDEX.export([replace(run, backend=backend)], None).files
        (card,) = yaml.safe_load(files[MODEL_INDEX])["model-index"]
        (result,) = card["results"]
        assert result["task"]["type"] == kind
        assert result["dataset"]["type"] == "allenai/ai2_arc"


def test_a_model_card_has_every_score_with_k_among_its_arguments(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, results(k=4))
    values = {metric.metric_type: metric.metric_value for metric in metrics}
    assert values == {
        "vqa_accuracy": ACCURACY,
        "vqa_accuracy_official": 0.59,
        "samples_per_s": SPEED,
    }
    first = metrics[0]
    assert first.metric_name == "vqa_accuracy (k=4)"
    assert first.task_type == "visual-question-answering"
    assert (first.dataset_type, first.dataset_name) == ("lmms-lab/OK-VQA", "okvqa")
    assert (first.dataset_split, first.dataset_revision) == ("val2014", DATA_REVISION)
    arguments = {
        "experts_k": "4",
        "num_experts_per_tok": 4,
        "observed_num_experts_per_tok": 4,
        "baseline_num_experts_per_tok": 8,
        "scoring": "lmms-vqav2",
        "model_revision": MODEL_REVISION,
        "data_revision": DATA_REVISION,
        "backend": "moe_hf",
        "versions": VERSIONS,
        "n": 5046,
        "stderr": 0.0061,
        "date": ISO_DATE,
    }
    assert arguments.items() <= first.metric_args.items()


def test_a_model_card_keeps_runs_of_one_data_set_apart(tmp_path: Path) -> None:
    partial = with_official_files(results(k=2))
    metrics = metrics_of(tmp_path, results(k=8), results(k=4), partial)
    told = [
        (one.metric_args["num_experts_per_tok"], one.metric_args["n"])
        for one in metrics
        if one.metric_type == "vqa_accuracy"
    ]
    assert told == [(8, 5046), (4, 5046), (2, 26)]


def test_a_task_of_the_host_is_not_taken_for_visual_question_answering(tmp_path: Path) -> None:
    content = results_of_another_model("mmmu_val")
    content["configs"]["mmmu_val"] |= {"dataset_path": "lmms-lab/MMMU", "metadata": {}}
    assert {metric.task_type for metric in metrics_of(tmp_path, content)} == {"image-text-to-text"}


def test_a_data_set_that_is_on_no_hub_is_named_by_its_task(tmp_path: Path) -> None:
    assert {metric.dataset_type for metric in metrics_of(tmp_path, easy_vqa())} == {"easy_vqa"}


@settings(deadline=None, max_examples=30)
@given(prompt=TEXT, policy=TEXT.filter(bool), version=TEXT)
def test_whatever_text_a_run_holds_is_read_back(prompt: str, policy: str, version: str) -> None:
    content = results()
    record = content["moe_eval"]["okvqa"]
    record["provenance"] |= {"system_prompt": prompt, "versions": {"torch": version}}
    record["experts"]["experts_policy"] = policy
    with tempfile.TemporaryDirectory() as folder:
        (entry,) = entries_of(Path(folder), content).values()
        arguments = metrics_of(Path(folder), content)[0].metric_args
    assert f"experts_policy={policy}; renorm=native" in entry.notes
    assert arguments["experts_policy"] == policy
    assert arguments["settings"]["system_prompt"] == prompt
    assert arguments.get("versions", {}).get("torch", "") == version


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"dataset": {"id": "lmms-lab/OK-VQA"}, "value": 0.5}],
        [{"dataset": {"id": "OK-VQA", "task_id": "okvqa"}, "value": 0.5}],
        [{"dataset": {"id": "lmms-lab/OK-VQA", "task_id": "okvqa"}, "value": "0.5"}],
        [{"dataset": {"id": "lmms-lab/OK-VQA", "task_id": "okvqa"}, "value": 0.5, "note": "x"}],
    ],
)
def test_the_schema_refuses_entries_that_the_hub_refuses(content: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, EVAL_RESULTS)
