"""The plan that the arguments of ``moe-eval bench`` ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.subject import BenchTarget
    from moe_eval_plugin.hardware.device import DeviceFacts


@dataclass(frozen=True)
class Benched:
    """All that a bench needs: what is measured, in which order, and on which device."""

    subject: BenchTarget
    plan: BenchPlan
    device: DeviceFacts


def plan_of(options: argparse.Namespace, config: PretrainedConfig) -> BenchPlan:
    """Make the plan, and refuse what the configuration shows to be impossible."""
    import torch

    from moe_eval_plugin.bench.plan import BenchPlan, ImagePlan
    from moe_eval_plugin.bench.workload.inputs import BenchInputs
    from moe_eval_plugin.experts.description import halves
    from moe_eval_plugin.experts.schedule import constant_schedule
    from moe_eval_plugin.models.families import describe

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
