"""The part of the page on schedules and policies: at equal price, and k by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.report.answer.prices import price_sentences
from moe_eval_plugin.report.charts.k_by_layer import layer_figure
from moe_eval_plugin.report.charts.routing import short_names
from moe_eval_plugin.report.charts.trade_off.price_view import price_view
from moe_eval_plugin.report.tables.equal_price_table import equal_price_table, predictions_table
from moe_eval_plugin.report.tables.k_by_layer import layer_paths, layer_rows, make_layer_table
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.report.tables.table import Table


@dataclass(frozen=True)
class SchedulesPart:
    """What the page shows of the schedules and policies of one series."""

    name: str
    """The series and its task."""
    sentences: tuple[str, ...]
    """How the table is to be read, and what each setting saves."""
    figures: tuple[Figure, ...]
    """Accuracy over price, and k by layer."""
    prices: Table | None
    """Each schedule and policy against the uniform k of its price."""
    predictions: Table | None
    """What was predicted of them."""
    layers: Table | None
    """The observed k by layer, as numbers."""


def schedules_parts(found: Sequence[SeriesStatistics]) -> list[SchedulesPart]:
    """Return a part for each series that has a schedule or a policy."""
    priced = [numbers for numbers in found if numbers.equal_price]
    return [_part(numbers, n) for n, numbers in enumerate(priced)]


def _part(numbers: SeriesStatistics, number: int) -> SchedulesPart:
    suffix = f"-{number + 1}" if number else ""
    figures = [price_view(numbers), layer_figure(numbers)]
    rows = layer_rows(numbers)
    return SchedulesPart(
        name=f"{numbers.series.title} on {numbers.series.task}",
        sentences=tuple(_sentences(numbers)),
        figures=tuple(
            replace(one, name=f"{numbers.series.task}-{one.name}{suffix}") for one in figures if one
        ),
        prices=equal_price_table(numbers),
        predictions=predictions_table(numbers),
        layers=make_layer_table(rows, short_names(layer_paths(numbers))) if rows else None,
    )


def _sentences(numbers: SeriesStatistics) -> Iterator[str]:
    yield from price_sentences(numbers)
    n = sum(row.difference is not None for row in numbers.equal_price)
    if n > 1:
        yield (
            f"The table has {counted(n, 'comparison')}; their p-values are adjusted for all of "
            "them by Holm's method."
        )
    coarse = {row.nearest_k for row in numbers.equal_price if row.uniform and not row.is_nearest}
    if coarse:
        ks = " ".join(map(str, sorted(coarse)))
        yield f"A uniform k of nearer price was not run: add it with --experts-k {ks}."
