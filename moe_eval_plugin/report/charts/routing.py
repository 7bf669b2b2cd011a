"""What routers chose in each layer: observed k, distinct experts and their load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.report.charts.base import (
    Figure,
    data,
    finished,
    labels,
    numbers_on_hover,
    tidy_axis,
)
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Row

ROW_HEIGHT = 34
MIN_HEIGHT = 90
# With more layers than this, not every layer has a tick.
MOST_TICKS = 16
# With more layers than this, numbers do not fit into the cells of a heat map.
MOST_NUMBERS = 12
BAR_HEIGHT = 200
# Room for the name of a schedule or a policy, in pixels.
LABEL_LIMIT = 160
# Opacity of the largest value: text has to stay readable on it.
STRONGEST = 0.5


@dataclass(frozen=True)
class Quantity:
    """What is counted in each layer, and how a chart shows it."""

    title: str
    """Title of the chart."""
    unit: str
    """What a number is, for the legend, axes and hovering."""
    caption: str
    """How to read it."""
    form: str
    """Format of the numbers in the cells."""


TOUCHED = "distinct experts"
SELECTED = "experts per token"
QUANTITIES = {
    "ffn-k": Quantity(
        "FFN k: experts that compute an FFN",
        SELECTED,
        "Those of a token's k experts that compute an FFN, on average. The others return zeros, "
        "the token itself, or a mixture of the token and a constant.",
        ".2f",
    ),
    "distinct-prefill": Quantity(
        "Experts touched in prefill",
        TOUCHED,
        "Distinct routed experts of a layer that one forward pass over the prompts of a batch "
        "touched, on average.",
        ".1~f",
    ),
    "distinct-decode": Quantity(
        "Experts touched per decode step",
        TOUCHED,
        "Distinct routed experts of a layer that one decode step touched, on average. Their "
        "weights have to be read from memory.",
        ".1~f",
    ),
    "load-evenness": Quantity(
        "How evenly experts are used (1 = perfectly even)",
        "evenness, 0 to 1",
        "Entropy of the load of a layer: 1 if all experts get the same number of tokens, 0 if one "
        "gets them all. Counted on the few prompts of the verification.",
        ".2f",
    ),
}


@dataclass(frozen=True)
class Routing:
    """What the page shows of the routing of one series."""

    name: str
    """The series."""
    sentences: tuple[str, ...]
    """What needs no chart."""
    figures: tuple[Figure, ...]
    """The charts."""


def routings(task: Sequence[SeriesStatistics]) -> Iterator[Routing]:
    """Yield what was observed of each series of a task; none where it was not observed.

    A quantity has one scale in all charts of a task.
    """
    found = [(one, list(_rows(one))) for one in task]
    tops = {
        TOUCHED: max((row["experts"] for _, rows in found for row in rows), default=1),
        SELECTED: max((row["observed"] or 1 for _, rows in found for row in rows), default=1),
        QUANTITIES["load-evenness"].unit: 1,
    }
    known = [(numbers, rows) for numbers, rows in found if rows]
    for number, (numbers, rows) in enumerate(known):
        suffix = f"-{number + 1}" if number else ""
        behind = f": {numbers.series.title}" if len(task) > 1 else ""
        # The heat map of schedules and policies has theirs.
        observed = [row for row in rows if row["observed"] is not None and not row["is_priced"]]
        exact = _exact_sentence(observed)
        figures = [_observed_k(observed, behind, suffix)] if observed and not exact else []
        for name, what in QUANTITIES.items():
            cells = [{**row, "value": row[name]} for row in rows if row[name] is not None]
            if cells:
                draw = heat_map if len({row["label"] for row in cells}) > 1 else _bars
                figures.append(draw(cells, f"{name}{suffix}", what, behind, tops[what.unit]))
        yield Routing(numbers.series.title, (exact,) if exact else (), tuple(figures))


def _rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield a row for each observed layer of each setting."""
    for one in numbers.points:
        record = one.point.first.record
        layers = record.experts.layers if record and record.experts else ()
        names = short_names([layer.path for layer in layers])
        for order, layer in enumerate(layers):
            yield {
                "label": one.point.label,
                "layer": names[order],
                "order": order,
                "path": layer.path,
                "experts": layer.num_experts,
                "observed": layer.observed_num_experts_per_tok,
                "requested": one.point.k,
                "is_priced": numbers.at_price_of(one.point.label) is not None,
                "distinct-prefill": layer.distinct_experts_per_prefill,
                "distinct-decode": layer.distinct_experts_per_decode_step,
                "load-evenness": layer.load_entropy,
                "ffn-k": layer.ffn_use.mean if layer.ffn_use else None,
            }


def _exact_sentence(rows: Sequence[Row]) -> str:
    """Return that every layer used the requested k; empty where one did not."""
    if not rows or any(row["observed"] != row["requested"] for row in rows):
        return ""
    n_layers = max(row["order"] for row in rows) + 1
    shown = ", ".join(dict.fromkeys(str(row["label"]) for row in rows))
    where = (
        f"in each of the {counted(n_layers, 'MoE layer')}" if n_layers > 1 else "in its MoE layer"
    )
    return f"Observed k is exactly the requested one {where}: {shown} ✓"


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the parts in which module paths differ, for instance the numbers of layers."""
    split = [path.split(".") for path in paths]
    if len({len(parts) for parts in split}) > 1 or len(paths) <= 1:
        return [str(number) for number in range(len(paths))]
    differ = [len(set(parts)) > 1 for parts in zip(*split, strict=True)]
    return [
        " ".join(part for part, differs in zip(parts, differ, strict=True) if differs)
        for parts in split
    ]


def layer_axis(rows: Sequence[Row]) -> alt.X:
    """Return the axis of layers, whose names are in ``layer``, in the order of the rows."""
    names = list(dict.fromkeys(row["layer"] for row in rows))
    every = -(-len(names) // MOST_TICKS)
    axis = alt.Axis(values=names[::every], labelAngle=0, grid=False, labelOverlap="greedy")
    return alt.X("layer:N", sort=names, title="MoE layer", axis=axis)


def _observed_k(rows: Sequence[Row], behind: str, suffix: str) -> Figure:
    last = max(row["order"] for row in rows)
    base = alt.Chart(data(rows)).encode(
        x=layer_axis(rows),
        y=alt.Y(
            "observed:Q",
            title="observed k, routed experts per token",
            scale=alt.Scale(domainMin=0, nice=True),
            axis=tidy_axis(),
        ),
        detail="label:N",
    )
    chart = alt.layer(
        base.mark_line(style=["single"]),
        base.mark_point(filled=True, opacity=1, size=30).encode(
            tooltip=[
                alt.Tooltip("label:N", title="setting"),
                alt.Tooltip("path:N", title="layer"),
                alt.Tooltip("observed:Q", title="observed k", format=".3~f"),
            ]
        ),
        *labels(
            base.transform_filter(f"datum.order == {last}"),
            alt.Text("label:N"),
            align="right",
            dy=-10,
        ),
    )
    spoken = ". ".join(
        f"{label}: {low:g}" if low == high else f"{label}: {low:g} to {high:g}"
        for label, low, high in _ranges(rows, lambda row: row["observed"])
    )
    return Figure(
        name=f"observed-k{suffix}",
        title=f"Observed k in each layer{behind}",
        caption=(
            "Experts that tokens actually used, counted before the run: the mean over text and "
            "image tokens. A flat line means the setting took effect."
        ),
        description=f"Observed k over layers. {spoken}.",
        chart=finished(chart),
    )


def _on_hover(what: Quantity) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="setting"),
        alt.Tooltip("path:N", title="layer"),
        *numbers_on_hover(("value:Q", what.unit, ".3~f")),
        alt.Tooltip("experts:Q", title="routed experts"),
    ]


def heat_map(rows: Sequence[Row], name: str, what: Quantity, behind: str, top: float) -> Figure:
    """Return settings by layers; a stronger colour is more, so that numbers stay readable."""
    settings = list(dict.fromkeys(row["label"] for row in rows))
    base = alt.Chart(data(rows)).encode(
        x=layer_axis(rows),
        y=alt.Y("label:N", sort=settings, title=None, axis=alt.Axis(labelLimit=LABEL_LIMIT)),
    )
    cells = base.mark_rect(style=["heat"]).encode(
        opacity=alt.Opacity(
            "value:Q",
            scale=alt.Scale(domain=[0, top], range=[0, STRONGEST], nice=False),
            legend=alt.Legend(title=what.unit, tickCount=4, columns=6, symbolType="square"),
        ),
        tooltip=_on_hover(what),
    )
    few = len({row["layer"] for row in rows}) <= MOST_NUMBERS
    numbers = base.mark_text(style=["in-heat"]).encode(text=alt.Text("value:Q", format=what.form))
    height = max(MIN_HEIGHT, ROW_HEIGHT * len(settings))
    return _figure(rows, name, what, behind, finished(alt.layer(cells, *[numbers] * few), height))


def _bars(rows: Sequence[Row], name: str, what: Quantity, behind: str, top: float) -> Figure:
    """Return a bar for each layer, where there is only one setting."""
    scale = alt.Scale(domain=[0, top], nice=False)
    chart = (
        alt.Chart(data(rows))
        .mark_bar(style=["cell-border"])
        .encode(
            x=layer_axis(rows),
            y=alt.Y("value:Q", title=what.unit, scale=scale, axis=tidy_axis()),
            tooltip=_on_hover(what),
        )
    )
    return _figure(rows, name, what, f", {rows[0]['label']}{behind}", finished(chart, BAR_HEIGHT))


def _figure(rows: Sequence[Row], name: str, what: Quantity, behind: str, chart: Any) -> Figure:  # noqa: ANN401  (layers are of many types)
    spoken = ". ".join(
        f"{label}: {low:.3g} to {high:.3g}"
        for label, low, high in _ranges(rows, lambda row: row["value"])
    )
    title = f"{what.title}{behind}"
    return Figure(name, title, what.caption, f"{title}. {spoken}.", chart)


def _ranges(
    rows: Sequence[Row], value: Callable[[Row], float]
) -> Iterator[tuple[str, float, float]]:
    for label in dict.fromkeys(row["label"] for row in rows):
        values = [value(row) for row in rows if row["label"] == label]
        yield label, min(values), max(values)
