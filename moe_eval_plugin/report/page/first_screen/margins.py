"""The margins that a reader can choose, and the statistics of a series at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.statistics import at_margin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

OFFERED = (0.5, 1.0, 2.0, 5.0)


def margin_names(own: float) -> tuple[str, ...]:
    """List the margins to choose from in points, with the report's own among them."""
    return tuple(f"{margin:g}" for margin in sorted({*OFFERED, own}))


def at_each(numbers: SeriesStatistics, names: Sequence[str]) -> Mapping[str, SeriesStatistics]:
    """Return the statistics of a series at each margin; at its own they are its own."""
    own = f"{numbers.margin * numbers.scale:g}"
    return {name: numbers if name == own else at_margin(numbers, float(name)) for name in names}
