"""Measure what observing k costs in ``moe.experts_k``, in processor time of generation.

Run ``OMP_NUM_THREADS=1 python benchmarks/observing.py``. The embedded model generates 40 tokens
after a prompt of 200 tokens, in rounds. Each round generates with ``observe="none"``, ``"first"``
and ``"all"``, in an order that rotates. The table has the median of the rounds' ratios to
``"none"``, then the smallest and the largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForImageTextToText

import moe_eval_plugin as moe
from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("none", "first", "all")
PROMPT_TOKENS, NEW_TOKENS = 200, 40


def seconds(model: Any, prompt: torch.Tensor, mode: str) -> float:  # noqa: ANN401
    """Return the processor time of one generation at k=4."""
    start = time.process_time()
    with moe.experts_k(model, 4, observe=mode):
        model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="rounds to measure (default: 20)")
    n_rounds = parser.parse_args(arguments).rounds
    model = AutoModelForImageTextToText.from_pretrained(MODEL_PATH)
    prompt = torch.randint(10, 100, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))
    for mode in MODES:
        seconds(model, prompt, mode)  # a warm-up
    ratios: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(n_rounds):
        shift = number % len(MODES)
        taken = {mode: seconds(model, prompt, mode) for mode in (*MODES[shift:], *MODES[:shift])}
        for mode, values in ratios.items():
            values.append(taken[mode] / taken["none"])
    print('| `observe` | processor time, against `"none"` |\n|---|---|')
    for mode in MODES[1:]:
        values = ratios[mode]
        middle = statistics.median(values)
        print(f'| `"{mode}"` | {middle:.2f} ({min(values):.2f} to {max(values):.2f}) |')


if __name__ == "__main__":
    main()
