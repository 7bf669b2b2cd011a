"""Bench the architecture of Qwen3-VL-30B-A3B at real size with random weights, as `moe-eval bench`.

``run.sh`` calls it. The configuration is the published one; weights are made on the GPU. Where they
do not fit into its memory, layers are left out, and the report says so. All k are measured in turn,
batch size by batch size, and after each the report is written anew: ``bench.json`` with the
implementation of the experts that transformers chooses, then ``bench-grouped-mm.json`` with grouped
multiplication in decode too, as far as time allows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.measurement import Measured
from moe_eval_plugin.bench.plan import BenchPlan
from moe_eval_plugin.bench.runner import make_report, measure
from moe_eval_plugin.bench.targets.transformers import bench_target
from moe_eval_plugin.bench.workload.config_changes import load_changed_config
from moe_eval_plugin.bench.workload.experts_implementation import GROUPED_ALWAYS, use_experts
from moe_eval_plugin.bench.workload.random_weights import build
from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.hardware.device import describe_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.bench.targets.target import BenchTarget

CONFIG = Path(__file__).with_name("qwen3-vl-30b-a3b.json")
NAME = "Qwen/Qwen3-VL-30B-A3B-Instruct"
LEAST_LAYERS = 4
SMALL: dict[str, Any] = {
    "hidden_size": 256,
    "moe_intermediate_size": 64,
    "num_attention_heads": 2,
    "num_experts": 16,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "vocab_size": 1024,
    "vision_config.deepstack_visual_indexes": [0],
    "vision_config.depth": 1,
    "vision_config.hidden_size": 32,
    "vision_config.intermediate_size": 64,
    "vision_config.num_heads": 2,
    "vision_config.out_hidden_size": 256,
}


def build_model(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Build the model with as many layers as fit, and return it with the settings changed."""
    changes = dict(SMALL) if options.small else {}
    config = load_changed_config(str(CONFIG), changes)
    layers = config.get_text_config().num_hidden_layers
    while True:
        try:
            model = build(config, dtype=options.dtype, device=options.device)
        except InsufficientMemoryError:
            layers -= LEAST_LAYERS
            if layers < LEAST_LAYERS:
                raise
            changes["num_hidden_layers"] = layers
            config = load_changed_config(str(CONFIG), changes)
        else:
            return model, changes


class Bench:
    """Measures batch size by batch size, as far as time allows, and keeps the report up to date."""

    def __init__(self, options: argparse.Namespace, begin_s: float) -> None:
        self._end_s = begin_s + options.seconds
        self._options = options
        self._model, self._changes = build_model(options)
        print(f"built in {time.monotonic() - begin_s:.0f} s", flush=True)

    def run(self, name: str, implementation: str | None, sizes: list[int]) -> bool:
        """Measure and write a report; return whether time allowed all batch sizes."""
        use_experts(self._model, implementation)
        plan = BenchPlan(
            tuple(self._options.experts_k),
            tuple(sizes),
            prompt_tokens=self._options.prompt_tokens,
            new_tokens=self._options.new_tokens,
        )
        target, measured = self._target(plan), Measured((), ())
        done: tuple[int, ...] = ()
        lasted_s = 0.0
        for size in sizes:
            begin_s = time.monotonic()
            # Each takes about as long as the one before: at small batches Python takes the time.
            if begin_s + 1.2 * lasted_s > self._end_s:
                print(f"{name}: no time is left for batches of {size}", flush=True)
                return False
            found = measure(target.engine, replace(plan, batch_sizes=(size,)), self._progress)
            done = (*done, size)
            measured = Measured((*measured.points, *found.points), (*measured.notes, *found.notes))
            report = make_report(
                target,
                replace(plan, batch_sizes=done),
                describe_device(self._options.device),
                measured,
            )
            report.save(self._options.out / name)
            lasted_s = time.monotonic() - begin_s
            print(f"{name}: batches of {size} in {lasted_s:.0f} s", flush=True)
        return True

    def _target(self, plan: BenchPlan) -> BenchTarget:
        facts = {
            "name": NAME,
            "weights": "random",
            "config_changes": self._changes,
            "routing": "uniform",
            "seed": 0,
        }
        target = bench_target(self._model, facts, plan)
        if not self._changes:
            return target
        layers = self._changes["num_hidden_layers"]
        note = f"Not the whole model: {layers} of 48 layers fit into the memory."
        if self._options.small:
            note = "A tiny model of this architecture, to try the program: no measurement."
        return replace(target, notes=(*target.notes, note))

    def _progress(self, text: str) -> None:
        left_s = self._end_s - time.monotonic()
        print(f"{left_s:5.0f} s left: {text}", flush=True)
        if left_s < 0:
            message = f"no time is left: {text} was not measured"
            raise TimeoutError(message)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--small", action="store_true", help="a tiny model on the CPU, for CI")
    parser.add_argument("--seconds", type=float, default=240, help="default: %(default)s")
    parser.add_argument("--experts-k", type=int, nargs="+", default=[8, 4, 2, 1], metavar="K")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16, 64], metavar="N")
    parser.add_argument("--prompt-tokens", type=int, default=128, metavar="N")
    parser.add_argument("--new-tokens", type=int, default=32, metavar="N")
    parser.add_argument("--device", default="cuda:0", help="default: %(default)s")
    parser.add_argument("--dtype", default="bfloat16", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.small:
        options.device, options.batch_sizes = "cpu", [1, 4]
        options.prompt_tokens, options.new_tokens = 16, 4
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Bench both implementations; exit with 1 if the first is not complete."""
    begin_s, options = time.monotonic(), parse(arguments)
    bench = Bench(options, begin_s)
    is_complete = bench.run("bench.json", None, options.batch_sizes)
    if is_complete and not options.small:
        bench.run("bench-grouped-mm.json", GROUPED_ALWAYS, options.batch_sizes[::-1])
    raise SystemExit(0 if is_complete else 1)


if __name__ == "__main__":
    main()
