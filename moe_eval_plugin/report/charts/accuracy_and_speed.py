"""Charts of accuracy and speed, as Vega-Lite specifications made with Altair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.report.analysis.speed_scope import axis_title, speed_caption
from moe_eval_plugin.report.charts.base import (
    POINT_SIZE,
    Figure,
    accuracy_axis,
    data,
    finished,
    intervals,
    labels,
    marks_by_series,
    numbers_on_hover,
    score_axis_title,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.charts.base import Row

# Width of a label next to its point, as a share of the range of speeds.
LABEL_ROOM = 0.06


def main_figures(task: Sequence[SeriesStatistics]) -> Iterator[Figure]:
    """Yield the charts of one task; what was not measured is left out."""
    rows = [row for series in task for row in _rows(series)]
    if any(row["speed"] is not None for row in rows):
        yield _accuracy_against_speed(task, [row for row in rows if row["speed"] is not None])


def _rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield a row for each setting."""
    for one in numbers.points:
        low, high = one.interval or (None, None)
        ours = one.point.k is not None
        slowest, fastest = _ends_of_rate(one)
        ratio = one.speed_up.interval if one.speed_up else None
        yield {
            "series": numbers.series.short,
            "label": one.point.label if ours else numbers.series.short,
            # There is little room next to a point of several series on a phone.
            "short": one.point.label.removeprefix("k=") if ours else numbers.series.short,
            "k": one.point.k,
            "accuracy": one.accuracy * numbers.scale,
            "low": None if low is None else low * numbers.scale,
            "high": None if high is None else high * numbers.scale,
            "speed": one.samples_per_s,
            "slowest": slowest,
            "fastest": fastest,
            "ratio": one.speed_up.ratio if one.speed_up else None,
            "ratio_low": ratio.low if ratio else None,
            "ratio_high": ratio.high if ratio else None,
            "front": one.on_front,
        }


def _ends_of_rate(one: PointStatistics) -> tuple[float | None, float | None]:
    """Return the smallest and the largest rate: by the interval of the speed-up, or of the runs."""
    rate, ratio = one.samples_per_s, one.speed_up
    if rate is not None and ratio is not None and ratio.interval is not None:
        return rate * ratio.interval.low / ratio.ratio, rate * ratio.interval.high / ratio.ratio
    rates = one.throughput if one.batch_size is None else None
    return (rates.smallest, rates.largest) if rates else (None, None)


def _accuracy_against_speed(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> Figure:
    scale = alt.Scale(zero=False, nice=True, padding=24)
    x = alt.X("speed:Q", title=axis_title(task), scale=scale)
    y = accuracy_axis(rows, task[0])
    own = marks_by_series(task, rows)
    colour = own.color
    base = alt.Chart(data(rows)).encode(color=colour)
    several = [row for row in rows if row["slowest"] != row["fastest"]]
    timed = any(row["ratio_low"] is not None for row in rows)
    sideways = ", sideways those of the speed-up" if timed else ""
    front = [row for row in rows if row["front"]]
    line = alt.Chart(data(front)).mark_line(style=["curve"], opacity=0.6)
    layers = [
        *([line.encode(x=x, y=y, order="speed:Q", color=colour)] if front else []),
        *intervals(rows, x, score_axis_title(task[0]), colour),
        base.mark_point(size=POINT_SIZE, filled=True, opacity=1).encode(
            x=x,
            y=y,
            shape=own.shape,
            tooltip=[
                alt.Tooltip("series:N", title="model"),
                alt.Tooltip("label:N", title="setting"),
                *numbers_on_hover(
                    ("accuracy:Q", score_axis_title(task[0]), ".2f"),
                    ("low:Q", "interval from", ".2f"),
                    ("high:Q", "to", ".2f"),
                    ("speed:Q", "questions per second", ".3~s"),
                ),
            ],
        ),
        *_point_labels(rows, x, y),
    ]
    if several:
        spread = alt.Chart(data(several)).mark_rule(style=["interval"])
        layers.append(spread.encode(x="slowest:Q", x2="fastest:Q", y=y, color=colour))
    return Figure(
        name="accuracy-against-throughput",
        title="Accuracy against throughput",
        caption=(
            f"Questions per second, {speed_caption(task)}. Up and to the right is better. Bars are "
            f"95% intervals{sideways}. The line joins the settings that no other setting beats on "
            "both, by the measured values (the Pareto front). A number is a k."
        ),
        description=_spoken(
            "Accuracy against throughput", task, lambda one, text: f"{text}, {_rate(one)}"
        ),
        chart=finished(alt.layer(*layers)),
    )


def _point_labels(rows: Sequence[Row], x: alt.X, y: alt.Y) -> Iterator[alt.Chart]:
    """Yield labels to the right of their points; crowded ones alternate above and below, left.

    Those are far enough up or down to pass a label that comes from the left.
    """
    crowded = sorted((row for row in rows if _has_no_room_right(row, rows)), key=_speed)
    free = [row for row in rows if row not in crowded]
    layouts = (
        ("left", 8, -8, free),
        ("right", -8, -20, crowded[::2]),
        ("right", -8, 22, crowded[1::2]),
    )
    for align, dx, dy, own in layouts:
        if own:
            base = alt.Chart(data(own)).encode(x=x, y=y)
            yield from labels(base, alt.Text("short:N"), align=align, dx=dx, dy=dy)


def _speed(row: Row) -> float:
    return float(row["speed"])


def _has_no_room_right(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a point is at the right edge, or has a neighbour to its right."""
    room = LABEL_ROOM * _range(rows, "speed")
    near = LABEL_ROOM * _range(rows, "accuracy")
    at_edge = max(map(_speed, rows)) - row["speed"] < room
    has_neighbour = any(
        0 < one["speed"] - row["speed"] < room and abs(one["accuracy"] - row["accuracy"]) <= near
        for one in rows
    )
    return room > 0 and (at_edge or has_neighbour)


def _range(rows: Sequence[Row], name: str) -> float:
    values = [float(row[name]) for row in rows]
    return max(values) - min(values)


def _spoken(what: str, task: Sequence[SeriesStatistics], say: Any) -> str:  # noqa: ANN401
    parts = [
        f"{numbers.series.name}, {one.point.label}: "
        + say(one, f"{one.accuracy * numbers.scale:.2f}")
        for numbers in task
        for one in numbers.points
    ]
    return f"{what}. {'. '.join(parts)}."


def _rate(one: PointStatistics) -> str:
    rate = one.samples_per_s
    return "speed not measured" if rate is None else f"{rate:.4g} questions per second"
