"""Load a checkpoint with transformers, or build random weights, for a bench."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.bench.engines.transformers import TransformersEngine
from moe_eval_plugin.bench.plan import ImagePlan
from moe_eval_plugin.bench.targets.target import (
    BenchTarget,
    PreparedBench,
    model_sizes,
    read_cost,
)
from moe_eval_plugin.bench.workload.config_changes import load_changed_config
from moe_eval_plugin.bench.workload.experts_implementation import (
    IMPLEMENTATIONS,
    use_experts,
)
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.bench.workload.random_weights import Routing, build
from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint
from moe_eval_plugin.engines.checks.memory import check_memory
from moe_eval_plugin.engines.transformers.loading import check_loadable, load_model
from moe_eval_plugin.engines.transformers.options import check_available
from moe_eval_plugin.engines.transformers.processor import load_processor, reads_images
from moe_eval_plugin.engines.transformers.sampling import replace_generation_config
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.hardware.calibration import calibrate
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.models import checkpoint
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.option_values import read_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.experts.description import MoEDescription


@dataclass(frozen=True)
class RandomWeights:
    """The configuration changes, routing and seed of a model without trained weights."""

    config_changes: Mapping[str, Any] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    seed: int = 0


def prepare_bench(
    options: EngineOptions,
    plan: BenchPlan,
    *,
    random_weights: RandomWeights | None = None,
    experts_implementation: str | None = None,
    with_calibration: bool = False,
) -> PreparedBench:
    """Check the plan against the configuration, then load or build the model.

    ``experts_implementation`` is not read from ``options``, because a bench has one more choice.
    Raises ``UserError`` for what cannot be benched, before a weight is read.
    """
    if experts_implementation is not None:
        read_choice("experts_implementation", experts_implementation, IMPLEMENTATIONS)
    # The whole model lies on one device, and only its facts and its energy are wanted.
    device = "cuda:0" if options.device == "cuda" else options.device
    options = replace(options, device=device)
    check_available(options)
    if random_weights is None:
        target, plan = _trained(options, plan, experts_implementation)
    else:
        target, plan = _random(options, plan, random_weights, experts_implementation)
    measured = calibrate(device, target.dtype) if with_calibration else None
    return PreparedBench(target, plan, describe_device(device, calibration=measured))


def default_device() -> str:
    """Return the device of a bench where the user names none: the first GPU, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def bench_target(
    model: Any,  # noqa: ANN401  (one of many model classes)
    facts: Mapping[str, Any],
    plan: BenchPlan,
    processor: Any = None,  # noqa: ANN401  (one of many processor classes)
) -> BenchTarget:
    """Build the target of a loaded model; ``facts`` record where it came from.

    ``processor`` encodes the images of the plan; without one they are drawn as patches. Raises
    ``UserError`` for a model that does not answer behind its prompt (an encoder and a decoder).
    """
    config = model.config
    if config.is_encoder_decoder:
        message = f"{config.model_type} is an encoder and a decoder; bench times decoders alone."
        raise UserError(message)
    description = describe(config)
    cost, reason, counted = read_cost(model, description)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    inputs = BenchInputs.for_model(model, plan.images, processor, plan.seed)
    return BenchTarget(
        engine=TransformersEngine(model, inputs, description, cost),
        model={**facts, **_model_facts(model, description), **counted, "dtype": dtype},
        dtype=dtype,
        baseline=description.num_experts_per_tok or None,
        cost=cost,
        cost_unknown_reason=reason,
    )


def check_prompts(config: PretrainedConfig, plan: BenchPlan, images: ImagePlan) -> None:
    """Raise ``UserError`` where the model cannot take the plan's prompts and new tokens."""
    BenchInputs(config, "cpu", torch.float32, images).make(plan.workload(1))


def _random(
    options: EngineOptions,
    plan: BenchPlan,
    weights: RandomWeights,
    experts_implementation: str | None,
) -> tuple[BenchTarget, BenchPlan]:
    trust = options.trust_remote_code
    config = load_changed_config(
        options.pretrained, weights.config_changes, options.revision, trust_remote_code=trust
    )
    plan = plan.for_model(describe(config))
    check_prompts(config, plan, plan.images)
    model = build(
        config,
        weights.routing,
        dtype=options.dtype,
        device=options.device,
        seed=weights.seed,
        experts_implementation=experts_implementation,
        attn_implementation=options.attn_implementation,
        trust_remote_code=trust,
    )
    facts = {
        "name": options.pretrained,
        "weights": "random",
        "config_changes": weights.config_changes,
        "routing": str(weights.routing),
        "seed": weights.seed,
    }
    return bench_target(model, facts, plan), plan


def _trained(
    options: EngineOptions, plan: BenchPlan, experts_implementation: str | None
) -> tuple[BenchTarget, BenchPlan]:
    config = checkpoint.load_config(
        options.pretrained, options.revision, trust_remote_code=options.trust_remote_code
    )
    plan = plan.for_model(describe(config))
    # Images are encoded by a processor, which is loaded later.
    check_prompts(config, plan, ImagePlan())
    check_loadable(options, config)
    check_checkpoint(options, config)
    source = checkpoint.resolve(options.pretrained)
    processor = load_processor(options, source, config) if plan.images.count > 0 else None
    if processor is not None and not reads_images(processor):
        message = f"{options.pretrained} reads text only. Leave --images and --image out."
        raise InvalidArgumentError(message)
    check_memory(
        options.pretrained,
        revision=options.revision,
        device=options.device,
        device_map=None,
        dtype=options.dtype,
    )
    model = load_model(options, source, config)
    replace_generation_config(model)
    use_experts(model, experts_implementation)
    facts = {"name": options.pretrained, "weights": "trained"}
    return bench_target(model, facts, plan, processor), plan


def _model_facts(model: Any, description: MoEDescription) -> dict[str, Any]:  # noqa: ANN401
    text = model.config.get_text_config()
    return {
        "backend": "hf",
        **model_sizes(model.config, description),
        "attn_implementation": getattr(text, "_attn_implementation", None),
        "experts_implementation": getattr(text, "_experts_implementation", None),
    }
