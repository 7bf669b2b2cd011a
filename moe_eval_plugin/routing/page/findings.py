"""Findings of a routing study as sentences, with their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import confidence_text, percent
from moe_eval_plugin.routing.page.sections.load import experts_for_half
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.routing.statistics.tables import Mass, RoutingStudy


@dataclass(frozen=True)
class Fact:
    """A number of the first screen."""

    label: str
    value: str
    lines: tuple[str, ...]
    sentence: str
    """The same as a sentence."""


def mass_at(study: RoutingStudy, k: int) -> Mass:
    """Return the mass retained at k, mean over tokens and layers."""
    return next(one for one in study.summary[0].mass or () if one.k == k)


def load_fact(study: RoutingStudy) -> Fact:
    """Return the layer that has half of its choices in the smallest share of its experts."""
    found = [
        (experts_for_half(one.groups[0].load), one.num_experts + one.num_zero_experts, name)
        for name, one in named_layers(study)
    ]
    half, n_experts, name = min(found, key=lambda each: each[0] / each[1])
    return Fact(
        label="Most concentrated layer",
        value=f"Layer {name}: {half} of {n_experts}",
        lines=(
            "experts have half of its choices",
            f"with an equal load it would be {-(-n_experts // 2)}",
        ),
        sentence=f"Layer {name} makes half of its choices from {half} of {n_experts} experts",
    )


def unused_fact(study: RoutingStudy) -> Fact:
    """Return the number of experts that no token chose."""
    layers = named_layers(study)
    n_experts = sum(one.num_experts + one.num_zero_experts for _, one in layers)
    unused = [(len(one.groups[0].load.unused), name) for name, one in layers]
    n_unused = sum(n for n, _ in unused)
    most, name = max(unused, key=lambda each: each[0])
    where = f"most in layer {name}: {most}" if n_unused else "each was chosen at least once"
    return Fact(
        label="Unused experts",
        value=f"{n_unused:,} of {n_experts:,}",
        lines=("in all layers, chosen by no token", where),
        sentence=f"{n_unused:,} of {n_experts:,} experts were chosen by no token",
    )


def findings(study: RoutingStudy) -> tuple[str, ...]:
    """Return what else was found, a sentence each."""
    return (
        *_zero_experts(study),
        *_pairs(study),
        *_by_token(study),
        *_by_task(study),
        *_saturation(study),
    )


def _zero_experts(study: RoutingStudy) -> Iterator[str]:
    known = [
        (load.zero_share, name, load.ffn_k)
        for name, one in named_layers(study)
        if (load := one.groups[0].load).zero_share is not None
    ]
    if known:
        low, high = (pick(known, key=lambda each: each[0]) for pick in (min, max))
        mean = sum(one[2].mean for one in known if one[2]) / len(known)
        yield (
            f"Between {percent(low[0])} (layer {low[1]}) and {percent(high[0])} (layer {high[1]}) "
            f"of the choices are experts that compute nothing: a token uses {mean:.2f} computing "
            "experts of a layer on average."
        )


def _pairs(study: RoutingStudy) -> Iterator[str]:
    best = [
        (one.coactivation.pairs[0], name)
        for name, one in named_layers(study)
        if one.coactivation is not None and one.coactivation.pairs
    ]
    if best:
        pair, name = max(best, key=lambda each: each[0].lift)
        yield (
            f"Experts {pair.first} and {pair.second} of layer {name} are chosen together "
            f"{pair.lift:.1f} times as often as their loads alone lead to "
            f"({counted(pair.tokens, 'token')})."
        )


def _by_token(study: RoutingStudy) -> Iterator[str]:
    known = [(one.by_token, name) for name, one in named_layers(study) if one.by_token is not None]
    if known:
        low, high = (pick(known, key=lambda each: each[0].corrected) for pick in (min, max))
        least = f", and {percent(low[0].corrected)} in layer {low[1]}" if len(known) > 1 else ""
        yield (
            f"Choices follow the token alone, without its context, most in layer {high[1]}: "
            f"{percent(high[0].corrected)}{least}. Chance would be 0%, and 100% if nothing else "
            "mattered."
        )


def _by_task(study: RoutingStudy) -> Iterator[str]:
    known = [(one.by_task, name) for name, one in named_layers(study) if one.by_task is not None]
    if known:
        most, name = max(known, key=lambda each: each[0].information - each[0].chance)
        yield (
            f"A chosen expert tells most of its token's task in layer {name}: "
            f"{percent(most.information)} of what there is to know, and {percent(most.chance)} by "
            "chance."
        )


def _saturation(study: RoutingStudy) -> Iterator[str]:
    for one in (study.summary[0].saturation or ())[-1:]:
        interval = f" ({confidence_text(one.interval)})" if one.interval else ""
        yield (
            f"{percent(one.overlap)} of the first {counted(one.k, 'expert')} of a token are the "
            f"same in {study.against}{interval}; by chance it would be {percent(one.chance)}."
        )
