"""The arguments of ``moe-eval bench --backend hf``: transformers loads or builds a model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.targets.target import PreparedBench
    from moe_eval_plugin.bench.targets.transformers import RandomWeights

# Dest of the option: its default.
VLLM_OPTIONS = {"enforce_eager": False, "engine_args": [], "verify": "observe"}


@contextmanager
def prepare(options: argparse.Namespace, plan: BenchPlan) -> Iterator[PreparedBench]:
    """Prepare the bench that the arguments request; the model is loaded once they are checked."""
    from moe_eval_plugin.bench.targets.transformers import default_device, prepare_bench
    from moe_eval_plugin.engines.transformers.options import EngineOptions

    _refuse_options(options)
    engine = EngineOptions(
        pretrained=options.model,
        revision=options.revision,
        dtype=options.dtype,
        device=options.device or default_device(),
        attn_implementation=options.attn_implementation,
        trust_remote_code=options.trust_remote_code,
    )
    yield prepare_bench(
        engine,
        plan,
        random_weights=_random_weights(options),
        experts_implementation=options.experts_implementation,
        with_calibration=options.calibrate,
    )


def _refuse_options(options: argparse.Namespace) -> None:
    for name, default in VLLM_OPTIONS.items():
        if getattr(options, name) != default:
            message = (
                f"--{name.replace('_', '-')} is for vLLM. Add --backend vllm, or leave it out."
            )
            raise InvalidArgumentError(message)
    if not options.random_weights and (options.config or options.routing != "uniform"):
        message = "--config and --routing change models with random weights. Add --random-weights."
        raise InvalidArgumentError(message)


def _random_weights(options: argparse.Namespace) -> RandomWeights | None:
    from moe_eval_plugin.bench.targets.transformers import RandomWeights
    from moe_eval_plugin.bench.workload.config_changes import parse_changes
    from moe_eval_plugin.bench.workload.random_weights import parse_routing

    if not options.random_weights:
        return None
    changes, routing = parse_changes(options.config), parse_routing(options.routing)
    return RandomWeights(changes, routing, options.seed)
