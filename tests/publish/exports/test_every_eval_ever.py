"""Every Eval Ever 0.3.0: valid by its schema and its data store, with k and nothing made up."""

from __future__ import annotations

import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.every_eval_ever import EXPORTERS
from moe_eval_plugin.results.files import read_run
from tests.publish.exports.schemas import EVERY_EVAL_EVER, assert_data_store_takes
from tests.results.lm_eval_files import RESULTS_FILE
from tests.results.sample_runs import (
    ACCURACY,
    DATA_REVISION,
    MODEL,
    MODEL_REVISION,
    SPEED,
    UNIX_DATE,
    easy_vqa,
    of_lm_eval,
    renamed,
    results,
    results_of_another_model,
    text_task,
    with_official_files,
    written,
)

(EXPORTER,) = EXPORTERS
SCHEMA = jsonschema.Draft202012Validator(EVERY_EVAL_EVER)
K = (
    "experts_k",
    "num_experts_per_tok",
    "observed_num_experts_per_tok",
    "baseline_num_experts_per_tok",
)


def no_constants(name: str) -> None:
    message = f"{name} is not JSON"
    raise AssertionError(message)


def exported(folder: Path, *contents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Export runs, and check each file against the schema and the rules of the data store."""
    files = EXPORTER.export(written(folder, *contents), None).files
    read = {path: json.loads(text, parse_constant=no_constants) for path, text in files.items()}
    for path, content in read.items():
        SCHEMA.validate(content)
        assert_data_store_takes(path, content)
    return read


def the_file(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    (file,) = exported(folder, content).values()
    return file


def test_a_run_is_exported_with_k_model_data_scoring_and_versions(tmp_path: Path) -> None:
    file = the_file(tmp_path, results(k=4))
    assert file["evaluation_id"] == f"okvqa/{MODEL}/k=4/{UNIX_DATE}"
    assert file["evaluation_timestamp"] == UNIX_DATE
    assert file["eval_library"]["version"] == "0.7.3"
    assert file["eval_library"]["additional_details"]["moe-eval-plugin"] == "0.1.0"
    model = file["model_info"]
    assert (model["id"], model["developer"]) == (MODEL, "Qwen")
    assert model["inference_engine"] == {"name": "transformers", "version": "5.23.0"}
    assert model["additional_details"] == {
        "deployment_type": "self_deployed",
        "model_availability": "open_weights",
        "backend": "moe_hf",
        "revision": MODEL_REVISION,
    }
    result = file["evaluation_results"][0]
    assert result["score_details"]["score"] == ACCURACY
    assert result["score_details"]["uncertainty"] == {
        "standard_error": {"value": 0.0061},
        "num_samples": 5046,
    }
    assert result["metric_config"] == {
        "metric_id": "moe_eval.vqa_accuracy",
        "metric_name": "vqa_accuracy",
        "metric_kind": "accuracy",
        "metric_unit": "proportion",
        "metric_parameters": {"scoring": "lmms-vqav2"},
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0,
        "max_score": 1,
    }
    assert result["source_data"] == {
        "dataset_name": "okvqa",
        "source_type": "hf_dataset",
        "hf_repo": "lmms-lab/OK-VQA",
        "hf_split": "val2014",
        "samples_number": 5046,
        "additional_details": {
            "data_origin": "hub: lmms-lab/OK-VQA",
            "data_revision": DATA_REVISION,
            "answer_set": "stemmed",
            "n_questions": "5046",
        },
    }
    details = result["generation_config"]["additional_details"]
    assert [details[name] for name in K] == ["4", "4", "4", "8"]
    assert (details["experts_policy"], details["renorm"]) == ("uniform", "native")
    assert details["settings.batch_size"] == "8"


def test_a_run_of_lm_eval_has_the_names_of_the_data_store(tmp_path: Path) -> None:
    runs = [of_lm_eval(run) for run in written(tmp_path, text_task())]
    ((path, text),) = EXPORTER.export(runs, None).files.items()
    file = json.loads(text)
    SCHEMA.validate(file)
    assert_data_store_takes(path, file)
    assert file["source_metadata"]["source_name"] == "lm-evaluation-harness"
    library = file["eval_library"]
    assert (library["name"], library["version"]) == ("lm-evaluation-harness", "0.4.13")
    configs = [result["metric_config"] for result in file["evaluation_results"]]
    bounds = {one["metric_id"]: (one.get("min_score"), one.get("max_score")) for one in configs}
    assert bounds == {
        "accuracy": (0, 1),
        "normalized-accuracy": (0, 1),
        "lm-evaluation-harness.word_perplexity": (1, "Infinity"),
        "lm-evaluation-harness.brier_score": (None, None),
    }
    assert [one["lower_is_better"] for one in configs] == [False, False, True, True]
    assert configs[0]["metric_kind"] == "accuracy"


def test_a_score_after_a_filter_is_named_as_in_the_data_store(repository_root: Path) -> None:
    files = EXPORTER.export([read_run(repository_root / RESULTS_FILE)], "numbers").files
    ((path, text),) = files.items()
    file = json.loads(text)
    SCHEMA.validate(file)
    assert_data_store_takes(path, file)
    assert [
        (one["evaluation_name"], one["metric_config"]["metric_id"])
        for one in file["evaluation_results"]
    ] == [("numbers/strict-match", "exact-match"), ("numbers/flexible-extract", "exact-match")]
    assert file["evaluation_results"][1]["metric_config"]["metric_parameters"] == {
        "filter": "flexible-extract"
    }


def test_every_score_and_the_speed_are_results(tmp_path: Path) -> None:
    found = {
        result["metric_config"]["metric_name"]: result["score_details"]["score"]
        for result in the_file(tmp_path, results())["evaluation_results"]
    }
    assert found == {
        "vqa_accuracy": ACCURACY,
        "vqa_accuracy_official": 0.59,
        "samples_per_s": SPEED,
    }


def test_speed_has_its_unit_and_no_upper_bound(tmp_path: Path) -> None:
    speed = the_file(tmp_path, results())["evaluation_results"][-1]["metric_config"]
    assert (speed["metric_unit"], speed["metric_kind"]) == ("samples/s", "throughput")
    assert (speed["min_score"], speed["max_score"]) == (0, "Infinity")


def test_a_model_as_published_has_no_k_that_was_asked_for(tmp_path: Path) -> None:
    file = the_file(tmp_path, results(k=None))
    details = file["evaluation_results"][0]["generation_config"]["additional_details"]
    assert [details.get(name) for name in K] == [None, None, "8", "8"]
    assert "/as published/" in file["evaluation_id"]


def test_a_model_that_is_not_ours_has_no_k_and_no_engine(tmp_path: Path) -> None:
    file = the_file(tmp_path, results_of_another_model())
    assert "generation_config" not in file["evaluation_results"][0]
    assert "inference_engine" not in file["model_info"]
    assert "num_experts_per_tok" not in json.dumps(file)
    assert file["eval_library"]["version"] == "unknown"
    assert file["model_info"]["additional_details"]["deployment_type"] == "unknown"


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("openai", "gpt-4o"),
        ("async_openai", "openai/gpt-4o"),
        ("litellm", "anthropic/claude-sonnet"),
        ("claude", "claude-3-7-sonnet"),
        ("gemini", "google/gemini-2.5-pro"),
        ("qwen_vl_api", "qwen/qwen-vl-max"),
        ("a_plugin", "owner/model"),
    ],
)
def test_whether_the_weights_of_a_server_are_open_is_unknown(
    tmp_path: Path, backend: str, name: str
) -> None:
    for content in (renamed(results_of_another_model(), name), renamed(results(), name)):
        content["config"]["model"] = backend
        for record in content.get("moe_eval", {}).values():
            record["experts"] = None
        model = the_file(tmp_path, content)["model_info"]
        assert model["id"] == (name if "/" in name else f"unknown/{name}")
        assert ("developer" in model) is ("/" in name)
        details = model["additional_details"]
        assert (details["model_availability"], details["deployment_type"]) == ("unknown",) * 2


def test_a_model_in_vllm_has_its_engine(tmp_path: Path) -> None:
    content = results()
    content["config"]["model"] = "moe_vllm"
    content["moe_eval"]["okvqa"]["provenance"]["versions"]["vllm"] = "0.25.1"
    model = the_file(tmp_path, content)["model_info"]
    assert model["inference_engine"] == {"name": "vllm", "version": "0.25.1"}
    assert model["additional_details"]["model_availability"] == "open_weights"


def test_official_files_are_told_by_their_hashes_and_not_as_those_of_the_hub(
    tmp_path: Path,
) -> None:
    source = the_file(tmp_path, with_official_files(results()))["evaluation_results"][0]
    assert source["source_data"] == {
        "dataset_name": "okvqa",
        "source_type": "other",
        "additional_details": {
            "data_origin": "official files",
            "data_sha256.questions.json": "ab" * 32,
            "data_sha256.annotations.json": "cd" * 32,
            "answer_set": "stemmed",
            "n_questions": "5046",
        },
    }
    assert source["score_details"]["uncertainty"]["num_samples"] == 26


def test_what_a_run_cannot_know_is_unknown_and_a_note_says_so(tmp_path: Path) -> None:
    source = the_file(tmp_path, results())["source_metadata"]
    assert source["source_organization_name"] == "unknown"
    assert source["evaluator_relationship"] == "other"
    notes = EXPORTER.export(written(tmp_path, results()), None).notes
    assert any("source_organization_name and evaluator_relationship" in note for note in notes)


def test_each_task_of_each_run_is_a_file(tmp_path: Path) -> None:
    files = exported(tmp_path, results(k=8), results(k=4), easy_vqa(4))
    assert sorted(path.rpartition("/")[0] for path in files) == [
        f"data/easy_vqa/{MODEL}",
        f"data/okvqa/{MODEL}",
        f"data/okvqa/{MODEL}",
    ]
    ids = [content["evaluation_id"] for content in files.values()]
    assert len(set(ids)) == 3


def test_the_same_run_is_the_same_file_and_another_run_is_another(tmp_path: Path) -> None:
    first, again = (list(exported(tmp_path / name, results())) for name in ("a", "b"))
    assert first == again
    changed = results()
    changed["results"]["okvqa"]["vqa_accuracy,none"] = 0.5
    assert list(exported(tmp_path / "c", changed)) != first


def test_a_file_says_when_it_was_made(tmp_path: Path) -> None:
    before = time.time()
    made = float(the_file(tmp_path, results())["retrieved_timestamp"])
    assert before <= made <= time.time()


def test_a_score_of_unknown_direction_is_left_out_with_a_note(tmp_path: Path) -> None:
    content = results()
    del content["higher_is_better"]["okvqa"]["vqa_accuracy_official"]
    assert len(the_file(tmp_path, content)["evaluation_results"]) == 2
    notes = EXPORTER.export(written(tmp_path, content), None).notes
    assert any("vqa_accuracy_official is left out" in note for note in notes)


def test_runs_without_any_score_for_it_are_refused(tmp_path: Path) -> None:
    content = results()
    del content["higher_is_better"]
    with pytest.raises(DataError, match="Nothing can be exported to Every Eval Ever"):
        EXPORTER.export(written(tmp_path, content), None)


def test_a_lower_score_can_be_better(tmp_path: Path) -> None:
    content = results_of_another_model()
    content["results"]["okvqa"]["wer,none"] = 12.5
    content["higher_is_better"]["okvqa"]["wer"] = False
    metric = the_file(tmp_path, content)["evaluation_results"][-1]["metric_config"]
    assert metric == {
        "metric_id": "lmms_eval.wer",
        "metric_name": "wer",
        "lower_is_better": True,
    }


@pytest.mark.parametrize(
    ("pretrained", "model_id", "is_open"),
    [("demo", "moe-eval-plugin/demo", True), ("/home/someone/final", "local/final", False)],
)
def test_a_model_without_a_repository_gets_a_name_and_a_note(
    tmp_path: Path, pretrained: str, model_id: str, *, is_open: bool
) -> None:
    content = renamed(results(), pretrained)
    model = the_file(tmp_path, content)["model_info"]
    assert model["id"] == model_id
    assert (model["additional_details"]["model_availability"] == "open_weights") is is_open
    assert ("developer" in model) is is_open
    notes = EXPORTER.export(written(tmp_path, content), None).notes
    assert any(note.startswith(f"{model_id} is a placeholder for a model") for note in notes)
    assert "someone" not in json.dumps(model)


@pytest.mark.parametrize(
    ("folder_name", "model_id"),
    [
        ("a:b", "local/a_b"),
        ("my model. ", "local/my model"),
        ("...", "local/_"),
        ("con", "local/_con"),
        ("data", "local/_data"),
        ("COM1.bin", "local/_COM1.bin"),
        ("concept", "local/concept"),
    ],
)
def test_a_name_that_no_folder_may_have_is_changed(
    tmp_path: Path, folder_name: str, model_id: str
) -> None:
    content = renamed(results(), f"/models/{folder_name}")
    assert the_file(tmp_path, content)["model_info"]["id"] == model_id


@settings(deadline=None, max_examples=30)
@given(pretrained=st.text(st.characters(exclude_categories=["Cs"])), prompt=st.text())
def test_whatever_a_model_is_called_its_file_is_valid(pretrained: str, prompt: str) -> None:
    content = renamed(results(), pretrained)
    content["moe_eval"]["okvqa"]["provenance"]["system_prompt"] = prompt
    with tempfile.TemporaryDirectory() as folder:
        # Reading it checks it against the schema.
        assert the_file(Path(folder), content)["model_info"]["id"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), "0.2.2"),
        (("model_info", "additional_details", "deployment_type"), "local"),
        (("model_info", "additional_details", "revision"), None),
        (("evaluation_results", 0, "source_data", "source_type"), "hub"),
        (("evaluation_results", 0, "metric_config", "lower_is_better"), None),
        (("evaluation_results", 0, "metric_config", "max_score"), "inf"),
        (("evaluation_results", 0, "score_details", "score"), "0.5"),
        (("evaluation_results", 0, "generation_config", "additional_details", "k"), 4),
        (("source_metadata", "evaluator_relationship"), "self"),
        (("misspelt",), "x"),
    ],
)
def test_the_schema_refuses_what_the_published_one_refuses(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    file = copy.deepcopy(the_file(tmp_path, results()))
    *path, last = place
    inner: Any = file
    for step in path:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(file)


def test_the_validator_of_every_eval_ever_finds_nothing(tmp_path: Path) -> None:
    core = pytest.importorskip(
        "every_eval_ever.validator.validation_core", reason="it needs Python 3.12"
    )
    stranger = renamed(results(), "/models/my model.")
    runs = written(tmp_path, results(), easy_vqa(None), stranger, results_of_another_model())
    for name, text in EXPORTER.export(runs, None).files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        report = core.validate_file(path, repo_path=name, run_semantic_checks=True)
        assert (report.valid, report.errors, report.warnings) == (True, [], [])
