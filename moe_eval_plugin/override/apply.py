"""The override as a transaction: find, validate, apply, observe, verify, restore.

``apply`` sets k on a loaded model for as long as its block runs and puts everything back
afterwards, whatever happens inside. It returns a trace: each place that was looked at, accepted
or rejected, with the reason. Setting an attribute proves nothing, because some are dead copies;
``verify`` compares what tokens were observed to use, and only its result may stand beside a number.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakSet

from moe_eval_plugin.errors import OverrideError, UnsupportedFamilyError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.routing_rule import NATIVE, RoutingRule
from moe_eval_plugin.experts.trace import NoRouterFoundError, OverrideTrace, RouterDecision
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.moe_layers import find_experts
from moe_eval_plugin.override.expert_choice import LayerPlan, change_choices
from moe_eval_plugin.override.forward_pass import track_forward_passes
from moe_eval_plugin.override.k_search import find_k_locations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality, Phase
    from moe_eval_plugin.override.k_location import KLocation

# Within an override the model does not hold its baseline k, which the search for places needs.
_UNDER_OVERRIDE: WeakSet[nn.Module] = WeakSet()
ONE_VALUE = "one value for all layers and tokens cannot hold this schedule"


@contextmanager
def apply(
    model: nn.Module, resolved: ResolvedSchedule, rule: RoutingRule = NATIVE
) -> Iterator[OverrideTrace]:
    """Set k on each router of a model, and restore the model exactly when the block ends.

    What attributes cannot say, different k for text and image tokens or a rule that drops experts,
    is done at the door of the experts (``routing``). Raises ``NoRouterFoundError`` if there is
    no place for k, ``OverrideError`` for a compiled model and for one that is already under an
    override, and ``UnsupportedFamilyError`` where the schedule or the rule needs what the model
    does not offer; the model is unchanged then.
    """
    _refuse_nested(model)
    _refuse_compiled(model)
    description = describe(model.config)
    found = [_judge(place, resolved) for place in find_k_locations(model)]
    trace = OverrideTrace(resolved.schedule.text, tuple(decision for _, decision in found))
    if not trace.accepted:
        raise NoRouterFoundError(_nothing_found(model, trace), trace.decisions)
    setting = _Setting([place for place, decision in found if decision.accepted], resolved)
    with ExitStack() as stack:
        stack.callback(setting.restore)
        stack.callback(_UNDER_OVERRIDE.discard, model)
        _UNDER_OVERRIDE.add(model)
        setting.set_phase("prefill")
        if resolved.differs_by_phase or resolved.differs_by_modality or not rule.is_native:
            experts = list(find_experts(model))
            passes = track_forward_passes(
                model, experts, lambda begun: setting.set_phase(begun.phase)
            )
            forward_pass = stack.enter_context(passes)
            plans = _plans(experts, setting, rule, description)
            stack.enter_context(change_choices(model, plans, rule, forward_pass))
        yield trace


class _Setting:
    """The places that were accepted, and what stands in them during a forward pass."""

    def __init__(self, places: list[KLocation], resolved: ResolvedSchedule) -> None:
        self.places = places
        self.resolved = resolved
        self.phase: Phase = "prefill"

    def restore(self) -> None:
        """Put everything back, in the opposite order."""
        for place in reversed(self.places):
            place.restore()

    def set_phase(self, phase: Phase) -> None:
        """Set the k of a phase. A router of both modalities gets the larger of their k."""
        self.phase = phase
        for place in self.places:
            place.set(self._k_of(place))

    def k_by_kind(self, layer: int | None) -> tuple[int, int]:
        """Give the k of text and of image tokens in a layer, in the present phase."""
        text = self.resolved.k_of(layer, "text", self.phase)
        if self.phase == "decode":
            return text, text
        return text, self.resolved.k_of(layer, "image", self.phase)

    def _k_of(self, place: KLocation) -> int:
        if place.layer is None and self.resolved.num_experts_per_tok is not None:
            return self.resolved.num_experts_per_tok
        text, image = self.k_by_kind(place.layer)
        by_modality: dict[Modality | None, int] = {"text": text, "image": image}
        return by_modality.get(place.modality, max(text, image))


def _judge(place: KLocation, resolved: ResolvedSchedule) -> tuple[KLocation, RouterDecision]:
    """Reject a place that cannot hold the schedule, and one of a layer without experts."""
    decision = place.decision
    reason = None
    if place.layer is None and resolved.num_experts_per_tok is None:
        reason = ONE_VALUE
    elif place.layer is not None and not resolved.speaks_of(place.layer):
        reason = "the layer has no routed experts"
    if decision.accepted and reason:
        return place, replace(decision, accepted=False, reason=reason)
    return place, decision


def _plans(
    experts: list[str], setting: _Setting, rule: RoutingRule, description: MoEDescription
) -> list[LayerPlan]:
    """Plan what happens at each door; none where each modality has routers of its own.

    Experts without a place for k belong to another part of the model, an image tower for instance.
    """
    by_modality = setting.resolved.differs_by_modality
    if rule.is_native and not by_modality:
        return []
    mass_k = description.num_experts_per_tok if rule.renorm == "keep-mass" else None
    plans = []
    for path in experts:
        layer = layer_number(path)
        mine = [p for p in setting.places if p.layer == layer and _is_in_block(p, path)]
        own_router = any(place.modality for place in mine)
        if not mine or (rule.is_native and own_router):
            continue
        plans.append(_plan(path, mine, setting, mass_k, description))
    if not plans and not any(place.modality for place in setting.places):
        message = (
            f"{description.model_type} keeps one k for all its layers, so text and image tokens "
            "cannot use different k and experts cannot be dropped. Give it a number as experts_k, "
            "without experts_policy and renorm."
        )
        raise UnsupportedFamilyError(message)
    return plans


def _plan(
    path: str,
    places: list[KLocation],
    setting: _Setting,
    mass_k: int | None,
    description: MoEDescription,
) -> LayerPlan:
    layer = layer_number(path)
    modality = next((place.modality for place in places if place.modality), None)

    def set_k(k: int) -> None:
        for place in places:
            place.set(k)

    def k_by_kind() -> tuple[int, int]:
        text, image = setting.k_by_kind(layer)
        return {"text": (text, text), "image": (image, image)}.get(str(modality), (text, image))

    return LayerPlan(
        experts_path=path,
        set_k=set_k,
        k_by_kind=k_by_kind,
        mass_k=mass_k,
        renormalises=bool(description.norm_topk_prob),
        routes_apart=mass_k is not None or (setting.resolved.differs_by_modality and not modality),
    )


def _is_in_block(place: KLocation, experts_path: str) -> bool:
    """Tell whether a place decides for these experts: it stands beside them or within their block.

    A place of another block of the same layer (attention that routes too) does not.
    """
    block = experts_path.rpartition(".")[0]
    return f"{place.decision.path}.".startswith(f"{block}.")


def _refuse_nested(model: nn.Module) -> None:
    if model in _UNDER_OVERRIDE:
        message = (
            f"{type(model).__name__} is under an override already. Leave the block of the first "
            "one before the next k is applied: overrides cannot be nested."
        )
        raise OverrideError(message)


def _refuse_compiled(model: nn.Module) -> None:
    """Raise ``OverrideError`` for a compiled model: its graphs hold the k they were made with."""
    from torch._dynamo import OptimizedModule

    compiled = [
        path or "the model"
        for path, module in model.named_modules()
        if isinstance(module, OptimizedModule) or getattr(module, "_compiled_call_impl", None)
    ]
    if compiled:
        message = (
            f"{compiled[0]} is compiled (torch.compile), and a compiled graph may keep the number "
            "of experts that it was made with. Set experts_k before compiling, on the model as "
            "it was loaded."
        )
        raise OverrideError(message)


def _nothing_found(model: nn.Module, trace: OverrideTrace) -> str:
    lines = [
        (
            f"No router of {type(model).__name__} could be set to experts_k={trace.experts_k}. "
            f"{len(trace.decisions)} places were looked at:"
        )
    ]
    lines += [f"  {d.path}.{d.attribute} ({d.owner}): {d.reason}" for d in trace.decisions[:8]]
    lines.append("Leave experts_k out to run the model as published.")
    return "\n".join(lines)
