"""The points of the main chart: a setting each, with the intervals of both axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind

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
    """Whether the line goes through it: no other setting beats it on both axes."""
    kind: SettingKind = SettingKind.UNIFORM
    """Whether it is one k everywhere, a schedule or a policy."""


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
        _point(one, _exact(k), _change(numbers, one))
        for one in numbers.points
        if (k := _experts(one)) is not None and _is_compared(one)
    ]


def price_points(numbers: SeriesStatistics) -> list[PlotPoint]:
    """List the settings with their observed experts per token; uniform k are on the line.

    Their change in accuracy where all were compared with the published k, else their accuracy.
    """
    compared = are_compared(numbers)
    return [
        replace(
            _point(
                one, _exact(price), _change(numbers, one) if compared else _accuracy(numbers, one)
            ),
            on_front=one.point.kind is SettingKind.UNIFORM,
        )
        for one in numbers.points
        if (price := one.point.price) is not None
    ]


def are_compared(numbers: SeriesStatistics) -> bool:
    """Whether each setting was compared with the published k."""
    return numbers.baseline is not None and all(map(_is_compared, numbers.points))


def accuracy_points(numbers: SeriesStatistics) -> list[PlotPoint]:
    """List the settings with their accuracy, over questions per second where all were timed."""
    timed = all(one.samples_per_s is not None for one in numbers.points)
    return list(_accuracies(numbers, timed=timed))


def _accuracies(numbers: SeriesStatistics, *, timed: bool) -> Iterator[PlotPoint]:
    for one in numbers.points:
        x = one.samples_per_s if timed else _experts(one)
        if x is not None:
            yield _point(one, _exact(x), _accuracy(numbers, one))


def _experts(one: PointStatistics) -> float | None:
    """Return the k of a setting; of a schedule or policy the experts that were observed."""
    is_uniform = one.point.kind is SettingKind.UNIFORM
    return one.point.k if is_uniform or one.point.price is None else one.point.price


def _accuracy(numbers: SeriesStatistics, one: PointStatistics) -> Range:
    low, high = one.interval or (one.accuracy, one.accuracy)
    return Range(*(value * numbers.scale for value in (one.accuracy, low, high)))


def _point(one: PointStatistics, x: Range, y: Range) -> PlotPoint:
    point = one.point
    return PlotPoint(point.label, x, y, point.is_baseline, one.on_front, point.kind)


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
