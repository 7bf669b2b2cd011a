"""The heat map of k by layer: uniform k, schedules, and policies with their mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.report.charts.routing import SELECTED, Quantity, heat_map, short_names
from moe_eval_plugin.report.tables.k_by_layer import layer_paths, layer_rows

if TYPE_CHECKING:
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Figure, Row

NAME = "k-by-layer"
WHAT = Quantity(
    "Experts per token in each layer",
    SELECTED,
    "Routed experts that tokens were observed to use. A uniform k has the same in each layer, a "
    "schedule what it asks for, and a policy what it left, on average.",
    ".2~f",
)


def layer_figure(numbers: SeriesStatistics, name: str = NAME) -> Figure | None:
    """Return the observed k of each setting by layer; ``None`` where it was not observed."""
    found = layer_rows(numbers)
    if not found:
        return None
    paths = layer_paths(numbers)
    names = short_names(paths)
    rows: list[Row] = [
        {
            "label": row.name,
            "layer": names[order],
            "order": order,
            "path": paths[order],
            "experts": None,
            "value": k,
        }
        for row in found
        for order, k in enumerate(row.k)
        if k is not None
    ]
    top = max(k for row in found for k in row.k if k is not None)
    figure = heat_map(rows, name, WHAT, "", top)
    spoken = ". ".join(
        f"{row.name}: {', '.join('none' if k is None else f'{k:.3g}' for k in row.k)}"
        for row in found
    )
    description = f"{WHAT.title}, from the first to the last. {spoken}."
    return replace(figure, description=description)
