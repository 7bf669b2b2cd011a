"""What is asked of a transformers model, and what its configuration alone can tell about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.option_checks import DTYPES, check_choice
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedule import constant_schedule
from moe_eval_plugin.experts.schedule_parser import parse_experts_k
from moe_eval_plugin.models import checkpoint, parameters
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.policies import parse_rule

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.routing_rule import RoutingRule
    from moe_eval_plugin.experts.schedule import ResolvedSchedule

EXPERTS_IMPLEMENTATIONS = (None, "eager", "grouped_mm", "batched_mm")


@dataclass(frozen=True)
class EngineOptions:
    """How a model is loaded. ``None`` leaves a choice to transformers or to the checkpoint."""

    pretrained: str
    revision: str | None = None
    experts_k: object = None
    experts_policy: str | None = None
    renorm: str | None = None
    experts_implementation: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    device_map: str | None = None
    attn_implementation: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("experts_implementation", self.experts_implementation, EXPERTS_IMPLEMENTATIONS)


@dataclass(frozen=True)
class Request:
    """What was asked of a model, checked against its configuration."""

    config: PretrainedConfig
    description: MoEDescription
    rule: RoutingRule
    resolved: ResolvedSchedule | None


def check_request(options: EngineOptions) -> Request:
    """Check all that the configuration can tell, before a weight is read.

    Raises the errors of ``checkpoint`` and ``spec``.
    """
    config = checkpoint.load_config(
        options.pretrained,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    description = describe(config)
    rule = parse_rule(options.experts_policy, options.renorm)
    schedule = parse_experts_k(options.experts_k)
    if schedule is None and not rule.is_native:
        # A rule alone works at the baseline k.
        schedule = constant_schedule(description.num_experts_per_tok)
    if schedule is None:
        return Request(config, description, rule, None)
    layers = None
    if schedule.names_layers and description.is_moe:
        found = parameters.count_parameters(
            config, trust_remote_code=options.trust_remote_code
        ).layers
        layers = sorted({n for x in found if (n := layer_number(x.path)) is not None})
    return Request(config, description, rule, schedule.resolve(description, layers))
