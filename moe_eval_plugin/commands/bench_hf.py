"""What ``moe-eval bench --backend hf`` measures: a model that transformers loads or makes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.commands.bench_plan import Benched, plan_of
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.subject import BenchTarget

# Dest of the option: what it is by default.
OF_VLLM = {"enforce_eager": False, "engine_args": [], "verify": "observe"}


@contextmanager
def load(options: argparse.Namespace) -> Iterator[Benched]:
    """Check everything that the configuration tells, then load or make the weights."""
    _check(options)
    subject, plan = _load(options)
    yield Benched(subject, plan, _device_facts(options, subject.dtype))


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot end well before anything is loaded, and settle the device."""
    import torch

    from moe_eval_plugin.engines.option_checks import check_choice
    from moe_eval_plugin.engines.transformers.experts_implementation import IMPLEMENTATIONS

    for name, default in OF_VLLM.items():
        if getattr(options, name) != default:
            message = (
                f"--{name.replace('_', '-')} is for vLLM. Add --backend vllm, or leave it out."
            )
            raise InvalidArgumentError(message)
    if not options.random_weights and (options.config or options.routing != "uniform"):
        message = "--config and --routing change models with random weights. Add --random-weights."
        raise InvalidArgumentError(message)
    check_choice("experts_implementation", options.experts_implementation, (None, *IMPLEMENTATIONS))
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.device == "cuda":
        # The whole model lies on one device, and only its facts and its energy are wanted.
        options.device = "cuda:0"


def _load(options: argparse.Namespace) -> tuple[BenchTarget, BenchPlan]:
    """Check everything that the configuration tells, then load or make the weights."""
    from moe_eval_plugin.bench.subject import subject_of
    from moe_eval_plugin.bench.workload.config_changes import load_shape, parse_changes
    from moe_eval_plugin.bench.workload.random_weights import parse_routing
    from moe_eval_plugin.models.checkpoint import load_config

    trust = options.trust_remote_code
    weights = "random" if options.random_weights else "trained"
    facts: dict[str, Any] = {"name": options.model, "weights": weights}
    if options.random_weights:
        changes, routing = parse_changes(options.config), parse_routing(options.routing)
        config = load_shape(options.model, changes, options.revision, trust_remote_code=trust)
        plan = plan_of(options, config)
        model = _random_model(options, config)
        facts |= {"config_changes": changes, "routing": str(routing), "seed": options.seed}
        return subject_of(model, facts, plan), plan
    config = load_config(options.model, options.revision, trust_remote_code=trust)
    plan = plan_of(options, config)
    model, processor = _trained_model(options, config, with_images=plan.images.count > 0)
    return subject_of(model, facts, plan, processor), plan


def _random_model(options: argparse.Namespace, config: PretrainedConfig) -> Any:  # noqa: ANN401
    from moe_eval_plugin.bench.workload.random_weights import build, parse_routing

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

    from moe_eval_plugin.engines import memory_check
    from moe_eval_plugin.engines.transformers.experts_implementation import use_experts
    from moe_eval_plugin.engines.transformers.loading import load_model, load_processor
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.models import checkpoint

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
    memory_check.check_memory(
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
    from moe_eval_plugin.hardware.calibration import calibrate
    from moe_eval_plugin.hardware.device import describe

    measured = calibrate(options.device, dtype) if options.calibrate else None
    return describe(options.device, calibration=measured)
