"""``moe-eval bench``: how fast a model generates at each k and batch size."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.verb import add_verb
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.steady import Subject
    from moe_eval_plugin.commands.verb import Verbs

DESCRIPTION = """\
Generate a fixed number of tokens at each k and each batch size, and report steady decode and
prefill: tokens per second, time to the first token and per token, memory, energy, the gain over
the published k and how much of its ceiling that is.

The k is changed on one loaded model. Before anything is timed, a pass with hooks verifies each k at
each batch size and counts the distinct experts of a step; the hooks are gone while the clock runs.
Each round measures all k, one after the other, so that a machine that slows down slows them alike.
"""
EPILOG = """\
examples:
  moe-eval bench demo
  moe-eval bench Qwen/Qwen3-VL-30B-A3B-Instruct --experts-k 8 4 2 1 --images 1 --output bench.json
  moe-eval bench ./config.json --random-weights --dtype bfloat16 --batch-sizes 1 8 64
  moe-eval bench qwen3_moe --random-weights --config hidden_size=512 num_experts=64 \\
    num_hidden_layers=6 moe_intermediate_size=1024 vocab_size=4096 --calibrate
"""


def add(verbs: Verbs) -> None:
    """Add the verb to the command."""
    verb = add_verb(
        verbs,
        "bench",
        run,
        "time prefill and decode at each k and batch size",
        (DESCRIPTION, EPILOG),
    )
    _add_model(verb)
    _add_plan(verb)
    verb.add_argument(
        "--calibrate",
        action="store_true",
        help="measure memory bandwidth and peak FLOP/s of the device instead of looking them up",
    )
    verb.add_argument("--output", type=Path, metavar="FILE", help="write everything to this file")
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_model(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "model",
        metavar="MODEL",
        help="a folder, a model id of the hub, or demo (embedded); with --random-weights also a "
        "config.json or a model type of transformers",
    )
    verb.add_argument("--revision", help="branch, tag or commit on the hub (default: main)")
    verb.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that comes with the model, if transformers does not know it",
    )
    verb.add_argument(
        "--random-weights",
        action="store_true",
        help="build the model from its configuration alone: speed needs no trained weights",
    )
    verb.add_argument(
        "--routing",
        default="uniform",
        metavar="uniform|skewed:S",
        help="which experts random weights choose: all alike, or the r-th most popular in "
        "proportion to r^-S (default: uniform)",
    )
    verb.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change the configuration of a model with random weights",
    )
    verb.add_argument("--dtype", default="auto", help="data type of the weights (default: auto)")
    verb.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda where there is one)")
    verb.add_argument(
        "--experts-implementation",
        metavar="NAME",
        help="eager, grouped_mm, batched_mm, or grouped_mm_always, which is kept in decode on GPUs "
        "too (default: transformers' choice)",
    )
    verb.add_argument("--attn-implementation", help="of transformers, sdpa for instance")


def _add_plan(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--experts-k",
        type=int,
        nargs="+",
        metavar="K",
        help="routed experts per token (default: the published k, and its halves down to 1)",
    )
    verb.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 4, 16],
        metavar="N",
        help="sequences at once, until memory ends (default: 1 4 16)",
    )
    verb.add_argument(
        "--prompt-tokens", type=int, default=128, metavar="N", help="text tokens (default: 128)"
    )
    verb.add_argument(
        "--new-tokens", type=int, default=128, metavar="N", help="tokens to make (default: 128)"
    )
    verb.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="rounds, 3 or more (default: 3)"
    )
    verb.add_argument(
        "--images", type=int, default=0, metavar="N", help="random images in each prompt"
    )
    verb.add_argument(
        "--image-size",
        type=_size,
        default=(448, 448),
        metavar="WxH",
        help="pixels of random images (default: 448x448)",
    )
    verb.add_argument("--image", nargs="+", default=[], metavar="FILE", help="show these images")
    verb.add_argument("--seed", type=int, default=0, help="of weights and prompts (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Bench the model that the arguments name, and print the report."""
    from moe_eval_plugin.bench import steady
    from moe_eval_plugin.bench.text import render

    _check(options)
    subject, plan = _load(options)
    facts = _device_facts(options, subject.dtype)
    with _progress_bar(plan) as bar:

        def show(text: str) -> None:
            bar.set_description_str(text, refresh=False)
            bar.update()

        report = steady.run(subject, plan, facts, show)
    if options.output is not None:
        report.save(options.output)
    print(json.dumps(report.to_dict(), indent=2) if options.json else render(report))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot end well before anything is loaded, and settle the device."""
    import torch

    from moe_eval_plugin.bench.experts_kernels import IMPLEMENTATIONS
    from moe_eval_plugin.model_adapters.hf_request import DTYPES, check_choice

    if not options.random_weights and (options.config or options.routing != "uniform"):
        message = "--config and --routing change models with random weights. Add --random-weights."
        raise InvalidArgumentError(message)
    if options.output is not None and not options.output.absolute().parent.is_dir():
        message = f"--output {options.output}: there is no such folder. Make it first."
        raise InvalidArgumentError(message)
    check_choice("dtype", options.dtype, DTYPES)
    check_choice("experts_implementation", options.experts_implementation, (None, *IMPLEMENTATIONS))
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.device == "cuda":
        # The whole model lies on one device, and only its facts and its energy are wanted.
        options.device = "cuda:0"


def _load(options: argparse.Namespace) -> tuple[Subject, BenchPlan]:
    """Check everything that the configuration tells, then load or make the weights."""
    from moe_eval_plugin.bench.random_weights import parse_routing
    from moe_eval_plugin.bench.shapes import load_shape, parse_changes
    from moe_eval_plugin.bench.steady import subject_of
    from moe_eval_plugin.checkpoint import load_config

    trust = options.trust_remote_code
    weights = "random" if options.random_weights else "trained"
    facts: dict[str, Any] = {"name": options.model, "weights": weights}
    if options.random_weights:
        changes, routing = parse_changes(options.config), parse_routing(options.routing)
        config = load_shape(options.model, changes, options.revision, trust_remote_code=trust)
        plan = _plan(options, config)
        model = _random_model(options, config)
        facts |= {"config_changes": changes, "routing": str(routing), "seed": options.seed}
        return subject_of(model, facts, plan), plan
    config = load_config(options.model, options.revision, trust_remote_code=trust)
    plan = _plan(options, config)
    model, processor = _trained_model(options, config, with_images=plan.images.count > 0)
    return subject_of(model, facts, plan, processor), plan


def _plan(options: argparse.Namespace, config: PretrainedConfig) -> BenchPlan:
    """Make the plan, and refuse what the configuration shows to be impossible."""
    import torch

    from moe_eval_plugin.bench.inputs import BenchInputs
    from moe_eval_plugin.bench.plan import BenchPlan, ImagePlan, halves
    from moe_eval_plugin.families import describe
    from moe_eval_plugin.spec import constant_schedule

    description = describe(config)
    ks: tuple[int | None, ...] = (None,)
    if options.experts_k:
        ks = tuple(options.experts_k)
    elif description.is_moe and description.fixed_k_reason is None:
        ks = halves(description.num_experts_per_tok, description.min_num_experts_per_tok)
    for k in ks:
        if k is not None:
            constant_schedule(k).resolve(description)
    plan = BenchPlan(
        experts_k=ks,
        batch_sizes=tuple(options.batch_sizes),
        prompt_tokens=options.prompt_tokens,
        new_tokens=options.new_tokens,
        repeats=options.repeats,
        images=ImagePlan(options.images, options.image_size, tuple(options.image)),
        seed=options.seed,
    )
    # A processor is loaded later, so images are tried here only where none is needed.
    images = plan.images if options.random_weights else ImagePlan()
    BenchInputs(config, "cpu", torch.float32, images).make(plan.workload(1))
    return plan


def _random_model(options: argparse.Namespace, config: PretrainedConfig) -> Any:  # noqa: ANN401
    from moe_eval_plugin.bench.random_weights import build, parse_routing

    return build(
        config,
        parse_routing(options.routing),
        dtype=options.dtype,
        device=options.device,
        seed=options.seed,
        experts_implementation=options.experts_implementation,
        attn_implementation=options.attn_implementation,
        trust_remote_code=options.trust_remote_code,
    )


def _trained_model(
    options: argparse.Namespace, config: PretrainedConfig, *, with_images: bool
) -> tuple[Any, Any]:
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    from moe_eval_plugin import checkpoint, preflight
    from moe_eval_plugin.bench.experts_kernels import use_experts
    from moe_eval_plugin.model_adapters.hf_loading import load_model, load_processor
    from moe_eval_plugin.model_adapters.hf_request import EngineOptions

    wanted = EngineOptions(
        pretrained=options.model,
        revision=options.revision,
        dtype=options.dtype,
        device=options.device,
        attn_implementation=options.attn_implementation,
        trust_remote_code=options.trust_remote_code,
    )
    takes_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if with_images and not takes_images:
        message = f"{options.model} reads text only. Leave --images and --image out."
        raise InvalidArgumentError(message)
    preflight.check_memory(
        options.model,
        revision=options.revision,
        device=options.device,
        device_map=None,
        dtype=options.dtype,
    )
    source = checkpoint.resolve(options.model)
    model = load_model(wanted, source, takes_images=takes_images)
    use_experts(model, options.experts_implementation)
    processor = load_processor(wanted, source, takes_images=True) if with_images else None
    return model, processor


def _device_facts(options: argparse.Namespace, dtype: str) -> Any:  # noqa: ANN401
    from moe_eval_plugin.calibrate import calibrate
    from moe_eval_plugin.device import describe

    measured = calibrate(options.device, dtype) if options.calibrate else None
    return describe(options.device, calibration=measured)


def _progress_bar(plan: BenchPlan) -> Any:  # noqa: ANN401
    from tqdm import tqdm

    # Not a terminal: no bar, so that logs stay readable.
    return tqdm(total=plan.n_steps, unit="run", disable=None)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        return int(width), int(height)
    except ValueError as error:
        message = f"{text} is no size in pixels; write it as 448x448"
        raise argparse.ArgumentTypeError(message) from error
