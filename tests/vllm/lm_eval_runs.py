"""Small models and tasks for lm-eval, and its evaluation in this process."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ADDING = {"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "answer"}
UNTIL = {"until": ["\n"], "max_gen_toks": 8}
GENERATION = {
    **ADDING,
    "output_type": "generate_until",
    "fewshot_split": "test",
    "num_fewshot": 2,
    "doc_to_target": "{{choices[0]}}",
    "metric_list": [{"metric": "exact_match"}],
}
TASKS: dict[str, dict[str, Any]] = {
    "choices": {
        **ADDING,
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "yes_no": {
        **ADDING,
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}} Is it {{choices[0]}}?\nAnswer:",
        "doc_to_choice": ["yes", "no"],
        "metric_list": [{"metric": "acc"}],
    },
    "greedy": {**GENERATION, "generation_kwargs": {**UNTIL, "do_sample": False}},
    "unsaid": {**GENERATION, "generation_kwargs": UNTIL},
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}} {{choices}}",
        "metric_list": [{"metric": "word_perplexity"}],
    },
}


def write_tasks(folder: Path, n: int = 12) -> Path:
    """Write all tasks, which share ``n`` questions about sums."""
    chance = random.Random(1)
    rows = []
    for _ in range(n):
        a, b = chance.randint(0, 9), chance.randint(0, 9)
        choices = [str(a + b), str(a + b + 1), f"about {a * b}"]
        rows.append({"question": f"What is {a} plus {b}?", "choices": choices, "answer": 0})
    data = folder / "sums.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    for name, task in TASKS.items():
        source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
        # JSON is YAML.
        text = json.dumps({"task": name, **source, "test_split": "test", **task})
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def write_olmoe(folder: Path, k: int) -> Path:
    """Write a random OLMoE of two layers with 8 experts, the same for every k of its tokens."""
    import torch
    from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM

    from moe_eval_plugin.models.demo import MODEL_PATH

    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    config = OlmoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=8,
        num_experts_per_tok=k,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    OlmoeForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def evaluate(model: Any, tasks: Path, names: list[str]) -> dict[str, Any]:
    """Run the host's own evaluation on a model that is loaded."""
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    found: dict[str, Any] = evaluator.simple_evaluate(
        model=model, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    return found


def responses(found: dict[str, Any], task: str) -> list[Any]:
    """List the responses of a task in the order of its questions."""
    samples = sorted(found["samples"][task], key=lambda one: one["doc_id"])
    return [one["filtered_resps"] for one in samples]
