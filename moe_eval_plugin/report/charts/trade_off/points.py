"""The points of the main chart: a setting each, with the intervals of both axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


@dataclass(frozen=True)
class Range:
    """A value with the ends of its interval, which are the value itself where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PlotPoint:
    """A setting on the chart."""

    label: str
    """Its name."""
    x: Range
    """Speed-up, questions per second, or k."""
    y: Range
    """Change in accuracy in points, or accuracy."""
    is_baseline: bool
    """Whether it is the published k."""
    on_front: bool
    """Whether no other setting beats it on both axes."""


def trade_off_points(numbers: SeriesStatistics) -> list[PlotPoint]:
    """List the settings with a change in accuracy and a speed-up, the published k included."""
    return [
        _point(one, Range(ratio.ratio, *_ends(one)), _change(numbers, one))
        for one in numbers.points
        if (ratio := one.speed_up) is not None and _is_compared(one)
    ]


def changes_over_k(numbers: SeriesStatistics) -> list[PlotPoint]:
    """List the settings with a change in accuracy, over k."""
    return [
        _point(one, _exact(one.point.k), _change(numbers, one))
        for one in numbers.points
        if one.point.k is not None and _is_compared(one)
    ]


def accuracy_points(numbers: SeriesStatistics) -> list[PlotPoint]:
    """List the settings with their accuracy, over questions per second where all were timed."""
    timed = all(one.samples_per_s is not None for one in numbers.points)
    return list(_accuracies(numbers, timed=timed))


def _accuracies(numbers: SeriesStatistics, *, timed: bool) -> Iterator[PlotPoint]:
    for one in numbers.points:
        x = one.samples_per_s if timed else one.point.k
        if x is not None:
            low, high = one.interval or (one.accuracy, one.accuracy)
            values = (value * numbers.scale for value in (one.accuracy, low, high))
            yield _point(one, _exact(x), Range(*values))


def _point(one: PointStatistics, x: Range, y: Range) -> PlotPoint:
    return PlotPoint(one.point.label, x, y, one.point.is_baseline, one.on_front)


def _is_compared(one: PointStatistics) -> bool:
    return one.point.is_baseline or one.difference is not None


def _ends(one: PointStatistics) -> tuple[float, float]:
    ratio = one.speed_up
    if ratio is None:
        return 1.0, 1.0
    interval = ratio.interval
    return (interval.low, interval.high) if interval else (ratio.ratio, ratio.ratio)


def _change(numbers: SeriesStatistics, one: PointStatistics) -> Range:
    if one.difference is None:
        return Range(0.0, 0.0, 0.0)
    found = one.difference
    values = (found.difference, found.interval.low, found.interval.high)
    return Range(*(value * numbers.scale for value in values))


def _exact(value: float) -> Range:
    return Range(value, value, value)
