"""What ``moe-eval bench --backend vllm`` measures: a model that vLLM runs."""

from __future__ import annotations

import difflib
import json
import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.bench_plan import Benched, plan_of
from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.subject import BenchTarget
    from moe_eval_plugin.hardware.device import DeviceFacts

# Dest of the option: what it is by default, and why it cannot be anything else.
REFUSED: dict[str, tuple[object, str]] = {
    "routing": ("uniform", "its random weights are vLLM's own, and nothing sets their routing"),
    "config": ([], "vLLM reads the configuration of the model as it is"),
    "device": (None, "vLLM runs on the kind of device that it was built for"),
    "experts_implementation": (
        None,
        "vLLM has kernels of its own; --engine-args moe_backend=triton chooses one",
    ),
    "attn_implementation": (
        None,
        "vLLM has kernels of its own; --engine-args attention_backend=... chooses one",
    ),
    "images": (0, "prompts are text tokens here"),
    "image": ([], "prompts are text tokens here"),
}
OPTIONS_OF_OURS = {
    "dtype": "--dtype",
    "enforce_eager": "--enforce-eager",
    "revision": "--revision",
    "trust_remote_code": "--trust-remote-code",
}
WORDS = {"True": True, "False": False, "None": None}


@contextmanager
def load(options: argparse.Namespace) -> Iterator[Benched]:
    """Check everything that can be checked without vLLM's engine, then start it."""
    from moe_eval_plugin.models.checkpoint import load_config

    _refuse_options(options)
    _require_vllm()
    engine_args = parse_engine_args(options.engine_args)
    config = load_config(
        options.model, options.revision, trust_remote_code=options.trust_remote_code
    )
    plan = plan_of(options, config)
    with closing(_start(options, plan, config, engine_args)) as engine:
        subject = _subject(options, plan, config, engine)
        yield Benched(subject, plan, _device_facts(options, engine, subject.dtype))


def parse_engine_args(items: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` items for vLLM; a value is JSON, a word of Python, or else a string.

    Raises ``InvalidArgumentError`` for a name that vLLM does not know.
    """
    from moe_eval_plugin.engines.vllm.options import engine_argument_names

    known = engine_argument_names()
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            message = f"--engine-args {item} is not KEY=VALUE. Write tensor_parallel_size=2."
            raise InvalidArgumentError(message)
        if name in OPTIONS_OF_OURS:
            message = f"--engine-args {item} is refused: give it as {OPTIONS_OF_OURS[name]}."
            raise InvalidArgumentError(message)
        if name not in known:
            raise InvalidArgumentError(_unknown(name, known))
        found[name] = WORDS[value] if value in WORDS else _value(value)
    return found


def _refuse_options(options: argparse.Namespace) -> None:
    for name, (default, reason) in REFUSED.items():
        if getattr(options, name) != default:
            message = (
                f"--{name.replace('_', '-')} is not possible with --backend vllm: {reason}. Leave "
                "it out, or use --backend hf."
            )
            raise InvalidArgumentError(message)


def _require_vllm() -> None:
    # What vLLM tells of itself must not stand between the lines of a report.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        message = (
            f"--backend vllm needs vLLM, which cannot be imported here ({error}). Install it with: "
            "pip install 'moe-eval-plugin[vllm]', or use --backend hf."
        )
        raise MissingDependencyError(message) from error


def _start(
    options: argparse.Namespace,
    plan: BenchPlan,
    config: PretrainedConfig,
    engine_args: dict[str, Any],
) -> VLLMBenchEngine:
    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

    if options.random_weights:
        engine_args = {"load_format": "dummy", **engine_args}
    engine = {"dtype": options.dtype, "enforce_eager": options.enforce_eager, **engine_args}
    wanted = VLLMOptions(
        pretrained=options.model,
        revision=options.revision,
        verify=options.verify,
        trust_remote_code=options.trust_remote_code,
        engine=engine,
    )
    return VLLMBenchEngine(wanted, plan, config)


def _subject(
    options: argparse.Namespace,
    plan: BenchPlan,
    config: PretrainedConfig,
    engine: VLLMBenchEngine,
) -> BenchTarget:
    """Put together what is known of the model; its costs are those of its shape."""
    from moe_eval_plugin.bench.subject import BenchTarget, read_cost, shape_facts
    from moe_eval_plugin.models.families import describe
    from moe_eval_plugin.models.parameters import build_on_meta

    description, facts = describe(config), engine.facts()
    shape = build_on_meta(config, trust_remote_code=options.trust_remote_code)
    cost, reason, counted = read_cost(shape, description)
    dtype = facts["quantization"] or facts["dtype"]
    return BenchTarget(
        engine=engine,
        model={
            "name": options.model,
            "weights": "random" if options.random_weights else "trained",
            "backend": "vllm",
            **shape_facts(config, description),
            **counted,
            "dtype": dtype,
            "engine": facts,
        },
        dtype=dtype,
        baseline=description.num_experts_per_tok or None,
        cost=cost,
        cost_unknown_reason=reason,
        notes=engine.notes(plan),
    )


def _device_facts(options: argparse.Namespace, engine: VLLMBenchEngine, dtype: str) -> DeviceFacts:
    from moe_eval_plugin.hardware.calibration import calibrate
    from moe_eval_plugin.hardware.device import DeviceFacts, describe

    found = engine.device()
    of_worker = DeviceFacts(**{**found, "reasons": tuple(found["reasons"])})
    if not options.calibrate:
        return of_worker
    device = "cuda:0" if of_worker.kind == "cuda" else of_worker.kind
    measured = describe(device, calibration=calibrate(device, dtype))
    return replace(measured, n_devices=of_worker.n_devices, threads=of_worker.threads)


def _unknown(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return (
        f"--engine-args {name} is no engine argument of this vLLM that can be given here.{hint} "
        "`vllm serve --help=all` lists them, with dashes for underscores."
    )


def _value(text: str) -> Any:  # noqa: ANN401  (whatever the JSON text says)
    try:
        return json.loads(text)
    except ValueError:
        return text
