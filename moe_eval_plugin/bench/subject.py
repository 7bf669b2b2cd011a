"""Steady decode: how fast a model generates a fixed number of tokens, at each k and batch size.

``run`` measures a whole plan, for ``moe-eval bench``; ``steady_decode`` one model as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.efficiency import EfficiencyModel, Hardware
from moe_eval_plugin.bench.engines.transformers import TransformersEngine
from moe_eval_plugin.bench.report import BenchReport, fit_over_experts, make_points, reference_k
from moe_eval_plugin.bench.runner import measure
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.architecture import read_architecture
from moe_eval_plugin.models.dtypes import dtype_bytes
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.parameters import count_built

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig

    from moe_eval_plugin.bench.plan import BenchPlan, ImagePlan
    from moe_eval_plugin.bench.runner import BenchEngine, Progress
    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.hardware.device import DeviceFacts
    from moe_eval_plugin.models.cost_model import LanguageModelCost


@dataclass(frozen=True)
class BenchTarget:
    """What is benched: an engine, and what is known of its model.

    ``model`` holds facts for the record, as plain data. ``cost`` is ``None`` where it cannot be
    told, for the reason beside it. ``notes`` tell what must be known to read the numbers.
    """

    engine: BenchEngine
    model: Mapping[str, Any]
    dtype: str
    baseline: int | None
    cost: LanguageModelCost | None = None
    cost_unknown_reason: str | None = None
    notes: tuple[str, ...] = ()


def run(
    subject: BenchTarget,
    plan: BenchPlan,
    device: DeviceFacts,
    progress: Progress = lambda _text: None,
) -> BenchReport:
    """Verify and time every k at every batch size, and judge what came out.

    Raises what the engine raises: ``OverrideNotEffectiveError`` before any time is taken.
    """
    measured = measure(subject.engine, plan, progress)
    reference = reference_k(plan, subject.baseline)
    points = make_points(measured, plan, reference, _judge(subject, device))
    return BenchReport(
        model=subject.model,
        device=device.to_dict(),
        energy=subject.engine.energy(),
        plan=plan,
        reference_num_experts_per_tok=reference,
        points=points,
        decode_step_fit=fit_over_experts(
            points, lambda point: point.speed.tpot_s.median if point.speed.tpot_s else None
        ),
        expert_layer_fit=fit_over_experts(points, lambda point: point.expert_layer_s),
        notes=(*subject.notes, *measured.notes),
        reasons=(subject.cost_unknown_reason,) if subject.cost_unknown_reason else (),
    )


def subject_of(
    model: Any,  # noqa: ANN401
    facts: Mapping[str, Any],
    plan: BenchPlan,
    processor: Any = None,  # noqa: ANN401
) -> BenchTarget:
    """Prepare a loaded transformers model; ``facts`` say where it came from, for the record.

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
    inputs = _inputs(model, plan.images, processor, plan.seed)
    return BenchTarget(
        engine=TransformersEngine(model, inputs, description, cost),
        model={**facts, **_facts(model, description), **counted, "dtype": dtype},
        dtype=dtype,
        baseline=description.num_experts_per_tok or None,
        cost=cost,
        cost_unknown_reason=reason,
    )


def read_cost(
    model: Any,  # noqa: ANN401
    description: MoEDescription,
) -> tuple[LanguageModelCost | None, str | None, dict[str, Any]]:
    """Read the sizes of a model, which may be without weights: what it costs, and its counts.

    Where the cost cannot be told, the reason stands in its place.
    """
    counts = count_built(model, model.config)
    counted = {
        "num_expert_modules": len(counts.layers),
        "total_parameters": counts.total,
        "routed_parameters": counts.routed,
    }
    if description.computes_all_experts:
        return None, "All experts compute every token, so a smaller k saves nothing.", counted
    try:
        anatomy = read_architecture(model, counts.layers)
    except UserError as error:
        return None, str(error), counted
    return anatomy.cost, anatomy.cost_unknown_reason, counted


def shape_facts(config: PretrainedConfig, description: MoEDescription) -> dict[str, Any]:
    """Give the sizes of a model that its configuration tells, for the record."""
    text = config.get_text_config()
    return {
        "model_type": description.model_type,
        "num_hidden_layers": getattr(text, "num_hidden_layers", None),
        "hidden_size": getattr(text, "hidden_size", None),
        "num_experts": description.num_experts,
        "num_shared_experts": description.num_shared_experts,
        "baseline_num_experts_per_tok": description.num_experts_per_tok or None,
    }


def _inputs(model: Any, images: ImagePlan, processor: Any, seed: int) -> BenchInputs:  # noqa: ANN401
    return BenchInputs(model.config, str(model.device), model.dtype, images, processor, seed)


def _facts(model: Any, description: MoEDescription) -> dict[str, Any]:  # noqa: ANN401
    text = model.config.get_text_config()
    return {
        "backend": "hf",
        **shape_facts(model.config, description),
        "attn_implementation": getattr(text, "_attn_implementation", None),
        "experts_implementation": getattr(text, "_experts_implementation", None),
    }


def _judge(subject: BenchTarget, device: DeviceFacts) -> EfficiencyModel | None:
    if subject.cost is None:
        return None
    hardware = Hardware(device.memory_bandwidth_bytes_per_s, device.peak(subject.dtype))
    return EfficiencyModel(subject.cost, hardware, dtype_bytes(subject.dtype))
