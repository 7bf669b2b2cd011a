"""What is asked of a transformers model, and what its configuration alone can tell about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin import checkpoint, cost
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.families import describe
from moe_eval_plugin.places import layer_number
from moe_eval_plugin.policies import parse_rule
from moe_eval_plugin.schedule import parse_experts_k
from moe_eval_plugin.spec import constant_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig

    from moe_eval_plugin.families import MoEDescription
    from moe_eval_plugin.spec import ResolvedSchedule, RoutingRule

DTYPES = ("auto", "bfloat16", "float16", "float32")
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
        found = cost.count_parameters(config, trust_remote_code=options.trust_remote_code).layers
        layers = sorted({n for x in found if (n := layer_number(x.path)) is not None})
    return Request(config, description, rule, schedule.resolve(description, layers))


def check_choice(name: str, value: str | None, allowed: Sequence[str | None]) -> None:
    """Raise ``InvalidArgumentError`` if ``value`` is not one of those that are allowed."""
    if value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed if choice is not None)
        message = f"{name}={value} is not known. Use one of: {choices}."
        raise InvalidArgumentError(message)
