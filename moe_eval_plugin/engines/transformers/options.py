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
    """``demo``, a folder, or a model id of the hub; default: ``$MOE_EVAL_PRETRAINED``, else
    ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    revision: str | None = None
    """A branch, tag or commit of the hub; default: the main branch."""
    experts_k: object = None
    """Routed experts per token: a number, a schedule, or ``@`` and the path of a YAML file;
    default: the published k."""
    experts_policy: str | None = None
    """Which of the chosen experts are dropped: ``uniform``, ``top_p:NUMBER``, ``threshold:NUMBER``,
    or a policy of a plugin; default: ``uniform``, none."""
    renorm: str | None = None
    """What the weights of the remaining experts add up to: ``native``, ``keep-mass`` or ``unit``;
    default: ``native``, as the router makes them."""
    experts_implementation: str | None = None
    """``eager``, ``grouped_mm`` or ``batched_mm``; default: chosen by transformers."""
    dtype: str = "auto"
    """``auto``, ``bfloat16``, ``float16`` or ``float32``; default: ``auto``, the type that the
    checkpoint names."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:0``, ...; default: the GPU if there is one, else ``cpu``."""
    device_map: str | None = None
    """``auto`` spreads the model over all GPUs; default: the whole model on ``device``."""
    attn_implementation: str | None = None
    """``eager``, ``sdpa``, ``flash_attention_2``, ...; default: chosen by transformers."""
    min_pixels: int | None = None
    """Lower limit of an image's size in pixels, where the processor has one; default: its own."""
    max_pixels: int | None = None
    """Upper limit of an image's size in pixels, where the processor has one; default: its own."""
    trust_remote_code: bool = False
    """``true`` runs Python code that comes with the checkpoint; default: ``false``."""

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
