"""What a setting asks of a model: k by layer and kind of token, and its share of the price."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.costs.cost_at_k import Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality, Phase
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost
    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy


@dataclass(frozen=True)
class TokenPrice:
    """The k of one kind of token, and its share of the published model's price."""

    name: str
    """``k`` if all tokens have the same k, otherwise ``text``, ``image``, ``prefill`` or
    ``decode``."""
    modality: Modality
    """Modality of the tokens."""
    phase: Phase
    """Phase of the tokens."""
    k_by_layer: dict[int, int]
    """k by number of the decoder layer."""
    mean_k: float
    """Mean k over these layers."""
    experts_share: float
    """Mean k as a share of the published k."""
    prefill_flops_share: float | None
    """Share of the published FLOPs per prompt token; ``None`` if unknown, and for decode."""
    decode_flops_share: float | None
    """Share of the published FLOPs per new token; ``None`` if unknown, and for prefill."""


@dataclass(frozen=True)
class Overview:
    """What a setting asks of a model; without a model only the setting itself is known."""

    experts_k: str | None
    """The schedule as text; ``None`` for a policy."""
    experts_policy: str | None
    """The policy as text; ``None`` for a schedule."""
    model: str | None
    """Name of the model; ``None`` if none is known."""
    model_type: str | None
    """Model type of its configuration."""
    num_experts: int | None
    """Routed experts of a layer that compute."""
    published_k: int | None
    """Routed experts per token of the published model."""
    context_length: int
    """Length of the prompt that FLOPs are computed for, in tokens."""
    tokens: tuple[TokenPrice, ...]
    """One entry for each kind of token whose k differs; empty for a policy and without a model."""
    warnings: tuple[str, ...]
    """What to know about this model's k, a sentence each."""
    tuning: dict[str, Any] | None
    """How the setting was found, from its file; ``None`` for one that a user wrote."""
    model_unknown_reason: str | None
    """Why the model that the file names could not be read."""

    def to_dict(self) -> dict[str, Any]:
        """Return the overview as plain data, for JSON."""
        return asdict(self)


def overview(setting: SettingToDeploy) -> Overview:
    """Return what a setting asks of its model.

    The model is built on the meta device, for its layers and their sizes.
    """
    request = setting.request
    description = request.description if request else None
    return Overview(
        experts_k=setting.schedule.text if setting.schedule else None,
        experts_policy=setting.policy,
        model=request.model.pretrained if request else None,
        model_type=description.model_type if description else None,
        num_experts=description.num_experts if description else None,
        published_k=description.num_experts_per_tok if description else None,
        context_length=Scenario().context_length,
        tokens=tuple(_tokens(setting)),
        warnings=request.warnings if request else (),
        tuning=setting.tuning.to_dict() if setting.tuning else None,
        model_unknown_reason=setting.model_unknown_reason,
    )


def kinds_of(resolved: ResolvedSchedule) -> list[tuple[str, Modality, Phase]]:
    """List the kinds of token that a schedule distinguishes: name, modality, phase."""
    if resolved.differs_by_modality and resolved.differs_by_phase:
        return [
            ("text", "text", "prefill"),
            ("image", "image", "prefill"),
            ("decode", "text", "decode"),
        ]
    if resolved.differs_by_modality:
        return [("text", "text", "prefill"), ("image", "image", "prefill")]
    if resolved.differs_by_phase:
        return [("prefill", "text", "prefill"), ("decode", "text", "decode")]
    return [("k", "text", "prefill")]


def _tokens(setting: SettingToDeploy) -> list[TokenPrice]:
    request = setting.request
    if setting.schedule is None or request is None or request.resolved is None:
        return []
    resolved, published = request.resolved, request.description.num_experts_per_tok
    layers = request.model.moe_layers
    # Experts that compute nothing count in k, and how often tokens choose them is not known here.
    cost = request.model.cost if not request.description.num_zero_experts else None
    found = []
    for name, modality, phase in kinds_of(resolved):
        ks = {layer: resolved.k_of(layer, modality, phase) for layer in layers}
        mean = sum(ks.values()) / len(ks)
        for_all = not resolved.differs_by_phase
        shares = _flop_shares(cost, [*ks.values()], published)
        found.append(
            TokenPrice(
                name=name,
                modality=modality,
                phase=phase,
                k_by_layer=ks,
                mean_k=mean,
                experts_share=mean / published,
                prefill_flops_share=shares[0] if phase == "prefill" else None,
                decode_flops_share=shares[1]
                if phase == "decode" or (for_all and modality == "text")
                else None,
            )
        )
    return found


def _flop_shares(
    cost: LanguageModelCost | None, ks: Sequence[int], published: int
) -> tuple[float | None, float | None]:
    """Return the shares of prefill and of decode; ``None`` where the layers' sizes are unknown."""
    if cost is None or len(cost.routed_layers) != len(ks):
        return None, None
    n = Scenario().context_length
    prefill = cost.prefill_flops(ks, n).total / cost.prefill_flops(published, n).total
    decode = cost.decode_flops(ks, n).total / cost.decode_flops(published, n).total
    return prefill, decode
