"""What the modules of a model show: its parameters, its decoder layers, and the cost of a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.architecture import Architecture, read_architecture
from moe_eval_plugin.models.parameters import ParameterCounts, build_on_meta, count_built

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost


@dataclass(frozen=True)
class ModelParts:
    """What was read from the modules of a model; ``None`` where it could not be read."""

    counts: ParameterCounts | None = None
    """Parameters in total, and of the routed experts."""
    counts_unknown_reason: str | None = None
    """Why they could not be counted."""
    architecture: Architecture | None = None
    """Decoder layers and image tower."""
    cost: LanguageModelCost | None = None
    """Sizes that determine the cost of a token."""
    cost_unknown_reason: str | None = None
    """Why the cost is unknown."""


def built_parts(
    config: PretrainedConfig, description: MoEDescription, *, trust_remote_code: bool
) -> ModelParts:
    """Return what the modules show that transformers builds without weights."""
    try:
        built = build_on_meta(config, trust_remote_code=trust_remote_code)
        counts = count_built(built, description)
    except UserError as error:
        return ModelParts(counts_unknown_reason=str(error), cost_unknown_reason=str(error))
    try:
        architecture = read_architecture(built, counts.layers)
    except UserError as error:
        return ModelParts(counts, cost_unknown_reason=str(error))
    cost, reason = architecture.cost, architecture.cost_unknown_reason
    if cost is not None and description.is_moe and not cost.routed_layers:
        cost, reason = None, "No routed experts were found among the modules of the model."
    if cost is not None and description.computes_all_experts:
        cost, reason = None, "All experts compute every token, so a smaller k saves nothing."
    return ModelParts(counts, None, architecture, cost, reason)
