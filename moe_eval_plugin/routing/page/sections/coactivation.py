"""The section about co-activation: experts that tokens choose together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moe_eval_plugin.routing.page.heat_map import Axis, HeatMap
from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import (
    Heading,
    LayerPanel,
    PageTable,
    Section,
    TableCell,
    name_cell,
    number_cell,
    percent,
)

if TYPE_CHECKING:
    from moe_eval_plugin.routing.statistics.tables import Coactivation, LayerStudy, RoutingStudy

MOST_PAIRS = 10
MEANING = (
    "Rows are experts, columns the experts that the same tokens chose as well: the colour is the "
    "share of the row's tokens. A dark column is a busy expert, chosen with everything. What "
    "belongs together shows in the lift: how many times as often two experts are chosen together "
    "as two independent experts of the same loads would be."
)


def coactivation_section(study: RoutingStudy) -> Section | None:
    """Return the section about co-activation, or ``None`` where no layer chooses two experts."""
    panels = tuple(
        _panel(name, layer, layer.coactivation)
        for name, layer in named_layers(study)
        if layer.coactivation is not None
    )
    if not panels:
        return None
    return Section(
        id="coactivation",
        title="Experts chosen together",
        link="Co-activation",
        text=(MEANING,),
        panels=panels,
    )


def _panel(name: str, layer: LayerStudy, found: Coactivation) -> LayerPanel:
    pairs = found.pairs[:MOST_PAIRS]
    heaviest = ", ".join(f"{one.first} and {one.second} ({one.lift:.1f}×)" for one in pairs[:3])
    heat = HeatMap(
        name=f"coactivation-layer-{name.replace(' ', '-')}",
        title=f"Co-activation in layer {name}",
        caption=f"Share of the tokens of the row's expert that chose the column's as well, at "
        f"k={layer.published_k}.",
        description=f"Co-activation of {len(found.conditional)} experts in layer {name}. "
        + (f"Pairs with a large lift: {heaviest}." if pairs else "No pair has a lift."),
        unit="of the row's tokens",
        rows=_experts(found, "expert"),
        columns=_experts(found, "chosen together with expert"),
        values=found.conditional.astype(np.float64),
        top=_largest(found),
    )
    rows = tuple(
        (
            name_cell(f"{one.first} and {one.second}", one.first),
            number_cell(one.lift, ".2f", unit="×"),
            TableCell(one.tokens, f"{one.tokens:,}"),
            TableCell(None, f"{_share(found, one.first, one.second)}"),
            TableCell(None, f"{_share(found, one.second, one.first)}"),
        )
        for one in pairs
    )
    columns = (
        Heading("experts", is_number=False),
        Heading("lift", "tokens that chose both over those expected from their loads: 1 is chance"),
        Heading("tokens", "tokens that chose both"),
        Heading("share of first", "share of the first expert's tokens"),
        Heading("share of second", "share of the second expert's tokens"),
    )
    caption = f"Pairs with a large lift in layer {name}, the surest first"
    table = PageTable(f"pairs-{name.replace(' ', '-')}", caption, columns, rows)
    text = () if rows else ("Too few tokens to compare any two experts with their loads.",)
    return LayerPanel(name, text, (heat,), (table,) if rows else ())


def _largest(found: Coactivation) -> float:
    """Return the largest share; 0 where no expert was chosen."""
    known = found.conditional[np.isfinite(found.conditional)]
    return float(known.max()) if known.size else 0.0


def _experts(found: Coactivation, title: str) -> Axis:
    return Axis(title, tuple(map(str, range(len(found.conditional)))))


def _share(found: Coactivation, first: int, second: int) -> str:
    return percent(float(found.conditional[first, second]))
