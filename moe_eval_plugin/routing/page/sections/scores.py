"""Sections about the router's scores: mass retained at each k, and margins."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.charts import Words, over_k
from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import (
    UNKNOWN,
    Heading,
    PageTable,
    Section,
    TableCell,
    interval_text,
    name_cell,
    number_cell,
    percent_exact,
    share_cell,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.charts.base import Figure, Row
    from moe_eval_plugin.routing.statistics.tables import (
        GroupRouting,
        GroupSummary,
        LayerStudy,
        RoutingStudy,
    )

MASS_MEANING = (
    "Retained mass at k is the share of the router's weight that the first k experts of a token "
    "have: the sum of their scores over that of the experts of the published k. It is computed on "
    "the states of the published model."
)
MARGIN_MEANING = (
    "The margin at k is the score of the k-th expert minus that of the next one. Near 0 the two "
    "are nearly tied: a small change of the token's state would swap them. At the published k it "
    "is the margin between the last expert that is used and the first that is not."
)


def mass_section(study: RoutingStudy) -> Section | None:
    """Return the section about retained mass, or ``None`` where no router shows its scores."""
    layers = [(name, one) for name, one in named_layers(study) if _all(one).mass]
    if not layers:
        return None
    return Section(
        id="mass",
        title="Retained mass at each k",
        link="Retained mass",
        text=(MASS_MEANING,),
        tables=(
            _by_layer(layers),
            *([_by_group(study.summary)] if len(study.summary) > 1 else []),
        ),
    )


def _all(layer: LayerStudy) -> GroupRouting:
    return layer.groups[0]


def mass_figure(study: RoutingStudy) -> Figure | None:
    """Return the chart of retained mass over k, or ``None`` where no router shows its scores."""
    rows = [
        {"layer": name, "k": mass.k, "value": mass.retained.mean}
        for name, layer in named_layers(study)
        for mass in _all(layer).mass or ()
    ]
    means = [
        {"k": one.k, "value": one.retained.mean, "low": one.retained.p10, "high": one.retained.p90}
        for one in study.summary[0].mass or ()
    ]
    if not rows or not means:
        return None
    last = len(means)
    spoken = ", ".join(f"k={row['k']}: {percent_exact(row['value'])}" for row in means)
    words = Words(
        "retained-mass",
        "Retained mass at each k",
        "Thick line: mean over tokens and layers; thin lines: single layers; shaded: 80% of the "
        "tokens, each with its mean over layers. Dashed: what it would be if the chosen experts "
        "had equal scores.",
        f"Retained mass, mean over tokens and layers. {spoken}.",
        "share of the published k's mass",
    )
    equal = [{"k": k, "value": k / last} for k in range(1, last + 1)]
    return over_k(words, rows, means, equal)


def mass_at_a_glance(study: RoutingStudy) -> PageTable | None:
    """Return a table of each k: the mean, its interval, the tokens' spread, the lowest layer."""
    means = study.summary[0].mass
    if not means:
        return None
    layers = [(name, _all(one).mass or ()) for name, one in named_layers(study)]
    rows = []
    for one in means:
        known = [
            (mass.retained.mean, name)
            for name, masses in layers
            for mass in masses
            if mass.k == one.k
        ]
        value, name = min(known)
        spread = f"{percent_exact(one.retained.p10)} to {percent_exact(one.retained.p90)}"
        lowest = f"{percent_exact(value)} (layer {name})"
        # That of the published k is 100% by definition.
        is_published = one.k == means[-1].k
        others = (interval_text(one.interval), spread, lowest)
        rows.append(
            (
                name_cell(f"k={one.k}", one.k),
                share_cell(one.retained.mean, 1),
                *(TableCell(None, UNKNOWN if is_published else text) for text in others),
            )
        )
    columns = (
        Heading("k", is_number=False),
        Heading("retained", "mean over tokens and layers"),
        Heading("95% interval", "of the mean, by resampling questions"),
        Heading(
            "80% of tokens",
            "between a tenth and nine tenths of the tokens, each with its mean over layers",
        ),
        Heading("lowest layer", "layer with the lowest mean"),
    )
    return PageTable("retained", "Every k at a glance", columns, tuple(reversed(rows)))


def _by_layer(layers: Sequence[tuple[str, LayerStudy]]) -> PageTable:
    """Return layers by k, shaded by the share."""
    ks = range(1, max(layer.published_k for _, layer in layers) + 1)
    rows = []
    for order, (name, layer) in enumerate(layers):
        shares = {mass.k: mass.retained.mean for mass in _all(layer).mass or ()}
        cells = (share_cell(shares.get(k), 1) for k in ks)
        rows.append((name_cell(name, order), *cells))
    columns = (Heading("layer", is_number=False), *(Heading(f"k={k}") for k in ks))
    return PageTable(
        "mass-by-layer", "Retained mass in each layer, mean over tokens", columns, tuple(rows)
    )


def _by_group(summary: Sequence[GroupSummary]) -> PageTable:
    """Return groups of tokens by k."""
    ks = range(1, max((one.k for group in summary for one in group.mass or ()), default=0) + 1)
    rows = []
    for order, group in enumerate(summary):
        shares = {mass.k: mass.retained.mean for mass in group.mass or ()}
        name = "all tokens" if group.group.kind == "all" else group.group.name
        kind = "" if group.group.kind == "all" else group.group.kind
        rows.append(
            (
                name_cell(name, order),
                TableCell(kind, kind),
                TableCell(group.n_tokens, f"{group.n_tokens:,}"),
                *(share_cell(shares.get(k), 1) for k in ks),
            )
        )
    columns = (
        Heading("tokens", is_number=False),
        Heading("kind", is_number=False),
        Heading("number"),
        *(Heading(f"k={k}") for k in ks),
    )
    caption = "Retained mass of some tokens, mean over tokens and layers"
    return PageTable("mass-by-group", caption, columns, tuple(rows))


def margin_section(study: RoutingStudy) -> Section | None:
    """Return the section about margins, or ``None`` where no router shows its scores."""
    layers = [(name, one) for name, one in named_layers(study) if _all(one).margins]
    if not layers:
        return None
    rows: list[Row] = [
        {"layer": name, "k": one.k, "value": one.median}
        for name, layer in layers
        for one in _all(layer).margins or ()
    ]
    ks = sorted({row["k"] for row in rows})
    means = [{"k": k, "value": fmean(row["value"] for row in rows if row["k"] == k)} for k in ks]
    spoken = ", ".join(f"k={row['k']}: {row['value']:.4f}" for row in means)
    words = Words(
        "margins",
        "Margin of the k-th expert over the next one",
        "Thin lines: median over the tokens of a layer; thick line: their mean over layers.",
        f"Median margin, mean over layers. {spoken}.",
        "difference of scores",
        form="~g",
        exact=".3f",
    )
    columns = (Heading("layer", is_number=False), *(Heading(f"k={k}") for k in ks))
    top = max(row["value"] for row in rows)
    cells = []
    for order, (name, layer) in enumerate(layers):
        values = {one.k: one.median for one in _all(layer).margins or ()}
        own = (number_cell(values.get(k), ".4f", top) for k in ks)
        cells.append((name_cell(name, order), *own))
    table = PageTable("margins-by-layer", "Median margin in each layer", columns, tuple(cells))
    return Section(
        id="margins",
        title="Margins: how clear the choices are",
        link="Margins",
        text=(MARGIN_MEANING,),
        figures=(over_k(words, rows, means, top=None),),
        tables=(table,),
    )
