"""Small tasks of lm-eval, one for each kind of request, and their data."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

N_QUESTIONS = {"choices": 8, "words": 8, "sums": 6, "drawn": 6, "texts": 3}
# Continuations of several tokens; the same two words of one token; answers of the likeliest tokens,
# and sampled ones; perplexity.
TASKS = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "words": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}} Is it {{choices[0]}}?\nAnswer:",
        "doc_to_choice": ["a", "b"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
    },
    "sums": {
        "output_type": "generate_until",
        "fewshot_split": "test",
        "num_fewshot": 2,
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n", "="], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match"}],
    },
    "drawn": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "until": ["\n"],
            "max_gen_toks": 4,
            "do_sample": True,
            "temperature": 1.0,
        },
        "metric_list": [{"metric": "exact_match"}],
    },
    "texts": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    },
}


def write_tasks(folder: Path, tasks: Mapping[str, Mapping[str, Any]] = TASKS) -> Path:
    """Write definitions and data of tasks into a folder, for ``--include_path``."""
    for name, task in tasks.items():
        data = folder / f"{name}.jsonl"
        rows = list(_rows()[name if name in TASKS else "sums"])
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        definition = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            **task,
            "metadata": {"version": 1.0},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(definition), "utf-8")
    return folder


def evaluate(model: Any, tasks: list[str], folder: Path, **options: Any) -> dict[str, Any]:
    """Evaluate a model, or the model of this name, as lm-eval's command does.

    ``folder`` holds the tasks; ``options`` are those of ``simple_evaluate``.
    """
    given = {"batch_size": 1, "device": "cpu", "log_samples": True, "bootstrap_iters": 0}
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    # The host asks a dozen programs for the versions of what is installed, which takes seconds.
    with patch("lm_eval.evaluator.add_env_info"):
        results: dict[str, Any] = lm_eval.simple_evaluate(
            model=model, tasks=tasks, task_manager=manager, **{**given, **options}
        )
    return results


def responses(results: Mapping[str, Any], task: str) -> list[Any]:
    """Return everything that the model answered to each question of a task."""
    return [sample["resps"] for sample in results["samples"][task]]


@cache
def _rows() -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(1)  # noqa: S311  (no secrets)
    pairs = [(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(N_QUESTIONS["choices"])]
    choices = [
        {
            "question": f"What is {a} plus {b}?",
            "choices": [str(a + b), str(a + b + 1), f"about {a * b}"],
            "answer": 0,
        }
        for a, b in pairs
    ]
    sums = [
        {"question": f"{a}+{b}=", "answer": str(a + b)} for a, b in pairs[: N_QUESTIONS["sums"]]
    ]
    words = ["the", "cat", "sat", "on", "mat"]
    texts = [
        {"text": " ".join(draw.choice(words) for _ in range(20 + 60 * i))}
        for i in range(N_QUESTIONS["texts"])
    ]
    return {"choices": choices, "words": choices, "sums": sums, "drawn": sums, "texts": texts}
