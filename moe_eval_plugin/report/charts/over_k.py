"""Charts of accuracy and of speed-up at each k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.report.analysis.speed_scope import speed_caption
from moe_eval_plugin.report.charts.base import (
    POINT_SIZE,
    Figure,
    accuracy_axis,
    data,
    finished,
    guides,
    k_axis,
    k_of,
    labels,
    marks_by_series,
    numbers_on_hover,
    score_axis_title,
    side_by_side,
    slower_region,
    speed_up_axis,
)
from moe_eval_plugin.report.tables.ratio_columns import speed_up_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Marks, Row


def over_k_figures(task: Sequence[SeriesStatistics]) -> Iterator[Figure]:
    """Yield the charts of a task at each k; what was not measured is left out."""
    rows = [row for series in task for row in _rows(series)]
    with_k = [row for row in rows if row["k"] is not None]
    if len({row["k"] for row in with_k}) > 1:
        yield _accuracy_over_k(task, with_k, [row for row in rows if row["k"] is None])
        ratios = [row for row in with_k if row["ratio"] is not None]
        if any(row["ratio"] != 1 for row in ratios):
            yield _speed_up_over_k(task, ratios)


def _rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield a row for each setting; schedules and policies are in the chart over their price."""
    for one in numbers.points:
        if numbers.at_price_of(one.point.label) is not None:
            continue
        low, high = one.interval or (None, None)
        ratio = one.speed_up.interval if one.speed_up else None
        yield {
            "series": numbers.series.short,
            "label": one.point.label,
            "k": None if one.point.k is None else k_of(one.point.k),
            "accuracy": one.accuracy * numbers.scale,
            "low": None if low is None else low * numbers.scale,
            "high": None if high is None else high * numbers.scale,
            "speed": one.samples_per_s,
            "ratio": one.speed_up.ratio if one.speed_up else None,
            "ratio_low": ratio.low if ratio else None,
            "ratio_high": ratio.high if ratio else None,
        }


def _layers(
    marks: Marks,
    rows: Sequence[Row],
    y: tuple[alt.Y, str],
    ends: tuple[str, str],
    tooltip: Sequence[alt.Tooltip],
) -> Iterator[alt.Chart]:
    """Yield a thin line to follow a series, its intervals, and its points.

    ``marks`` are the colours and shapes of the series, ``y`` is the axis of the values and its
    title, ``ends`` are the fields of the intervals.
    """
    common: dict[str, Any] = {
        "x": k_axis(),
        "color": marks.color,
        **side_by_side("series:N", list(dict.fromkeys(row["series"] for row in rows))),
    }
    base = alt.Chart(data(rows)).encode(**common)
    known = [row for row in rows if row[ends[0]] is not None]
    yield from guides(rows, "series", y=y[0], **common)
    if known:
        bars = alt.Chart(data(known)).encode(**common).mark_rule(style=["interval"])
        yield bars.encode(y=alt.Y(f"{ends[0]}:Q", title=y[1]), y2=f"{ends[1]}:Q")
    yield base.mark_point(size=POINT_SIZE, filled=True, opacity=1).encode(
        y=y[0], shape=marks.shape, tooltip=list(tooltip)
    )


def _accuracy_over_k(
    task: Sequence[SeriesStatistics], rows: Sequence[Row], without_k: Sequence[Row]
) -> Figure:
    y = accuracy_axis([*rows, *without_k], task[0])
    tooltip = [
        *([alt.Tooltip("series:N", title="run")] if len(task) > 1 else []),
        alt.Tooltip("label:N", title="setting"),
        *numbers_on_hover(
            ("accuracy:Q", score_axis_title(task[0]), ".2f"),
            ("low:Q", "interval from", ".2f"),
            ("high:Q", "to", ".2f"),
        ),
    ]
    marks = marks_by_series(task, [*rows, *without_k])
    others = alt.Chart(data(without_k)).mark_rule(style=["ceiling"])
    chart = alt.layer(
        *([others.encode(y=y, color=marks.color, tooltip=tooltip)] if without_k else []),
        *_layers(marks, rows, (y, score_axis_title(task[0])), ("low", "high"), tooltip),
    )
    return Figure(
        name="accuracy-over-k",
        title="Accuracy at each k",
        caption="Bars are 95% intervals, clustered by image where images are known."
        + " Dashed: a model without k." * bool(without_k),
        description=_spoken(task),
        chart=finished(chart),
    )


def _speed_up_over_k(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> Figure:
    y = speed_up_axis("ratio", max(row["ratio_high"] or row["ratio"] for row in rows))
    tooltip = [
        *([alt.Tooltip("series:N", title="run")] if len(task) > 1 else []),
        alt.Tooltip("label:N", title="setting"),
        *numbers_on_hover(
            ("ratio:Q", "speed-up", ".2f"),
            ("ratio_low:Q", "interval from", ".2f"),
            ("ratio_high:Q", "to", ".2f"),
            ("speed:Q", "questions per second", ".3~s"),
        ),
    ]
    # With several series they would cross each other.
    base = alt.Chart(data(rows)).encode(x=k_axis(), y=y)
    text = alt.Text("ratio:Q", format=".2f")
    written = labels(base, text, align="left", dx=7) if len(task) == 1 else []
    chart = alt.layer(
        *slower_region(),
        *_layers(
            marks_by_series(task, rows), rows, (y, "speed-up"), ("ratio_low", "ratio_high"), tooltip
        ),
        *written,
    )
    spoken = ". ".join(
        f"{_before(numbers, task)}{one.point.label}: {speed_up_text(one, one.speed_up)}"
        for numbers in task
        for one in numbers.points
        if one.speed_up is not None
    )
    known = [row for row in rows if row["ratio_low"] is not None]
    return Figure(
        name="speed-up-over-k",
        title="Speed-up at each k",
        caption=(
            f"Questions per second, {speed_caption(task)}, divided by those at the published k. "
            f"Shaded: slower than the published k. {_on_intervals(known)}"
        ),
        description=f"Speed-up at each k. {spoken}.",
        chart=finished(chart),
    )


def _on_intervals(known: Sequence[Row]) -> str:
    if known:
        return "Bars are 95% intervals; a setting whose bar reaches 1 may be no faster."
    return "Timed once, so without intervals: differences may be those of the machine."


def _before(numbers: SeriesStatistics, task: Sequence[SeriesStatistics]) -> str:
    return f"{numbers.series.title}, " if len(task) > 1 else ""


def _spoken(task: Sequence[SeriesStatistics]) -> str:
    parts = [
        f"{_before(numbers, task)}{one.point.label}: {one.accuracy * numbers.scale:.2f}"
        for numbers in task
        for one in numbers.points
    ]
    return f"Accuracy at each k. {'. '.join(parts)}."
