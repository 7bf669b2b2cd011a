"""Compare sensitivities by passes that begin in the middle with those by whole passes.

Run ``python benchmarks/suffix_passes.py``: a model of 12 decoder layers with random weights, and
prompts of random tokens, each with an answer. In each round the loss of each k in each layer is
measured both ways, one after the other, in turn which comes first; everything is timed, the check
of the passes and the observation of each k too. It exits with 1 unless all losses are equal, and
whole passes take at least ``--at-least`` times as long. Where other programs use the machine,
``--by cpu`` judges by the processor time of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.testing import fill_with_noise
from moe_eval_plugin.tuning.calibration import CalibrationPrompts
from moe_eval_plugin.tuning.cells import cells_of
from moe_eval_plugin.tuning.passes.measure import cell_candidates
from moe_eval_plugin.tuning.passes.measuring import Measuring
from moe_eval_plugin.tuning.passes.shared import SharedPasses
from moe_eval_plugin.tuning.prompts.batches import prompt_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

VOCABULARY = 4096
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "moe_intermediate_size": 128,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "num_experts": 32,
    "num_experts_per_tok": 8,
}
SHORT: dict[str, Any] = {"layers": 4, "prompts": 4, "tokens": 16, "rounds": 1, "ks": [2, 4]}
WHOLE, SUFFIX = "whole passes", "suffix passes"


@dataclass(frozen=True)
class Model:
    """A ``CalibrationModel`` with random weights."""

    module: nn.Module
    at_k: ModelAtK
    config: ModelConfig


def build(n_layers: int, device: str) -> Model:
    """Build the model."""
    settings = AutoConfig.for_model("qwen3_moe", num_hidden_layers=n_layers, **SIZES)
    module = AutoModelForCausalLM.from_config(settings)
    fill_with_noise(module)
    config = ModelConfig("random weights", None, False, settings, describe(settings))  # noqa: FBT003
    module.eval().to(device)
    return Model(module, ModelAtK(module, config.request(None), config.pretrained), config)


def draw_prompts(model: Model, options: argparse.Namespace) -> CalibrationPrompts:
    """Draw prompts of random tokens, and an answer to each."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for begin in range(0, options.prompts, options.batch_size):
        shape = (min(options.batch_size, options.prompts - begin), options.tokens)
        ids = torch.randint(2, VOCABULARY, shape, generator=generator)
        answers = ids[:, : options.answer_tokens].tolist()
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        batches.append(prompt_batch(model.module, inputs, answers))
    return CalibrationPrompts(batches, ())


def measure(
    model: Model, prompts: CalibrationPrompts, ks: Sequence[int], *, whole: bool
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Measure all sensitivities; return the seconds, and the losses of each k in each layer.

    The seconds are those that passed (``wall``), and those of the processor (``cpu``).
    """
    cells = cells_of(model.config.moe_layers, "layer")
    chosen = list(cell_candidates(model.config, cells, ks).values())
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "losses.jsonl"
        begin, before = time.perf_counter(), time.process_time()
        shared = SharedPasses(model, prompts, whole=whole)
        measuring = Measuring(
            model, prompts, chosen, journal, NoProgress(), observes=False, shared=shared
        )
        found = measuring.run()
        seconds = {"wall": time.perf_counter() - begin, "cpu": time.process_time() - before}
    return seconds, {
        name: [loss for batch in batches for loss in batch.losses]
        for name, batches in found.items()
    }


def largest_difference(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """Return the largest difference of two losses of the same prompt."""
    pairs = ((a, b) for name in one for a, b in zip(one[name], other[name], strict=True))
    return max(abs(a - b) for a, b in pairs)


def seconds_to_set(model: Model) -> float:
    """Return the seconds that it takes to set another k in one layer."""
    first = model.config.moe_layers[0]
    times = []
    for k in (2, 4, 2, 4, 2):
        request = model.config.request(f"8/{first}:{k}")
        begin = time.perf_counter()
        model.at_k.set(request)
        times.append(time.perf_counter() - begin)
    model.at_k.close()
    return statistics.median(times)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--layers", type=int, default=12, help="decoder layers; default: %(default)s")
    add("--prompts", type=int, default=32, help="default: %(default)s")
    add("--batch-size", type=int, default=8, help="default: %(default)s")
    add("--tokens", type=int, default=64, help="of each prompt; default: %(default)s")
    add("--answer-tokens", type=int, default=3, help="of each answer; default: %(default)s")
    add("--ks", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7], metavar="K")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    add("--threads", type=int, default=1, help="of PyTorch; default: %(default)s")
    add("--device", default="cpu", help="cpu, cuda, ...; default: %(default)s")
    add("--at-least", type=float, default=1.6, metavar="RATIO", help="default: %(default)s")
    add("--by", choices=("wall", "cpu"), default="wall", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write all figures to a file")
    add("--short", action="store_true", help="a small model, one round: for CI, no measurement")
    options = parser.parse_args(arguments)
    if options.short:
        vars(options).update(SHORT, at_least=0.0)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in all rounds; print the figures, and write them if asked to."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    model = build(options.layers, options.device)
    prompts = draw_prompts(model, options)
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
        "versions": installed_versions(),
        **{name: value for name, value in vars(options).items() if name != "json"},
        "seconds_to_set_k": seconds_to_set(model),
        "rounds": [],
    }
    for number in range(options.rounds):
        times, losses = {}, {}
        for how in (WHOLE, SUFFIX) if number % 2 == 0 else (SUFFIX, WHOLE):
            times[how], losses[how] = measure(model, prompts, options.ks, whole=how == WHOLE)
        one = {
            "seconds": times,
            "ratio": {by: times[WHOLE][by] / times[SUFFIX][by] for by in ("wall", "cpu")},
            "largest_difference": largest_difference(losses[WHOLE], losses[SUFFIX]),
        }
        figures["rounds"].append(one)
        print(
            f"round {number + 1}: "
            + "; ".join(
                f"{WHOLE} {times[WHOLE][by]:.1f} s, {SUFFIX} {times[SUFFIX][by]:.1f} s, "
                f"ratio {ratio:.2f} ({by})"
                for by, ratio in one["ratio"].items()
            )
            + f"; losses differ by {one['largest_difference']:.2g} at most",
            flush=True,
        )
    _end(options, figures)


def _end(options: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print what all rounds have in common, and exit with 1 if it is not what is wanted."""
    ratios = [one["ratio"][options.by] for one in figures["rounds"]]
    ratio, n_losses = statistics.median(ratios), options.layers * len(options.ks)
    versions = ", ".join(
        f"{name} {figures['versions'][name]}" for name in ("torch", "transformers")
    )
    print(
        f"{n_losses} losses on {options.prompts} prompts of a model of {options.layers} layers: "
        f"whole passes take {ratio:.2f} times as long [{min(ratios):.2f}, {max(ratios):.2f}] "
        f"({options.by}); at least {options.at_least} is wanted.\nTo set a k takes "
        f"{1000 * figures['seconds_to_set_k']:.1f} ms.\n{figures['machine']}, "
        f"{options.threads} thread(s), {options.device}; {versions}; {figures['date']}"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if any(one["largest_difference"] > 0 for one in figures["rounds"]) and options.device == "cpu":
        sys.exit("The losses of suffix passes are not those of whole passes.")
    if ratio < options.at_least:
        sys.exit(1)


if __name__ == "__main__":
    main()
