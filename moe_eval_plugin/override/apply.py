"""The override as a transaction: find, validate, apply, observe, verify, restore.

``apply`` sets k on a loaded model while its block runs and restores everything afterwards,
whatever happens inside. It yields a trace: each location of k, accepted or rejected, with the
reason. Setting an attribute proves nothing, because some are dead copies: ``verify`` compares the
requested k with the experts that tokens used, and only a verified k may be reported.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import OverrideError, UnsupportedFamilyError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE, RoutingRule
from moe_eval_plugin.experts.trace import NoRouterFoundError, OverrideTrace, RouterDecision
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.moe_layers import find_experts
from moe_eval_plugin.override.expert_choice import LayerPlan, accept_single_choices, change_choices
from moe_eval_plugin.override.forward_pass import KByKind, track_forward_passes
from moe_eval_plugin.override.k_search import find_k_locations
from moe_eval_plugin.override.policies.layer_policy import LayerPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality, Phase
    from moe_eval_plugin.override.forward_pass import ForwardPass
    from moe_eval_plugin.override.k_location import KLocation

# Set on a model under an override: it does not hold its baseline k, which the search needs.
UNDER_OVERRIDE = "_moe_eval_under_override"
ONE_VALUE = "one value for all layers and tokens cannot hold this schedule"


@contextmanager
def apply(
    model: nn.Module,
    resolved: ResolvedSchedule,
    rule: RoutingRule = NATIVE,
    description: MoEDescription | None = None,
    *,
    has_answers: bool = False,
) -> Iterator[OverrideTrace]:
    """Set k on each router of a model, and restore the model exactly when the block ends.

    What no attribute can express, different k for text and image tokens or a rule that drops
    experts, is done by rewriting the choice in the call of the experts (``expert_choice``).
    ``description`` is that of ``model.config``, where it was read already. With ``has_answers``,
    passes over prompts with their answers (``forward_pass.answers_from``) use the k of both phases.

    Raises ``NoRouterFoundError`` if no location of k can be set, ``OverrideError`` for a compiled
    model and for one that is already under an override, ``UnsupportedFamilyError`` where the model
    does not support the schedule or the rule, and ``MeasurementError`` where these need the phase
    or the modality of tokens and the model's names do not show it; the model is unchanged then.
    """
    _refuse_nested(model)
    _refuse_compiled(model)
    description = description or describe(model.config)
    found = [_decide(location, resolved) for location in find_k_locations(model, description)]
    trace = OverrideTrace(resolved.schedule.text, tuple(decision for _, decision in found))
    if not trace.accepted:
        raise NoRouterFoundError(_nothing_found(model, trace), trace.decisions)
    accepted = [location for location, decision in found if decision.accepted]
    setting = _Setting(accepted, resolved, splits_answers=has_answers and resolved.differs_by_phase)
    with ExitStack() as stack:
        stack.callback(setting.restore)
        stack.callback(delattr, model, UNDER_OVERRIDE)
        setattr(model, UNDER_OVERRIDE, True)
        setting.set_phase("prefill")
        if 1 in resolved.table.values():
            stack.enter_context(accept_single_choices(model))
        if resolved.differs_by_phase or resolved.differs_by_modality or not rule.is_native:
            experts = list(find_experts(model))
            passes = track_forward_passes(model, experts, setting.begin)
            forward_pass = stack.enter_context(passes)
            plans = _plans(experts, setting, rule, description)
            stack.enter_context(change_choices(model, plans, rule, forward_pass))
        yield trace


class _Setting:
    """The accepted locations, and the k that they hold in the current phase."""

    def __init__(
        self, locations: list[KLocation], resolved: ResolvedSchedule, *, splits_answers: bool
    ) -> None:
        self.locations = locations
        self.resolved = resolved
        self.splits_answers = splits_answers
        self.phase: Phase = "prefill"
        self._has_answers = False

    def restore(self) -> None:
        """Restore all locations, in reverse order."""
        for location in reversed(self.locations):
            location.restore()

    def locations_of(self, experts_path: str) -> list[KLocation]:
        """List the locations that set the k of an experts module."""
        layer = layer_number(experts_path)
        return [x for x in self.locations if x.layer == layer and _is_in_block(x, experts_path)]

    def begin(self, forward_pass: ForwardPass) -> None:
        """Set the k of a pass that begins."""
        self._has_answers = self.splits_answers and forward_pass.is_answer is not None
        self.set_phase(forward_pass.phase)

    def set_phase(self, phase: Phase) -> None:
        """Set the k of a phase. A router of several kinds of token is set to their largest k."""
        self.phase = phase
        for location in self.locations:
            location.set(self._k_of(location))

    def k_by_kind(self, layer: int | None, modality: Modality | None = None) -> KByKind:
        """Return the k of a layer, or of the router of one ``modality`` in it, in this pass."""
        text = self.resolved.k_of(layer, "text", self.phase)
        image = text if self.phase == "decode" else self.resolved.k_of(layer, "image", "prefill")
        answer = self.resolved.k_of(layer, "text", "decode") if self._has_answers else text
        if modality == "image":
            return KByKind(image, image, image)
        return KByKind(text, text if modality else image, answer)

    def _k_of(self, location: KLocation) -> int:
        if location.layer is None and self.resolved.num_experts_per_tok is not None:
            return self.resolved.num_experts_per_tok
        return max(self.k_by_kind(location.layer, location.modality))


def _decide(location: KLocation, resolved: ResolvedSchedule) -> tuple[KLocation, RouterDecision]:
    """Reject a location that cannot hold the schedule, and one of a layer without experts."""
    decision = location.decision
    reason = None
    if location.layer is None and resolved.num_experts_per_tok is None:
        reason = ONE_VALUE
    elif location.layer is not None and not resolved.covers(location.layer):
        reason = "the layer has no routed experts"
    if decision.accepted and reason:
        return location, replace(decision, accepted=False, reason=reason)
    return location, decision


def _plans(
    experts: list[str], setting: _Setting, rule: RoutingRule, description: MoEDescription
) -> list[LayerPlan]:
    """Plan the rewriting in each MoE layer; none where each modality has routers of its own.

    Experts without a location of k belong to another part of the model, an image tower for
    instance.
    """
    by_modality = setting.resolved.differs_by_modality
    if rule.is_native and not by_modality and not setting.splits_answers:
        return []
    mass_k = description.num_experts_per_tok if rule.renorm == "keep-mass" else None
    located = {path: own for path in experts if (own := setting.locations_of(path))}
    layers = list(dict.fromkeys(map(layer_number, located)))
    plans = []
    for path, own in located.items():
        modality = next((location.modality for location in own if location.modality), None)
        if rule.is_native and (modality == "image" or (modality and not setting.splits_answers)):
            continue
        layer = layer_number(path)
        place = LayerPlace(layer, layers.index(layer), modality)
        plans.append(_plan(path, place, own, setting, mass_k, description))
    if not plans and not any(location.modality for location in setting.locations):
        message = (
            f"{description.model_type} stores one k for all its layers, so text and image tokens, "
            "or a prompt and its answer in one pass, cannot use different k, and experts cannot be "
            "dropped. Use a number as experts_k, "
            "without experts_policy and renorm."
        )
        raise UnsupportedFamilyError(message)
    if plans:
        rule.check_layers(len(layers), description.model_type)
    return plans


def _plan(
    path: str,
    place: LayerPlace,
    locations: list[KLocation],
    setting: _Setting,
    mass_k: int | None,
    description: MoEDescription,
) -> LayerPlan:
    modality = place.modality

    def set_k(k: int) -> None:
        for location in locations:
            location.set(k)

    splits_answers = setting.splits_answers and modality != "image"
    return LayerPlan(
        experts_path=path,
        place=place,
        set_k=set_k,
        k_by_kind=lambda: setting.k_by_kind(place.layer, modality),
        mass_k=mass_k,
        renormalises=bool(description.norm_topk_prob),
        splits_answers=splits_answers,
        needs_trial_routing=(
            mass_k is not None
            or splits_answers
            or (setting.resolved.differs_by_modality and not modality)
        ),
    )


def _is_in_block(location: KLocation, experts_path: str) -> bool:
    """Whether a location sets the k of these experts, because it is inside their parent module.

    A location in another block of the same layer (attention that routes too) is not.
    """
    block = experts_path.rpartition(".")[0]
    return f"{location.decision.path}.".startswith(f"{block}.")


def _refuse_nested(model: nn.Module) -> None:
    if hasattr(model, UNDER_OVERRIDE):
        message = (
            f"{type(model).__name__} is under an override already, and overrides cannot be nested. "
            "Leave the block of the first one before the next k is applied."
        )
        raise OverrideError(message)


def _refuse_compiled(model: nn.Module) -> None:
    """Raise ``OverrideError`` for a compiled model: its graphs keep the k of their compilation."""
    from torch._dynamo import OptimizedModule

    compiled = [
        path or "the model"
        for path, module in model.named_modules()
        if isinstance(module, OptimizedModule) or getattr(module, "_compiled_call_impl", None)
    ]
    if compiled:
        message = (
            f"{compiled[0]} is compiled (torch.compile), and a compiled graph may keep the number "
            "of experts that it was compiled with. Set experts_k before compiling, on the model "
            "as it was loaded."
        )
        raise OverrideError(message)


def _nothing_found(model: nn.Module, trace: OverrideTrace) -> str:
    lines = [
        (
            f"No router of {type(model).__name__} could be set to experts_k={trace.experts_k}. "
            f"{len(trace.decisions)} locations of k were checked:"
        )
    ]
    lines += [f"  {d.path}.{d.attribute} ({d.owner}): {d.reason}" for d in trace.decisions[:8]]
    lines.append("Leave experts_k out to run the model as published.")
    return "\n".join(lines)
