"""Differences to the published k in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.text import points_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


def change_text(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return how much accuracy a setting loses or gains, with the interval."""
    if one.difference is None:
        return "was not compared"
    scale, interval = numbers.scale, one.difference.interval
    loss = -one.difference.difference * scale
    if loss >= 0:
        verb, ends = "loses", (-interval.high * scale, -interval.low * scale)
    else:
        verb, ends = "gains", (interval.low * scale, interval.high * scale)
    low, high = map(points_text, ends)
    return f"{verb} {points_text(abs(loss))} points (95% interval {low} to {high})"


def listed(numbers: SeriesStatistics, points: Sequence[PointStatistics]) -> str:
    """List settings with their differences in points."""
    texts = [
        f"{one.point.label} ({points_text(one.difference.difference * numbers.scale, sign=True)} "
        "points)"
        for one in points
        if one.difference is not None
    ]
    return ", ".join(texts)
