"""Results files of our model and of another one, in the form that lmms-eval writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.record import RunRecord, Score
from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run

DATE = "20261122_115616"
ISO_DATE = "2026-11-22T11:56:16+08:00"
UNIX_DATE = "1795319776.0"
MODEL = "Qwen/Qwen3-VL-30B-A3B-Instruct"
MODEL_REVISION = "9c4b90e1e4ba969fd3b5378b57d966d725f1b86c"
DATA_REVISION = "df1cba84f1e4bd4d6a4f4cbd2ac4ea3fa5ab1bf5"
VERSIONS = {"moe-eval-plugin": "0.1.0", "lmms-eval": "0.7.3", "transformers": "5.23.0"}
SCORING = {
    "vqa_accuracy": "lmms-vqav2",
    "vqa_accuracy_official": "official",
}
ACCURACY = 0.6123456789012345
SPEED = 5046 / 286.5


def results(task: str = "okvqa", k: int | None = 4) -> dict[str, Any]:
    """Make the content of a results file of our model, at k, or as published for ``None``."""
    experts = {
        "requested": k,
        "baseline": 8,
        "observed": 8 if k is None else k,
        "n_layers": 4,
        "n_text_tokens": 100,
        "n_image_tokens": 64,
        "experts_k": None if k is None else str(k),
        "experts_policy": "uniform",
        "renorm": "native",
    }
    content = results_of_another_model(task)
    content["config"]["model"] = "moe_hf"
    content["results"][task] |= {
        "baseline_num_experts_per_tok,none": 8,
        "num_experts_per_tok,none": k or 8,
        "observed_num_experts_per_tok,none": k or 8,
        "samples_per_s,none": SPEED,
    }
    content["higher_is_better"][task]["samples_per_s"] = True
    content["moe_eval"] = {
        task: {
            "schema_version": 1,
            "task": task,
            "experts": experts,
            "speed": {
                "n_samples": 5046,
                "n_input_tokens": 70_000,
                "n_output_tokens": 10_000,
                "wall_s": 286.5,
                "samples_per_s": SPEED,
            },
            "provenance": {
                "pretrained": MODEL,
                "revision": MODEL_REVISION,
                "model_class": "Qwen3VLMoeForConditionalGeneration",
                "batch_size": 8,
                "system_prompt": None,
                "versions": {**VERSIONS, "torch": None},
            },
        }
    }
    return content


def results_of_another_model(task: str = "okvqa") -> dict[str, Any]:
    """Make the content of a results file of a model that leaves no record."""
    return {
        "results": {
            task: {
                "alias": task,
                "vqa_accuracy,none": ACCURACY,
                "vqa_accuracy_stderr,none": 0.0061,
                "vqa_accuracy_stderr_clt,none": 0.0061,
                "vqa_accuracy_official,none": 0.59,
                "vqa_accuracy_official_stderr,none": "N/A",
            }
        },
        "configs": {
            task: {
                "task": task,
                "dataset_path": "lmms-lab/OK-VQA",
                "test_split": "val2014",
                "score_key": "vqa_accuracy",
                "metadata": {
                    "version": 1.0,
                    "scoring": SCORING,
                    "answer_set": "stemmed",
                    "origin": "hub: lmms-lab/OK-VQA",
                    "n_questions": 5046,
                    "revision": DATA_REVISION,
                },
            }
        },
        "higher_is_better": {task: {"vqa_accuracy": True, "vqa_accuracy_official": True}},
        "n-samples": {task: {"original": 5046, "effective": 5046}},
        "config": {
            "model": "qwen3_vl",
            "resolved_cli_args": {"timezone": "Asia/Singapore"},
        },
        "date": DATE,
        "model_name": MODEL,
    }


def with_official_files(content: dict[str, Any], task: str = "okvqa") -> dict[str, Any]:
    """Let the data of a run come from files on disk, of which only a part could be used."""
    metadata = content["configs"][task]["metadata"]
    del metadata["revision"]
    metadata |= {
        "origin": "official files",
        "n_questions": 26,
        "n_left_out": 5020,
        "sha256": {"questions.json": "ab" * 32, "annotations.json": "cd" * 32},
    }
    content["n-samples"][task] = {"original": 26, "effective": 26}
    return content


def easy_vqa(k: int | None = 4) -> dict[str, Any]:
    """Make the content of a results file of the task whose data are on no hub."""
    content = results("easy_vqa", k)
    config = content["configs"]["easy_vqa"]
    del config["dataset_path"]
    config["score_key"] = "exact_match"
    config["metadata"] = {"matching": "lower case", "origin": "package easy-vqa 1.0"}
    rows = content["results"]["easy_vqa"]
    for name in [name for name in rows if name.startswith("vqa_accuracy")]:
        del rows[name]
    rows |= {"exact_match,none": 0.9887, "exact_match_stderr,none": 0.0011}
    content["higher_is_better"]["easy_vqa"]["exact_match"] = True
    return content


def renamed(content: dict[str, Any], pretrained: str) -> dict[str, Any]:
    """Let a run be that of another model, which is none of the Hub's that has a commit."""
    content["model_name"] = pretrained
    for record in content.get("moe_eval", {}).values():
        record["provenance"] |= {"pretrained": pretrained, "revision": None}
    return content


def of_lm_eval(run: Run) -> Run:
    """Let a run be one of lm-eval, with what its own results files say of the host."""
    return replace(run, host="lm-eval", host_version="0.4.13")


def text_task(task: str = "arc_easy", k: int | None = 4) -> dict[str, Any]:
    """Make the content of a results file of a task of text, with scores of lm-eval."""
    scores = {"acc": 0.5, "acc_norm": 0.625, "word_perplexity": 12.5, "brier_score": 0.25}
    content = results(task, k)
    content["results"][task] = {f"{name},none": value for name, value in scores.items()}
    content["configs"][task] = {"task": task, "dataset_path": "allenai/ai2_arc"}
    content["higher_is_better"][task] = {name: name.startswith("acc") for name in scores}
    content["moe_eval"][task]["provenance"]["versions"] = {"lm-eval": "0.4.13"}
    return content


def written(folder: Path, *contents: dict[str, Any]) -> list[Run]:
    """Write results files, each into a folder of its own, and read them as runs."""
    runs = []
    for number, content in enumerate(contents):
        place = folder / f"run-{number}"
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / f"{DATE}_results.json", content)
        runs.append(read_run(place / f"{DATE}_results.json"))
    return runs


def measured_from_outside() -> dict[str, Any]:
    """Make the content of a results file of a model that is not ours, with our rows."""
    content = results_of_another_model()
    content["results"]["okvqa"] |= {"samples_per_s,none": 7.0, "seconds_per_correct_answer,none": 3}
    content["higher_is_better"]["okvqa"] |= {
        "samples_per_s": True,
        "seconds_per_correct_answer": False,
    }
    speed = TaskSpeed(5046, None, None, 720.0)
    outside = {"model_class": "Qwen3_VL", "timed": "from outside", "versions": {"torch": "2"}}
    score = Score("vqa_accuracy", ACCURACY)
    found = RunRecord("okvqa", None, speed, outside, score=score)
    content["moe_eval"] = {"okvqa": json.loads(json.dumps(found.to_dict()))}
    return content
