"""Files of lm-eval: those that it wrote, see the README next to them, and others in their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATE = "2026-11-28T19-55-25.260351"
FOLDER = Path("tests/data/lm_eval/hf")
RESULTS_FILE = FOLDER / f"results_{DATE}.json"


def write_lm_eval_run(folder: Path, samples: Mapping[str, Sequence[dict[str, Any]]]) -> Path:
    """Write a run with samples as those of lmms-eval, in the form of lm-eval; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, of in samples.items():
        lines = "".join(json.dumps(_line(sample)) + "\n" for sample in of)
        (folder / f"samples_{task}_{DATE}.jsonl").write_text(lines, encoding="utf-8")
    metric = {"metric": "vqa_accuracy", "aggregation": "mean", "higher_is_better": True}
    content = {
        "results": {task: {"alias": task, "vqa_accuracy,none": 0.5} for task in samples},
        "configs": {task: {"task": task, "metric_list": [metric]} for task in samples},
        "config": {"model": "hf", "model_args": {"pretrained": "Qwen/Qwen3-VL-4B"}},
        "higher_is_better": {task: {"vqa_accuracy": True} for task in samples},
        "n-samples": {task: {"effective": len(of)} for task, of in samples.items()},
        "lm_eval_version": "0.4.13",
        "model_name": "Qwen/Qwen3-VL-4B",
    }
    path = folder / f"results_{DATE}.json"
    write_json(path, content)
    return path


def _line(sample: Mapping[str, Any]) -> dict[str, Any]:
    doc = {name: sample.get(name) for name in ("question_id", "image_id", "question")}
    return {
        "doc_id": sample["doc_id"],
        "doc": doc,
        "target": sample["target"],
        "arguments": {"gen_args_0": {"arg_0": sample["input"], "arg_1": {"until": []}}},
        "filtered_resps": [sample["filtered_resps"]],
        "filter": "none",
        "metrics": ["vqa_accuracy"],
        "vqa_accuracy": sample["vqa_accuracy"],
    }
