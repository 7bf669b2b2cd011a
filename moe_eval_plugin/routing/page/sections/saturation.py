"""The section about saturation: how far another checkpoint chooses the same experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.charts import Words, over_layers
from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import (
    Heading,
    PageTable,
    Section,
    TableCell,
    interval_text,
    name_cell,
    percent_exact,
    share_cell,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.routing.statistics.tables import LayerStudy, RoutingStudy

MEANING = (
    "Saturation at k is the share of a token's first k experts that are also among its first k in "
    "the other checkpoint, for the same tokens. If that is a later checkpoint of one training, "
    "100% means that the router had settled. Chance is what two routers with the same loads would "
    "share that choose independently of each other."
)


def saturation_section(study: RoutingStudy) -> Section | None:
    """Return the section about saturation, or ``None`` without another trace."""
    layers = [(name, one) for name, one in named_layers(study) if one.groups[0].saturation]
    if study.against is None or not layers:
        return None
    rows = [
        {"layer": name, "value": one.overlap, "series": f"k={one.k}"}
        for name, layer in layers
        for one in layer.groups[0].saturation or ()
    ]
    spoken = ". ".join(
        f"Layer {name}: "
        + ", ".join(
            f"k={one.k} {percent_exact(one.overlap)}" for one in layer.groups[0].saturation or ()
        )
        for name, layer in layers
    )
    words = Words(
        "saturation",
        f"Choices shared with {study.against}",
        "Mean share of the first k experts of a token that are the same in both.",
        f"Saturation. {spoken}.",
        "shared experts",
    )
    figures = (over_layers(words, rows, legend="experts compared"),) if len(layers) > 1 else ()
    return Section(
        id="saturation",
        title=f"Saturation against {study.against}",
        link="Saturation",
        text=(MEANING,),
        figures=figures,
        tables=(_means(study), _by_layer(layers)),
    )


def _means(study: RoutingStudy) -> PageTable:
    rows = tuple(
        (
            name_cell(f"k={one.k}", one.k),
            share_cell(one.overlap),
            TableCell(None, interval_text(one.interval)),
            share_cell(one.chance),
        )
        for one in study.summary[0].saturation or ()
    )
    columns = (
        Heading("k", is_number=False),
        Heading("shared", "mean over tokens and layers"),
        Heading("95% interval", "of the mean, by resampling questions"),
        Heading("chance", "of two independent routers with the same loads"),
    )
    return PageTable("saturation-means", "Shared experts, all layers", columns, rows)


def _by_layer(layers: Sequence[tuple[str, LayerStudy]]) -> PageTable:
    ks = sorted({one.k for _, layer in layers for one in layer.groups[0].saturation or ()})
    rows = []
    for order, (name, layer) in enumerate(layers):
        shares = {one.k: one.overlap for one in layer.groups[0].saturation or ()}
        rows.append((name_cell(name, order), *(share_cell(shares.get(k), 1) for k in ks)))
    columns = (Heading("layer", is_number=False), *(Heading(f"k={k}") for k in ks))
    caption = "Shared experts in each layer"
    return PageTable("saturation-by-layer", caption, columns, tuple(rows))
