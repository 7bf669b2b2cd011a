"""What all charts share: data, axes, labels and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

HEIGHT = 320
POINT_SIZE = 70
# Margin around the values of an axis, as a share of their range, and the least range.
ROOM = 0.08
LEAST_ROOM = 0.01
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


def score_axis_title(series: SeriesStatistics) -> str:
    """Return the title of the axis of scores."""
    return "accuracy (%)" if series.scale > 1 else series.series.metric


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Return rows as the data of a chart."""
    return alt.InlineData(values=list(rows))


def by_series(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> alt.Color:
    """Return the same colour for a series in all charts of a task, with a legend for several."""
    names = [one.series.name for one in task]
    shown = [name for name in names if any(row["series"] == name for row in rows)]
    legend = alt.Legend(title=None, columns=1, values=shown) if len(shown) > 1 else None
    return alt.Color("series:N", scale=alt.Scale(domain=names), legend=legend)


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


def k_axis(rows: Sequence[Row]) -> alt.X:
    """Return an axis with a tick for each k that was run."""
    ks = sorted({row["k"] for row in rows})
    return alt.X(
        "k:Q",
        title="k, routed experts per token",
        axis=alt.Axis(values=ks, format="~g", grid=False, labelOverlap=True),
        scale=alt.Scale(zero=False, nice=False, padding=16),
    )


def accuracy_axis(rows: Sequence[Row], numbers: SeriesStatistics) -> alt.Y:
    """Return an axis that shows all intervals, but no share above 100 or below 0."""
    ends = [row[end] for row in rows for end in ("low", "accuracy", "high")]
    known = [end for end in ends if end is not None]
    room = max(max(known) - min(known), LEAST_ROOM) * ROOM
    low, high = min(known) - room, max(known) + room
    if numbers.scale > 1:
        low, high = max(0, low), min(numbers.scale, high)
    scale = alt.Scale(domain=[low, high], nice=False)
    return alt.Y("accuracy:Q", title=score_axis_title(numbers), scale=scale)


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
