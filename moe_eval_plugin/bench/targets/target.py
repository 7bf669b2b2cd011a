"""A model that is ready to be benched, whatever runs it: engine, sizes, plan and device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.architecture import read_architecture
from moe_eval_plugin.models.parameters import count_built

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.engines.engine import BenchEngine
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.hardware.device import DeviceFacts
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost


@dataclass(frozen=True)
class BenchTarget:
    """An engine, and what is known of its model."""

    engine: BenchEngine
    """Runs the model."""
    model: Mapping[str, Any]
    """Name, sizes and settings of the model for the record, as plain data."""
    dtype: str
    """Data type of the weights, or their quantization."""
    baseline: int | None
    """The published k; ``None`` for a dense model."""
    cost: LanguageModelCost | None = None
    """FLOPs and bytes of a token; ``None`` where they are not known."""
    cost_unknown_reason: str | None = None
    """Why ``cost`` is not known."""
    notes: tuple[str, ...] = ()
    """What a reader must know to interpret the numbers."""


@dataclass(frozen=True)
class PreparedBench:
    """All that a bench needs: the target, the plan completed for it, and its device."""

    target: BenchTarget
    plan: BenchPlan
    device: DeviceFacts


def read_cost(
    model: Any,  # noqa: ANN401  (one of many model classes)
    description: MoEDescription,
) -> tuple[LanguageModelCost | None, str | None, dict[str, Any]]:
    """Return the cost of a token, the reason if it is unknown, and the parameter counts.

    ``model`` may be without weights.
    """
    counts = count_built(model, description)
    counted = {
        "num_expert_modules": len(counts.layers),
        "total_parameters": counts.total,
        "routed_parameters": counts.routed,
    }
    if description.computes_all_experts:
        return None, "All experts compute every token, so a smaller k saves nothing.", counted
    try:
        architecture = read_architecture(model, counts.layers)
    except UserError as error:
        return None, str(error), counted
    return architecture.cost, architecture.cost_unknown_reason, counted


def model_sizes(config: PretrainedConfig, description: MoEDescription) -> dict[str, Any]:
    """Return the sizes of a model that its configuration states, for the record."""
    text = config.get_text_config()
    return {
        "model_type": description.model_type,
        "num_hidden_layers": getattr(text, "num_hidden_layers", None),
        "hidden_size": getattr(text, "hidden_size", None),
        "num_experts": description.num_experts,
        "num_shared_experts": description.num_shared_experts,
        "baseline_num_experts_per_tok": description.num_experts_per_tok or None,
    }
