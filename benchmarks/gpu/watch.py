"""Measure what it costs to check every step of an answer for NaN, end to end and for each step.

``run.sh`` calls it; on a CPU: ``python benchmarks/gpu/watch.py OUT --device cpu``. The same batch
is answered with the check and without it in turn, by the embedded model as ``moe_hf`` runs it, and
by a model with the vocabulary of Qwen3-VL (151,936 tokens) and two narrow layers. It writes
``watch.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.workload.config_changes import load_changed_config
from moe_eval_plugin.bench.workload.random_weights import build
from moe_eval_plugin.engines.transformers import engine as engine_module
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.models.demo.recipe import POST_PROMPT
from moe_eval_plugin.override.finite import NEVER, watch_logits
from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.stats.speed import paired_ratio
from moe_eval_plugin.vqa.dataset import load_easy_vqa
from moe_eval_plugin.vqa.images import open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

CONFIG = Path(__file__).with_name("qwen3-vl-30b-a3b.json")
BATCH_SIZES = (1, 16)
NEW_TOKENS = 16
LEAST_PAIRS = 3
FEW_LAYERS: dict[str, Any] = {
    "hidden_size": 256,
    "moe_intermediate_size": 64,
    "num_attention_heads": 2,
    "num_experts": 16,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "vision_config.deepstack_visual_indexes": [0],
    "vision_config.depth": 1,
    "vision_config.out_hidden_size": 256,
}


class NoWatch:
    """In place of the watch on the logits: it checks nothing."""

    def first_steps(self, n_rows: int) -> list[int]:
        """Return for each answer that no step was bad."""
        return [NEVER] * n_rows


@contextmanager
def no_watch(_model: nn.Module) -> Iterator[NoWatch]:
    """Check nothing while the block runs."""
    yield NoWatch()


def compare(run: Callable[[bool], object], device: str, seconds: float) -> dict[str, Any]:
    """Run with and without the check in turn; return both times and their ratio, as plain data.

    On a CPU the time is that of the processor, which other programs disturb less.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[bool, list[float]] = {True: [], False: []}
    for is_checked in (True, False):
        run(is_checked)
    begin_s, n = time.perf_counter(), 0
    while n < LEAST_PAIRS or time.perf_counter() - begin_s < seconds:
        for is_checked in (n % 2 == 0, n % 2 == 1):
            synchronize(device)
            before_s = clock()
            run(is_checked)
            synchronize(device)
            times[is_checked].append(clock() - before_s)
        n += 1
    # The time with the check over the time without it.
    ratio = paired_ratio(times[False], times[True])
    lost = [a - b for a, b in zip(times[True], times[False], strict=True)]
    return {
        "n_pairs": n,
        "median_s_without": statistics.median(times[False]),
        "median_s_with": statistics.median(times[True]),
        "time_ratio": ratio.ratio,
        "interval": ratio.interval and [ratio.interval.low, ratio.interval.high],
        "microseconds_for_each_step": 1e6 * statistics.median(lost) / NEW_TOKENS,
    }


def of_demo(device: str, dtype: str, sizes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Compare the embedded model's answers as ``moe_hf`` generates them, by batch size."""
    engine = HFEngine(EngineOptions(pretrained="demo", dtype=dtype, device=device))
    records = load_easy_vqa().records
    arguments = {
        "do_sample": False,
        "min_new_tokens": NEW_TOKENS,
        "max_new_tokens": NEW_TOKENS,
    }
    found = {}
    for size in sizes:
        encoded = engine.encode(
            [
                [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "image": open_image(one["image"], number)},
                            {"type": "text", "text": one["question"] + POST_PROMPT},
                        ],
                    }
                ]
                for number, one in enumerate(records[:size])
            ]
        )

        def run(is_checked: bool) -> None:  # noqa: FBT001
            engine_module.watch_logits = watch_logits if is_checked else no_watch
            engine.generate(encoded, arguments)  # noqa: B023  (called before the next round)

        found[f"b{size}"] = compare(run, device, seconds / len(sizes))
    engine_module.watch_logits = watch_logits
    return found


def of_large_vocabulary(
    device: str, dtype: str, sizes: Sequence[int], seconds: float
) -> dict[str, Any]:
    """Compare ``generate`` of a model with 151,936 tokens and two narrow layers, by batch size."""
    import torch

    model = build(load_changed_config(str(CONFIG), FEW_LAYERS), dtype=dtype, device=device)
    found = {}
    for size in sizes:
        ids = torch.arange(1, 16 * size + 1, device=device).reshape(size, 16)

        @torch.inference_mode()
        def run(is_checked: bool) -> None:  # noqa: FBT001
            with watch_logits(model) if is_checked else nullcontext():
                model.generate(
                    input_ids=ids,  # noqa: B023  (called before the next round)
                    attention_mask=torch.ones_like(ids),  # noqa: B023
                    min_new_tokens=NEW_TOKENS,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    pad_token_id=0,
                )

        found[f"b{size}"] = compare(run, device, seconds / len(sizes))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare both models, and write and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--small", action="store_true", help="a few repetitions on the CPU, for CI")
    parser.add_argument("--seconds", type=float, default=60, help="default: %(default)s")
    parser.add_argument("--device", default="cuda:0", help="default: %(default)s")
    parser.add_argument("--dtype", default="bfloat16", help="default: %(default)s")
    options = parser.parse_args(arguments)
    device = "cpu" if options.small else options.device
    # Loading takes its time too.
    seconds = 0 if options.small else options.seconds / 3
    sizes = BATCH_SIZES[:1] if options.small else BATCH_SIZES
    found: dict[str, Any] = {
        "kind": "cost of the check for NaN",
        "device": describe_device(device).to_dict(),
        "dtype": options.dtype,
        "new_tokens": NEW_TOKENS,
        "versions": installed_versions(),
    }
    for name, measure in (("demo", of_demo), ("vocabulary_151936", of_large_vocabulary)):
        found[name] = measure(device, options.dtype, sizes, seconds)
        write_whole(options.out / "watch.json", json.dumps(found, indent=1) + "\n")
        for size, one in found[name].items():
            print(
                f"{name} {size}: time with the check / without: {one['time_ratio']:.4f} "
                f"{one['interval']}, {one['microseconds_for_each_step']:.0f} us a step"
            )


if __name__ == "__main__":
    main()
