"""What the charts have in common: their form, their axes, their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

HEIGHT = 320
POINT_SIZE = 70
# Room around the values of an axis, as a share of their range, which counts as this at least.
ROOM = 0.08
LEAST_ROOM = 0.01
Row = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A chart with its heading, what there is to know when reading it, and a text instead of it.

    ``name`` is that of its files, and ``chart`` is as wide as its container.
    """

    name: str
    title: str
    caption: str
    description: str
    chart: alt.LayerChart | alt.Chart


def score_axis_title(series: SeriesStatistics) -> str:
    """Say what the score of a series is shown in."""
    return "accuracy (%)" if series.scale > 1 else series.series.metric


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Put rows into a chart."""
    return alt.InlineData(values=list(rows))


def by_series(task: Sequence[SeriesStatistics], rows: Sequence[Row]) -> alt.Color:
    """Give each series the same colour in all charts of a task, and a legend to several."""
    names = [one.series.name for one in task]
    shown = [name for name in names if any(row["series"] == name for row in rows)]
    legend = alt.Legend(title=None, columns=1, values=shown) if len(shown) > 1 else None
    return alt.Color("series:N", scale=alt.Scale(domain=names), legend=legend)


def intervals(rows: Sequence[Row], x: alt.X, title: str, colour: alt.Color) -> list[alt.Chart]:
    """Draw the intervals of the rows that have one."""
    known = [row for row in rows if row["low"] is not None]
    if not known:
        return []
    rules = alt.Chart(data(known)).mark_rule(style=["interval"])
    return [rules.encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour)]


def numbers_on_hover(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    """Show numbers when the pointer is on a mark: their fields, headings and formats."""
    return [alt.Tooltip(field, title=title, format=form) for field, title, form in fields]


def k_axis(rows: Sequence[Row]) -> alt.X:
    """Give each k that was run its tick."""
    ks = sorted({row["k"] for row in rows})
    return alt.X(
        "k:Q",
        title="k, routed experts per token",
        axis=alt.Axis(values=ks, format="~g", grid=False, labelOverlap=True),
        scale=alt.Scale(zero=False, nice=False, padding=16),
    )


def accuracy_axis(rows: Sequence[Row], numbers: SeriesStatistics) -> alt.Y:
    """Show all intervals, with some room around them, but no share above 100 or below 0."""
    ends = [row[end] for row in rows for end in ("low", "accuracy", "high")]
    known = [end for end in ends if end is not None]
    room = max(max(known) - min(known), LEAST_ROOM) * ROOM
    low, high = min(known) - room, max(known) + room
    if numbers.scale > 1:
        low, high = max(0, low), min(numbers.scale, high)
    scale = alt.Scale(domain=[low, high], nice=False)
    return alt.Y("accuracy:Q", title=score_axis_title(numbers), scale=scale)


def labels(base: alt.Chart, text: alt.Text, **place: Any) -> list[alt.Chart]:  # noqa: ANN401
    """Write labels with a rim in the colour of the background, so that no line crosses them."""
    return [
        # The rim is the same text once more, which nobody wants to hear twice.
        base.mark_text(style=[style], aria=style == "label", **place).encode(text=text)
        for style in ("rim", "label")
    ]


def finished(chart: Any, height: int = HEIGHT) -> Any:  # noqa: ANN401  (layers are of many types)
    """Let a chart be as wide as the page has room, and so many pixels high."""
    return chart.properties(width="container", height=height)
