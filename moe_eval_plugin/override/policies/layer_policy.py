"""The policy of a rule in one MoE layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM
from moe_eval_plugin.override.policies.parsing import find_policy
from moe_eval_plugin.plugins.policy import LayerChoice, at_position

if TYPE_CHECKING:
    from torch import Tensor

    from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
    from moe_eval_plugin.experts.tokens import Modality
    from moe_eval_plugin.override.forward_pass import ForwardPass


@dataclass(frozen=True)
class LayerPlace:
    """Which MoE layer of a model it is, and whose tokens reach it."""

    layer: int | None
    """Number of the decoder layer; ``None`` where module paths have none."""
    position: int
    """Number of the decoder layer among those with routed experts, from 0."""
    modality: Modality | None = None
    """The modality whose tokens alone reach it; ``None`` for all tokens."""


class LayerPolicy:
    """Marks the experts of a layer's tokens that the policy of a rule keeps."""

    def __init__(self, rule: RoutingRule, place: LayerPlace, forward_pass: ForwardPass) -> None:
        self._policy = find_policy(rule.policy)
        self._parameters = [at_position(one, place.position) for one in rule.parameters]
        self._place = place
        self._forward_pass = forward_pass

    def keep(self, weights: Tensor) -> Tensor:
        """Return which experts are kept, from the weights of the chosen ones, both (tokens, k).

        The expert with the largest weight is always kept. Raises ``OverrideError`` where the
        policy needs the modality of tokens, and it is not known.
        """
        place = self._place
        is_image = self._image_tokens(weights) if self._policy.needs_modality else None
        choice = LayerChoice(weights.float(), place.layer, place.position, is_image)
        kept = self._policy.keep(choice, *self._parameters)
        return kept.scatter(-1, weights.argmax(-1, keepdim=True), value=True)

    def _image_tokens(self, weights: Tensor) -> Tensor:
        """Return which tokens are image tokens, (tokens,), without waiting for the device."""
        if self._place.modality is not None:
            is_image = self._place.modality == "image"
            return weights.new_full(weights.shape[:1], is_image).bool()
        return self._forward_pass.is_image(weights)


def layer_policy(
    rule: RoutingRule, place: LayerPlace, forward_pass: ForwardPass
) -> LayerPolicy | None:
    """Return the policy of a rule in a layer; ``None`` where the rule drops no experts."""
    return None if rule.policy == UNIFORM else LayerPolicy(rule, place, forward_pass)
