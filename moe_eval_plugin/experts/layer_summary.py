"""What one MoE layer was observed to do, as a record stores it and a report shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.ffn_use import FFNUse
from moe_eval_plugin.experts.skipped_experts import SkippedExperts, read_skipped_experts
from moe_eval_plugin.experts.tokens import CONTENT, PHASES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from moe_eval_plugin.json_object import JsonObject

TOKENS = {
    "text": [("prefill", "text"), ("decode", "text")],
    "image": [("prefill", "image"), ("decode", "image")],
    "prefill text": [("prefill", "text")],
    "decode text": [("decode", "text")],
}


@dataclass(frozen=True)
class LayerSummary:
    """Averages over the observed tokens of one MoE layer; ``None`` where nothing was observed."""

    path: str
    """Module path of the layer."""
    num_experts: int | None
    """Routed experts that compute."""
    observed_num_experts_per_tok: float | None
    """Mean k over phases and kinds of token, weighted by their numbers of tokens."""
    distinct_experts_per_prefill: float | None
    """Mean number of distinct experts that one prefill pass touched."""
    distinct_experts_per_decode_step: float | None
    """Mean number of distinct experts that one decode step touched."""
    load_entropy: float | None
    """Evenness of the load: 1 if all experts get as many tokens, 0 if one gets all."""
    ffn_use: FFNUse | None = None
    """FFN k, and the shares of the kinds of experts; ``None`` where all experts compute."""
    skipped_experts: SkippedExperts | None = None
    """Shares of the chosen experts that the policy skipped; ``None`` without a policy."""
    observed_by_tokens: Mapping[str, float] = field(default_factory=dict)
    """Mean k of some tokens: ``text``, ``image``, ``prefill text`` and ``decode text``."""


def read_layers(routing: JsonObject) -> tuple[LayerSummary, ...]:
    """Read the layers of an observation as ``Observation.to_dict`` writes it; none if absent.

    Raises ``DataError`` for a value of another type.
    """
    layers = routing.item("layers")
    if layers is None:
        return ()
    weights = _token_counts(routing)
    return tuple(_layer(path, layers.need_item(path), weights) for path in layers.values)


def read_ffn_use(of: JsonObject) -> FFNUse | None:
    """Read the FFN k of a layer, or of all; ``None`` in older files, and if all experts compute."""
    ffn_use = of.item("ffn_use")
    return FFNUse.from_dict(ffn_use) if ffn_use else None


def _token_counts(routing: JsonObject) -> dict[tuple[str, str], int]:
    """Map phase and modality to the number of observed tokens."""
    counts = routing.item("n_tokens")
    found = {} if counts is None else {phase: counts.item(phase) for phase in PHASES}
    return {
        (phase, modality): of.integer(modality) or 0
        for phase, of in found.items()
        if of is not None
        for modality in CONTENT
    }


def _layer(path: str, layer: JsonObject, weights: dict[tuple[str, str], int]) -> LayerSummary:
    load = layer.item("load")
    steps = layer.item("distinct_experts_per_step")
    of_phase = {phase: steps.item(phase) if steps else None for phase in PHASES}
    prefill, decode = of_phase["prefill"], of_phase["decode"]
    return LayerSummary(
        path=path,
        num_experts=layer.integer("num_experts"),
        observed_num_experts_per_tok=_mean_k(layer, weights),
        distinct_experts_per_prefill=prefill.number("mean") if prefill else None,
        distinct_experts_per_decode_step=decode.number("mean") if decode else None,
        load_entropy=load.number("entropy") if load else None,
        ffn_use=read_ffn_use(layer),
        skipped_experts=read_skipped_experts(layer),
        observed_by_tokens={
            name: k
            for name, kinds in TOKENS.items()
            if (k := _mean_k(layer, weights, kinds)) is not None
        },
    )


def _mean_k(
    layer: JsonObject,
    weights: dict[tuple[str, str], int],
    kinds: Collection[tuple[str, str]] | None = None,
) -> float | None:
    """Return the mean k of tokens of these phases and modalities, or of all."""
    observed = layer.item("observed_num_experts_per_tok")
    if observed is None:
        return None
    found: list[tuple[float, int]] = []
    for phase in PHASES:
        by_modality = observed.item(phase)
        if by_modality is None:
            continue
        for modality in CONTENT:
            k = by_modality.number(modality)
            if k is not None and (kinds is None or (phase, modality) in kinds):
                found.append((k, weights.get((phase, modality), 0)))
    total = sum(n for _, n in found)
    return sum(k * n for k, n in found) / total if total else None
