"""Draw the main chart with Altair; its margin can be changed on the page.

The specification holds the values of every window that the page offers, and its parameter
``window`` names the one that is shown. All of them are computed beforehand, so that the page
decides and computes nothing itself. Of its marks only the labels are for screen readers: they have
the numbers of each setting, and others can be empty at some margin.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.charts.base import POINT_SIZE, data, marks_by_kind
from moe_eval_plugin.report.charts.trade_off.layout import (
    HEIGHT,
    NARROW_BELOW,
    band_text,
    off_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.report.charts.base import Row
    from moe_eval_plugin.report.charts.trade_off.layout import Words
    from moe_eval_plugin.report.charts.trade_off.window import Window

# Name of the parameter that a page sets to show another window.
WINDOW = "shown"
IS_NARROW = f"width < {NARROW_BELOW}"
RING_SIZE = 420
BASELINE_X = 1.0


@dataclass(frozen=True)
class Axes:
    """Titles of the axes, and how their ticks are written, as expressions of Vega."""

    x: str
    """Title of the horizontal axis."""
    x_label: str
    """Text of its ticks."""
    y: str
    """Title of the vertical axis."""
    y_label: str
    """Text of its ticks."""


def drawn(
    windows: Sequence[Window], shown: str, rows: Sequence[Row], axes: Axes, words: Words
) -> Any:  # noqa: ANN401  (Altair does not tell layers from facets)
    """Return the chart, which begins with the window ``shown``."""
    x = _axis(alt.X, "x", windows, lambda window: window.x, axes.x, axes.x_label)
    y = _axis(alt.Y, "y", windows, lambda window: window.y, axes.y, axes.y_label)
    texts = [_texts(window, words) for window in windows]
    layers = [
        *(_band() if words.band else ()),
        *_bars(rows, x, y, axes),
        *_points(rows, x, y, axes),
        *_labels(x, y),
        *(_off_scale() if any(window.off for window in windows) else ()),
    ]
    return (
        alt.layer(*layers, data=data([*rows, *texts]))
        .transform_filter(f"datum.window === {WINDOW}")
        .add_params(alt.param(name=WINDOW, value=shown))
        .properties(width="container", height=HEIGHT)
    )


def _axis(
    channel: type,
    field: str,
    windows: Sequence[Window],
    span: Callable[[Window], Any],
    title: str,
    label: str,
) -> Any:  # noqa: ANN401  (x and y are types without a common name)
    """Return an axis whose ends and ticks are those of the window that is shown."""
    spans = {window.name: span(window) for window in windows}
    ends = _of_window({name: (one.low, one.high) for name, one in spans.items()})
    ticks = _of_window({name: one.ticks for name, one in spans.items()})
    return channel(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(zero=False, nice=False, domain=ends),
        axis=alt.Axis(
            values=ticks,
            labelExpr=label,
            labelFlush=False,
            labelOverlap="greedy",
            grid=field == "y",
        ),
    )


def _of_window(values: dict[str, Any]) -> alt.ExprRef:
    """Return an expression of the value of the window that is shown."""
    return alt.ExprRef(expr=f"{json.dumps(values)}[{WINDOW}]")


def _texts(window: Window, words: Words) -> Row:
    """Return a row for what a window shows besides its settings."""
    return {
        "window": window.name,
        "kind": "window",
        "low": -window.margin,
        "high": window.y.high,
        "band": band_text(window, words),
        "off": off_text(window, words),
        "off_narrow": off_text(window, words, narrow=True),
    }


def _where(condition: str) -> alt.Chart:
    """Return a chart of the rows of the window for which an expression holds."""
    return alt.Chart().transform_filter(condition)


def _band() -> Iterator[alt.Chart]:
    """Yield the region of settings that lose no more than the margin."""
    base = _where("datum.kind === 'window'")
    yield base.mark_rect(style="band", aria=False).encode(y="low:Q", y2="high:Q")
    yield base.mark_rule(style="band-edge", aria=False).encode(y="low:Q")
    yield base.mark_text(
        style="band-label", aria=False, align="right", baseline="top", x=alt.expr("width - 6"), y=5
    ).encode(text="band:N")


def _bars(rows: Sequence[Row], x: alt.X, y: alt.Y, axes: Axes) -> Iterator[alt.Chart]:
    """Yield the line through the Pareto front, and the intervals of both axes."""
    if any(row["front"] for row in rows):
        line = _where("datum.front").mark_line(style="curve", opacity=0.45, clip=True, aria=False)
        yield line.encode(x=x, y=y, order="x:Q")
    colour = {name: each for name, each in _of_kinds(rows).items() if name == "color"}
    for field, encoding in (
        ("y", {"x": x, "y": alt.Y("y_low:Q", title=axes.y), "y2": "y_high:Q"}),
        ("x", {"y": y, "x": alt.X("x_low:Q", title=axes.x), "x2": "x_high:Q"}),
    ):
        if any(row[f"{field}_low"] is not None for row in rows):
            known = _where(f"isValid(datum.{field}_low)")
            yield known.mark_rule(style="both-intervals", aria=False).encode(**encoding, **colour)


def _of_kinds(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the encodings of the kinds of settings; none where all are a uniform k."""
    others = {row["of"] for row in rows if row["kind"] != "baseline"}
    kinds = [kind for kind in SettingKind if kind.value in others]
    return marks_by_kind(kinds)._asdict() if kinds not in ([], [SettingKind.UNIFORM]) else {}


def _points(rows: Sequence[Row], x: alt.X, y: alt.Y, axes: Axes) -> Iterator[alt.Chart]:
    """Yield the points: a black square for the published k, a ring for the recommended one.

    Where there are several kinds of settings, the others have the mark of theirs.
    """
    of_kinds = _of_kinds(rows)
    tooltip = [
        alt.Tooltip("label:N", title="setting"),
        *([alt.Tooltip("of:N", title="kind")] if of_kinds else []),
        alt.Tooltip("y:Q", title=axes.y, format=".2f"),
        alt.Tooltip("of_y:N", title="95% interval"),
        alt.Tooltip("x:Q", title=axes.x, format=".4~g"),
        alt.Tooltip("of_x:N", title="95% interval"),
    ]
    styles: dict[str, dict[str, Any]] = {
        "other": {"shape": "circle", "size": POINT_SIZE},
        "baseline": {"style": "baseline", "shape": "square", "size": 1.5 * POINT_SIZE},
        "recommended": {"style": "recommended", "shape": "circle", "size": 1.6 * POINT_SIZE},
    }
    for kind, style in styles.items():
        if any(row["kind"] == kind for row in rows):
            point = _where(f"datum.kind === '{kind}'").mark_point(
                filled=True, opacity=1, aria=False, **style
            )
            own = of_kinds if kind != "baseline" else {}
            yield point.encode(x=x, y=y, tooltip=tooltip, **own)
    if any(row["kind"] == "recommended" for row in rows):
        marked = _where("datum.kind === 'recommended'")
        ring = marked.mark_point(
            style="recommended", opacity=1, filled=False, size=RING_SIZE, aria=False
        )
        yield ring.encode(x=x, y=y)


def _labels(x: alt.X, y: alt.Y) -> Iterator[alt.Chart]:
    """Yield the labels at their places, with lines to their points where they are far away."""
    dx, dy = (
        alt.expr(f"{IS_NARROW} ? datum.narrow_{way} : datum.wide_{way}") for way in ("dx", "dy")
    )
    leads = f"({IS_NARROW} ? datum.narrow_leader : datum.wide_leader)"
    points = _where("datum.kind !== 'window'")
    yield points.mark_rule(
        style="leader",
        aria=False,
        x2Offset=dx,
        y2Offset=dy,
        opacity=alt.expr(f"{leads} ? 1 : 0"),
    ).encode(x=x, y=y, x2="x:Q", y2="y:Q")
    for style in ("rim", "label"):
        # The rim repeats the text, so it is hidden from screen readers.
        yield points.mark_text(
            style=[style], aria=style == "label", align="center", dx=dx, dy=dy
        ).encode(x=x, y=y, text="label:N")


def _off_scale() -> Iterator[alt.Chart]:
    """Yield the line that names the settings below the scale."""
    yield _where("datum.kind === 'window'").mark_text(
        style="off-scale",
        aria=False,
        align="left",
        baseline="bottom",
        x=6,
        y=alt.expr("height - 4"),
        text=alt.expr(f"{IS_NARROW} ? datum.off_narrow : datum.off"),
    )
