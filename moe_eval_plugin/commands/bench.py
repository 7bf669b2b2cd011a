"""``moe-eval bench``: the speed of a model at each k and batch size."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands import bench_hf, bench_vllm
from moe_eval_plugin.commands.ending import is_silent, show_end, shown, sweep_command
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_int, read_new_file

if TYPE_CHECKING:
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.commands.subcommand import Options, Subcommands

DESCRIPTION = """\
Generate a fixed number of tokens at each k and each batch size, and report prefill and steady
decode: tokens per second, time to first token and per output token, memory, energy, the speed-up
over the published k, and its share of the theoretical ceiling.

The k is changed on one loaded model. Before anything is timed, a pass with hooks verifies each k at
each batch size and counts the distinct experts of a step; timed passes run without hooks. Each
round measures all k in turn, so that a slowdown of the machine affects them alike.

With --backend vllm, a batch is a set of requests submitted at once, and the times are vLLM's own.
Its compiled code keeps its k, so vLLM is started for each k; with --enforce-eager one serves all.
"""
EPILOG = """\
examples:
  moe-eval bench demo
  moe-eval bench Qwen/Qwen3-VL-30B-A3B-Instruct --experts-k 8 4 2 1 --images 1 \\
    --output bench.json
  moe-eval bench Qwen/Qwen3-VL-30B-A3B-Instruct --backend vllm \\
    --batch-sizes 1 8 64 768
  moe-eval bench ./config.json --random-weights --dtype bfloat16 \\
    --batch-sizes 1 8 64
  moe-eval bench qwen3_moe --random-weights --calibrate --config \\
    hidden_size=512 num_experts=64 num_hidden_layers=6 \\
    moe_intermediate_size=1024 vocab_size=4096
"""


def add(verbs: Subcommands) -> None:
    """Add the command ``bench``."""
    verb = add_verb(
        verbs,
        "bench",
        run,
        "time prefill and decode at each k and batch size",
        (DESCRIPTION, EPILOG),
    )
    _add_model(verb)
    _add_plan(verb.add_argument_group("settings to try"))
    _add_random(verb.add_argument_group("random weights"))
    _add_engine(verb.add_argument_group("where it runs"))
    _add_output(verb.add_argument_group("output"))


def _add_output(verb: Options) -> None:
    verb.add_argument(
        "--calibrate",
        action="store_true",
        help="measure memory bandwidth and peak FLOP/s of the device instead of using data sheets",
    )
    verb.add_argument(
        *("-o", "--output"), type=Path, metavar="FILE", help="write the report as JSON to this file"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_model(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "model",
        metavar="MODEL",
        help="a folder, a model id of the Hub, or demo (embedded); with --random-weights also a "
        "config.json or a model type of transformers",
    )
    group = verb.add_argument_group("what to run")
    group.add_argument("--revision", help="branch, tag or commit on the Hub (default: main)")
    group.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the model's own code, if transformers does not support it",
    )


def _add_random(verb: Options) -> None:
    verb.add_argument(
        "--random-weights",
        action="store_true",
        help="build the model from its configuration: speed needs no trained weights",
    )
    verb.add_argument(
        "--routing",
        default="uniform",
        metavar="uniform|skewed:S",
        help="how random weights choose experts: all equally often, or the r-th most popular in "
        "proportion to r^-S (default: uniform)",
    )
    verb.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of a model with random weights",
    )


def _add_engine(verb: Options) -> None:
    verb.add_argument(
        "--backend",
        choices=("hf", "vllm"),
        default="hf",
        help="hf (transformers, default) or vllm",
    )
    verb.add_argument("--dtype", default="auto", help="data type of the weights (default: auto)")
    verb.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda where available)")
    verb.add_argument(
        "--experts-implementation",
        metavar="NAME",
        help="eager, grouped_mm, batched_mm, or grouped_mm_always, which stays in use in decode on "
        "GPUs (default: transformers' choice)",
    )
    verb.add_argument("--attn-implementation", help="attention of transformers, e.g. sdpa")
    verb.add_argument(
        "--enforce-eager",
        action="store_true",
        help="with vLLM: compile nothing, so that all k are measured in turn on one engine",
    )
    verb.add_argument(
        "--engine-args",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="engine arguments of vLLM, e.g. tensor_parallel_size=2",
    )
    verb.add_argument(
        "--verify",
        choices=("observe", "config"),
        default="observe",
        help="with vLLM: observe counts the experts that tokens use, config trusts the k that its "
        "layers hold (default: observe)",
    )


def _add_plan(verb: Options) -> None:
    verb.add_argument(
        "--experts-k",
        type=int,
        nargs="+",
        metavar="K",
        help="routed experts per token (default: the published k, halved down to 1)",
    )
    verb.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 4, 16],
        metavar="N",
        help="batch sizes to time; larger ones are skipped when memory runs out (default: 1 4 16)",
    )
    verb.add_argument(
        "--prompt-tokens",
        type=int,
        default=128,
        metavar="N",
        help="text tokens of a prompt (default: 128)",
    )
    verb.add_argument(
        "--new-tokens", type=int, default=128, metavar="N", help="tokens to generate (default: 128)"
    )
    verb.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="timed rounds, 3 or more (default: 3)"
    )
    verb.add_argument(
        "--images",
        type=int,
        default=0,
        metavar="N",
        help="random images in each prompt (default: 0)",
    )
    verb.add_argument(
        "--image-size",
        type=_size,
        default=(448, 448),
        metavar="WxH",
        help="pixels of random images (default: 448x448)",
    )
    verb.add_argument(
        "--image", nargs="+", default=[], metavar="FILE", help="images to put into each prompt"
    )
    verb.add_argument(
        "--seed", type=int, default=0, help="seed of weights and prompts (default: 0)"
    )


def run(options: argparse.Namespace) -> int:
    """Bench the model that the arguments name, and print the report."""
    from moe_eval_plugin.bench.runner import run_bench
    from moe_eval_plugin.bench.text import render, result_text
    from moe_eval_plugin.engines.option_checks import DTYPE_READER

    if options.output is not None:
        read_new_file("--output", options.output)
        if not options.output.absolute().parent.is_dir():
            message = f"--output {options.output}: its folder does not exist. Create it first."
            raise InvalidArgumentError(message)
    read_int("--seed", options.seed, at_least=0)
    DTYPE_READER("dtype", options.dtype)
    _check_k(options)
    prepare = bench_vllm.prepare if options.backend == "vllm" else bench_hf.prepare
    with Status.of(options) as status:
        status.doing(f"importing {options.backend}, and loading {options.model}")
        with prepare(options, _plan(options)) as bench:
            status.counting(f"bench of {options.model}", bench.plan.n_steps, unit="runs")

            def show(text: str) -> None:
                status.update(text)
                status.advance()

            report = run_bench(bench.target, bench.plan, bench.device, show)
    if options.output is not None:
        report.save(options.output)
    print(json.dumps(report.to_dict(), indent=2) if options.json else render(report))
    if not is_silent(options):
        _show_end(options, result_text(report))
    return 0


def _show_end(options: argparse.Namespace, result: str | None) -> None:
    where = None if options.output is None else shown(options.output)
    # Random weights can only be timed.
    following = "" if options.random_weights else sweep_command(options.model, options.revision)
    if where:
        following = f"moe-eval report RUNS --bench {where} --open"
    print()
    show_end(
        *([result] if result else []),
        *([f"Report: {where}"] if where else []),
        following=following,
    )


def _plan(options: argparse.Namespace) -> BenchPlan:
    from moe_eval_plugin.bench.plan import BenchPlan, ImagePlan

    return BenchPlan(
        experts_k=tuple(options.experts_k or [None]),
        batch_sizes=tuple(options.batch_sizes),
        prompt_tokens=options.prompt_tokens,
        new_tokens=options.new_tokens,
        repeats=options.repeats,
        images=ImagePlan(options.images, options.image_size, tuple(options.image)),
        seed=options.seed,
    )


def _check_k(options: argparse.Namespace) -> None:
    """Refuse a model that is not there, and a k that it cannot have, before anything is loaded."""
    from moe_eval_plugin.experts.schedules.schedule import constant_schedule
    from moe_eval_plugin.models.stated_experts import stated_experts

    # With random weights the model may be a file or a type, and its configuration changed.
    stated = None if options.random_weights else stated_experts(options.model, options.revision)
    if stated is not None:
        for k in options.experts_k or ():
            constant_schedule(k).resolve(stated)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        return int(width), int(height)
    except ValueError as error:
        message = f"{text} is not a size in pixels; write it as 448x448"
        raise argparse.ArgumentTypeError(message) from error
