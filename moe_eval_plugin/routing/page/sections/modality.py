"""The section about modalities: whether text and image tokens use the same experts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.charts import Words, over_layers
from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import Section, percent_exact
from moe_eval_plugin.routing.page.sections.load import load_map

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Row
    from moe_eval_plugin.routing.statistics.tables import Load, RoutingStudy


def modality_section(study: RoutingStudy) -> Section | None:
    """Return the section about modalities, or ``None`` with only one of them."""
    names = [one.group.name for one in study.summary if one.group.kind == "modality"]
    layers = named_layers(study)
    maps, groups = [], {}
    for modality in names:
        found = [(name, one.group("modality", modality)) for name, one in layers]
        groups[modality] = {name: group for name, group in found if group and group.n_tokens}
        title = f"Load of {modality} tokens"
        if groups[modality]:
            known = list(groups[modality].items())
            maps.append(load_map(known, layers, f"load-{modality}", title))
    if len(maps) <= 1:
        return None
    first, second = names[:2]
    rows: list[Row] = [
        {"layer": name, "value": overlap(groups[first][name].load, groups[second][name].load)}
        for name, _ in layers
        if name in groups[first] and name in groups[second]
    ]
    figures, text = [], [f"What {first} and {second} tokens choose, apart."]
    if rows:
        low, high = (pick(rows, key=lambda row: float(row["value"])) for pick in (min, max))
        text.append(
            f"Between {percent_exact(low['value'])} (layer {low['layer']}) and "
            f"{percent_exact(high['value'])} (layer {high['layer']}) of their loads is on the same "
            "experts: 100% if both loaded the experts alike, 0% if each had experts of its own."
        )
    if len(rows) > 1:
        spoken = ", ".join(f"layer {row['layer']}: {percent_exact(row['value'])}" for row in rows)
        words = Words(
            "modality-overlap",
            f"Load that {first} and {second} tokens share",
            "Sum over experts of the smaller of the two shares of the load.",
            f"Shared load. {spoken}.",
            "shared load",
        )
        figures.append(over_layers(words, rows))
    return Section(
        id="modality",
        title=f"{first.capitalize()} and {second} tokens",
        link="Modalities",
        text=tuple(text),
        figures=tuple(figures),
        # One scale for all, so that they can be compared.
        maps=tuple(replace(one, top=max(other.top for other in maps)) for one in maps),
    )


def overlap(one: Load, other: Load) -> float:
    """Return the load that two groups share: the sum over experts of the smaller share."""
    totals = sum(one.tokens), sum(other.tokens)
    if not all(totals):
        return 0.0
    both = zip(one.tokens, other.tokens, strict=True)
    return sum(min(a / totals[0], b / totals[1]) for a, b in both)
