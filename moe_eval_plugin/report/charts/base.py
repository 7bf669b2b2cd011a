"""What all charts share: data, axes, labels, the marks of a series, and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

HEIGHT = 320
POINT_SIZE = 70
# Room around the values of an axis, as a share of their range.
ROOM = 0.08
# Room for half a point at 0 and at 100, which no score leaves.
EDGE = 0.03
# An axis of scores never shows less than this, in its unit: noise would fill it.
LEAST_SPAN = {1.0: 0.05, 100.0: 5.0}
N_TICKS = 6
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3], [10, 4], [4, 2, 1, 2])
KIND_SHAPES = {
    SettingKind.UNIFORM: "circle",
    SettingKind.SCHEDULE: "diamond",
    SettingKind.SEARCHED: "triangle-up",
    SettingKind.POLICY: "cross",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A chart with title, caption and alt text."""

    name: str
    """Name of its files."""
    title: str
    """Heading."""
    caption: str
    """How to read it."""
    description: str
    """Text in place of the chart, with its numbers."""
    chart: alt.LayerChart | alt.Chart
    """The chart, as wide as its container."""


class Marks(NamedTuple):
    """The colour and the shape of each name, as encodings."""

    color: alt.Color
    shape: alt.Shape


def score_axis_title(series: SeriesStatistics) -> str:
    """Return the title of the axis of scores."""
    return "accuracy (%)" if series.scale > 1 else series.series.metric


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Return rows as the data of a chart."""
    return alt.InlineData(values=list(rows))


def by_series(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> alt.Color:
    """Return the same colour for a series in all charts of a task, with a legend for several."""
    return alt.Color("series:N", **_of_series(task, rows), scale=alt.Scale(domain=_names(task)))


def marks_by_series(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> Marks:
    """Return the colour and the shape of each series, the same in all charts of a task."""
    return marks("series:N", _names(task), _of_series(task, rows)["legend"])


def marks(field: str, names: Sequence[str], legend: alt.Legend | None) -> Marks:
    """Return the colour and the shape of each name; the legend shows both."""
    shapes = [SHAPES[number % len(SHAPES)] for number in range(len(names))]
    scale = alt.Scale(domain=list(names), range=shapes)
    return Marks(
        color=alt.Color(field, scale=alt.Scale(domain=list(names)), legend=legend),
        shape=alt.Shape(field, scale=scale, legend=legend),
    )


def marks_by_kind(kinds: Collection[SettingKind]) -> Marks:
    """Return the colour and the shape of each kind of setting, the same in all charts.

    The field is ``of``; the legend has the kinds that are given.
    """
    names = [kind.value for kind in SettingKind]
    legend = alt.Legend(title=None, values=[kind.value for kind in SettingKind if kind in kinds])
    scale = alt.Scale(domain=names, range=list(KIND_SHAPES.values()))
    return Marks(
        color=alt.Color("of:N", scale=alt.Scale(domain=names), legend=legend),
        shape=alt.Shape("of:N", scale=scale, legend=legend),
    )


def guides(rows: Sequence[Row], field: str, **encoding: Any) -> list[alt.Chart]:  # noqa: ANN401
    """Return a thin line for each name of a field, by which to follow it; each has its dashes."""
    names = list(dict.fromkeys(row[field] for row in rows))
    return [
        alt.Chart(data([row for row in rows if row[field] == name]))
        .mark_line(style=["guide"], strokeDash=DASHES[number % len(DASHES)])
        .encode(**encoding)
        for number, name in enumerate(names)
    ]


def _names(task: Sequence[SeriesStatistics]) -> list[str]:
    return [one.series.short for one in task]


def _of_series(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> dict[str, Any]:
    """Return the legend of the series that have rows; ``None`` for a single one."""
    titles = {one.series.short: one.series.title for one in task}
    shown = [name for name in titles if any(row["series"] == name for row in rows)]
    if len(shown) <= 1:
        return {"legend": None}
    label = f"{titles}[datum.label] || datum.label"
    return {"legend": alt.Legend(title=None, columns=1, values=shown, labelExpr=label)}


def intervals(rows: Sequence[Row], x: alt.X, title: str, colour: alt.Color) -> list[alt.Chart]:
    """Return the intervals of the rows that have one."""
    known = [row for row in rows if row["low"] is not None]
    if not known:
        return []
    rules = alt.Chart(data(known)).mark_rule(style=["interval"])
    return [rules.encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour)]


def numbers_on_hover(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    """Return tooltips with numbers, from their fields, headings and formats."""
    return [alt.Tooltip(field, title=title, format=form) for field, title, form in fields]


def tidy_axis(**settings: Any) -> alt.Axis:  # noqa: ANN401  (whatever Altair takes)
    """Return an axis of numbers whose labels neither collide nor move away from their ticks."""
    return alt.Axis(
        **{"labelFlush": False, "labelOverlap": "greedy", "tickCount": N_TICKS, **settings}
    )


def k_axis() -> alt.X:
    """Return an axis on which each k that was run has the same room."""
    return alt.X(
        "k:O",
        title="k, routed experts per token",
        axis=alt.Axis(grid=False, labelAngle=0, labelOverlap="greedy"),
        scale=alt.Scale(type="band", paddingInner=0.3, paddingOuter=0.3),
    )


def k_of(k: float) -> float:
    """Return a k for an axis: whole, or with two digits."""
    return int(k) if float(k).is_integer() else round(k, 2)


def side_by_side(field: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the encoding that puts the marks of several names next to each other."""
    return {"xOffset": alt.XOffset(field, sort=list(names))} if len(names) > 1 else {}


def accuracy_axis(rows: Sequence[Row], numbers: SeriesStatistics) -> alt.Y:
    """Return an axis that shows all intervals, and hardly any room above 100 or below 0."""
    ends = [row[end] for row in rows for end in ("low", "accuracy", "high")]
    known = [end for end in ends if end is not None]
    room = (max(known) - min(known)) * ROOM
    missing = LEAST_SPAN[numbers.scale] - (max(known) - min(known) + 2 * room)
    room += max(0, missing) / 2
    low, high = min(known) - room, max(known) + room
    if numbers.scale > 1:
        edge = EDGE * (high - low)
        low, high = max(-edge, low), min(numbers.scale + edge, high)
    scale = alt.Scale(domain=[low, high], nice=False)
    return alt.Y("accuracy:Q", title=score_axis_title(numbers), scale=scale, axis=tidy_axis())


def speed_up_axis(field: str, highest: float, title: str = "speed-up") -> alt.Y:
    """Return an axis of speed-ups from 0, so that half the speed is shown as half as high."""
    top = max(1, highest) * (1 + ROOM)
    scale = alt.Scale(domain=[0, top], nice=False)
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=tidy_axis(labelExpr=TIMES))


TIMES = "datum.label + '×'"


def slower_region() -> list[alt.Chart]:
    """Return the shaded region of speed-ups below 1, and its upper end."""
    region = alt.Chart(data([{"none": 0, "one": 1}]))
    return [
        region.mark_rect(style=["slower"]).encode(y=alt.Y("none:Q"), y2="one:Q"),
        region.mark_rule(style=["reference"]).encode(y=alt.Y("one:Q")),
    ]


def labels(base: alt.Chart, text: alt.Text, **position: Any) -> list[alt.Chart]:  # noqa: ANN401
    """Return labels with a rim in the colour of the background, so that no line crosses them."""
    return [
        # The rim repeats the text, so it is hidden from screen readers.
        base.mark_text(style=[style], aria=style == "label", **position).encode(text=text)
        for style in ("rim", "label")
    ]


def finished(chart: Any, height: int = HEIGHT) -> Any:  # noqa: ANN401  (layers are of many types)
    """Return a chart as wide as its container, and ``height`` pixels high."""
    return chart.properties(width="container", height=height)
