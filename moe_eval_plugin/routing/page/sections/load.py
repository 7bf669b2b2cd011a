"""The section about load: how many tokens each expert gets."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.charts import Words, over_layers
from moe_eval_plugin.routing.page.heat_map import Axis, HeatMap, top_of
from moe_eval_plugin.routing.page.layer_names import named_layers, unreached
from moe_eval_plugin.routing.page.parts import (
    UNKNOWN,
    Heading,
    PageTable,
    Section,
    TableCell,
    name_cell,
    number_cell,
    share_cell,
)
from moe_eval_plugin.text import counted, first_few

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.routing.statistics.tables import (
        GroupRouting,
        LayerStudy,
        Load,
        RoutingStudy,
    )

# Larger loads have the strongest colour: one busy expert would make all others pale.
MOST_TIMES = 4.0
MEANING = (
    "The load of an expert is the number of tokens that chose it. Evenness is the normalised "
    "entropy of a layer's loads: 1 if all experts get the same number of tokens, 0 if one gets "
    "them all. The Gini coefficient is 0 where loads are equal, and near 1 where few experts get "
    "nearly all."
)


def load_section(study: RoutingStudy) -> Section:
    """Return the section about load."""
    layers = named_layers(study)
    return Section(
        id="load",
        title="Load of the experts",
        link="Load",
        text=(MEANING, *_without_tokens(study)),
        figures=(_evenness(layers),) if len(layers) > 1 else (),
        maps=(load_map([(name, one.groups[0]) for name, one in layers], layers),),
        tables=(_table(layers),),
    )


def _without_tokens(study: RoutingStudy) -> Iterator[str]:
    names = unreached(study)
    if names:
        yield (
            f"{counted(len(names), 'layer')} got no token and {'is' if len(names) == 1 else 'are'} "
            f"left out: {first_few(names)}."
        )


def experts_for_half(load: Load) -> int:
    """Return the smallest number of experts that have half of the choices of a layer."""
    ordered = sorted(load.tokens, reverse=True)
    half = sum(ordered) / 2
    return sum(1 for before in accumulate(ordered, initial=0) if before < half)


def shares(load: Load) -> NDArray[np.float64]:
    """Return the loads over the mean load, ``(experts,)``; 0 without tokens."""
    import numpy as np

    tokens = np.asarray(load.tokens, np.float64)
    mean = float(tokens.mean()) if tokens.size else 0.0
    relative: NDArray[np.float64] = tokens / mean if mean else tokens
    return relative


def load_map(
    groups: Sequence[tuple[str, GroupRouting]],
    layers: Sequence[tuple[str, LayerStudy]],
    name: str = "load",
    title: str = "Load of each expert in each layer",
) -> HeatMap:
    """Return layers by experts: loads over the mean of their layer."""
    import numpy as np

    width = max(one.num_experts + one.num_zero_experts for _, one in layers)
    values = np.full((len(groups), width), np.nan)
    for row, (_, group) in enumerate(groups):
        own = shares(group.load)
        values[row, : len(own)] = own
    known = values[np.isfinite(values)]
    spoken = ". ".join(
        f"Layer {layer}: {counted(experts_for_half(group.load), 'expert')} for half of the "
        f"choices, busiest {float(np.nanmax(shares(group.load))):.1f} times the mean"
        for layer, group in groups
    )
    n_zero = max(one.num_zero_experts for _, one in layers)
    zero = f" The last {n_zero} compute nothing." if n_zero else ""
    return HeatMap(
        name=name,
        title=title,
        caption="Tokens of an expert over the mean of its layer: 1× is an equal load." + zero,
        description=f"{title}. {spoken}.",
        unit="times the mean load",
        rows=Axis("layer", tuple(name for name, _ in groups)),
        columns=Axis("expert", tuple(map(str, range(width)))),
        values=values,
        top=top_of([*known.tolist(), 1.0], MOST_TIMES),
        form="times",
    )


def _evenness(layers: Sequence[tuple[str, LayerStudy]]) -> Figure:
    rows = [
        {"layer": name, "value": load.entropy}
        for name, one in layers
        if (load := one.groups[0].load).entropy is not None
    ]
    spoken = ", ".join(f"layer {row['layer']}: {row['value']:.2f}" for row in rows)
    words = Words(
        "load-evenness",
        "How evenly experts are used (1 = equal load)",
        "Normalised entropy of the loads of each layer.",
        f"Evenness of the load. {spoken}.",
        "evenness, 0 to 1",
        form=".1f",
        exact=".3f",
    )
    return over_layers(words, rows)


def _table(layers: Sequence[tuple[str, LayerStudy]]) -> PageTable:
    has_zero = any(one.num_zero_experts for _, one in layers)
    rows = []
    for order, (name, one) in enumerate(layers):
        load = one.groups[0].load
        n_experts = one.num_experts + one.num_zero_experts
        half = experts_for_half(load)
        unused = f"{len(load.unused)}" + (f" ({first_few(load.unused)})" if load.unused else "")
        ffn = load.ffn_k
        zero = (
            share_cell(load.zero_share),
            TableCell(ffn.mean, f"{ffn.mean:.2f} ({ffn.p10:g} to {ffn.p90:g})")
            if ffn
            else TableCell(None, UNKNOWN),
        )
        rows.append(
            (
                name_cell(name, order),
                number_cell(load.entropy, ".3f"),
                number_cell(load.gini, ".3f"),
                TableCell(half, f"{half} of {n_experts}"),
                number_cell(load.largest, ".2f", unit="×"),
                TableCell(len(load.unused), unused),
                *(zero if has_zero else ()),
            )
        )
    columns = (
        Heading("layer", is_number=False),
        Heading("evenness", "normalised entropy of the load: 1 is an equal load"),
        Heading("Gini", "Gini coefficient of the load: 0 is an equal load"),
        Heading("experts for half", "fewest experts that have half of the choices"),
        Heading("busiest", "tokens of the busiest expert over the mean"),
        Heading("unused", "experts that no token chose"),
    )
    zero_columns = (
        Heading("zero share", "share of the choices that are experts that compute nothing"),
        Heading("FFN k", "experts of a token that compute: mean (10% to 90% of the tokens)"),
    )
    return PageTable(
        "load-by-layer",
        "Load of each layer",
        (*columns, *(zero_columns if has_zero else ())),
        tuple(rows),
    )
