"""Runs as lmms-eval leaves them: a results file, and a samples file for each task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.vqa.vqa_files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DATE = "20261122_115616"
Sample = dict[str, Any]
# What models of lmms-eval return in place of an answer: of an API, an image model, a video model.
FAILURES = (
    "[LMMS_EVAL_REQUEST_FAILED after 3 retries] Error code: 429",
    " [LMMS_EVAL_REQUEST_FAILED after 1 retries] ",
    "[LMMS_EVAL_BUDGET_EXCEEDED]",
    "[SAFETY_BLOCKED:finish_reason=SAFETY]",
    "[GENERATION_FAILED] no output",
    "[ERROR] Empty prompt",
    "Video a.mp4\nb.mp4 can not load, check the source",
    "Video a.mp4 generate failed, check the source",
    "__padding_only__",
    "Traceback (most recent call last):\n  File",
)


def results(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Make the content of a results file, of a model that is not ours."""
    rows = {
        "alias": "a task",
        "vqa_accuracy,none": 0.5,
        "vqa_accuracy_stderr,none": 0.25,
        "vqa_accuracy_stderr_clt,none": 0.25,
        "samples_per_s,none": 7,
        "samples_per_s_stderr,none": "N/A",
    }
    counts = {task: {"original": len(of), "effective": len(of)} for task, of in samples.items()}
    configs = {
        task: {"task": task, "metadata": {"version": 1.0, "n_questions": len(of)}}
        for task, of in samples.items()
    }
    return {
        "results": dict.fromkeys(samples, rows),
        "configs": configs,
        "config": {"model": "qwen3_vl", "limit": None},
        "higher_is_better": {task: {"vqa_accuracy": True} for task in samples},
        "n-samples": counts,
        "model_name": "Qwen/Qwen3-VL-4B",
    }


def write_run(folder: Path, samples: Mapping[str, Sequence[Sample]]) -> Path:
    """Write the files of a run into a folder, and return the path of its results file."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, of in samples.items():
        lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in of]
        path = folder / f"{DATE}_samples_{task}.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
    path = folder / f"{DATE}_results.json"
    write_json(path, results(samples))
    return path


def tree(folder: Path) -> dict[str, str | None]:
    """Everything in a folder: the text of files, and ``None`` for folders."""
    return {
        str(path.relative_to(folder)): path.read_text("utf-8") if path.is_file() else None
        for path in folder.rglob("*")
    }
