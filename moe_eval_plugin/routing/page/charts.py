"""Line charts of a routing study: over k, and over layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.report.charts.base import (
    Figure,
    data,
    finished,
    k_axis,
    labels,
    marks,
    numbers_on_hover,
    tidy_axis,
)
from moe_eval_plugin.report.charts.routing import layer_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.charts.base import Row

HEIGHT = 270
POINT_SIZE = 50
BAND_OPACITY = 0.14


@dataclass(frozen=True)
class Words:
    """What a chart says of itself."""

    name: str
    """Name of its files."""
    title: str
    caption: str
    description: str
    """Text in place of the chart, with its numbers."""
    axis: str
    """Title of the axis of values."""
    form: str = ".0%"
    """Format of the values on the axis."""
    exact: str = ".1%"
    """Format of the values beside points."""


def over_k(
    words: Words,
    layers: Sequence[Row],
    means: Sequence[Row],
    reference: Sequence[Row] = (),
    top: float | None = 1.0,
) -> Figure:
    """Return values over k: a thin line for each layer, a thick one with points for their mean.

    Rows have ``k`` and ``value``; those of ``layers`` have ``layer``, those of ``means`` may have
    ``low`` and ``high``, drawn as a band; ``reference`` is a dashed line.
    """
    scale = alt.Scale(domainMin=0, nice=True) if top is None else alt.Scale(domain=[0, top])
    y = alt.Y(
        "value:Q", title=words.axis, scale=scale, axis=tidy_axis(format=words.form, tickCount=5)
    )
    mean = alt.Chart(data(means)).encode(x=k_axis(), y=y)
    parts: list[Any] = []
    if means and "low" in means[0]:
        band = mean.mark_area(style=["heat"], strokeWidth=0, opacity=BAND_OPACITY, aria=False)
        parts.append(band.encode(y=alt.Y("low:Q", title=words.axis), y2="high:Q"))
    if reference:
        dashed = alt.Chart(data(reference)).mark_line(style=["reference"], aria=False)
        parts.append(dashed.encode(x=k_axis(), y=y))
    if len({row["layer"] for row in layers}) > 1:
        thin = alt.Chart(data(layers)).mark_line(style=["single", "guide"], aria=False)
        parts.append(thin.encode(x=k_axis(), y=y, detail="layer:N"))
    points = mean.mark_point(filled=True, opacity=1, size=POINT_SIZE)
    hover = [alt.Tooltip("k:O", title="k"), *numbers_on_hover(("value:Q", "mean", words.exact))]
    parts += [
        mean.mark_line(style=["single"], strokeWidth=3, aria=False),
        points.encode(tooltip=hover),
        *labels(mean, alt.Text("value:Q", format=words.exact), dy=-12),
    ]
    chart = finished(alt.layer(*parts), HEIGHT)
    return Figure(words.name, words.title, words.caption, words.description, chart)


def over_layers(
    words: Words, rows: Sequence[Row], top: float | None = 1.0, *, legend: str | None = None
) -> Figure:
    """Return values over layers; rows have ``layer``, ``value``, and ``series`` for several lines.

    ``legend`` is the title of the legend of several lines.
    """
    names = list(dict.fromkeys(row.get("series", "") for row in rows))
    scale = alt.Scale(domainMin=0, nice=True) if top is None else alt.Scale(domain=[0, top])
    y = alt.Y(
        "value:Q", title=words.axis, scale=scale, axis=tidy_axis(format=words.form, tickCount=5)
    )
    base = alt.Chart(data(rows)).encode(x=layer_axis(rows), y=y)
    hover = [
        alt.Tooltip("layer:N", title="layer"),
        *numbers_on_hover(("value:Q", words.axis, words.exact)),
    ]
    if len(names) > 1:
        hover.insert(1, alt.Tooltip("series:N", title=legend or "series"))
        style = marks("series:N", names, alt.Legend(title=legend, columns=4))
        base = base.encode(color=style.color, shape=style.shape)
        line = base.mark_line(style=["curve"], aria=False)
    else:
        line = base.mark_line(style=["single"], aria=False)
    points = base.mark_point(filled=True, opacity=1, size=POINT_SIZE).encode(tooltip=hover)
    chart = finished(alt.layer(line, points), HEIGHT)
    return Figure(words.name, words.title, words.caption, words.description, chart)
