"""Charts of what routers chose in each layer: observed k, distinct experts and their load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from moe_eval_plugin.report.charts.base import Figure, data, finished, labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Row

ROW_HEIGHT = 34
MIN_HEIGHT = 150
# With more layers than this, not every layer has a tick.
MOST_TICKS = 16


def routing_figures(numbers: SeriesStatistics, number: int, *, several: bool) -> Iterator[Figure]:
    """Yield charts of the observed routing of a series; none where it was not observed.

    With ``several`` series, the titles have the name of theirs, the ``number``-th.
    """
    rows = list(_rows(numbers))
    suffix = f"-{number + 1}" if number else ""
    behind = f": {numbers.series.name}" if several else ""
    observed = [row for row in rows if row["observed"] is not None]
    if observed:
        yield _observed_k(observed, f"Observed k in each layer{behind}", suffix)
    for name in HEAT_MAPS:
        cells = [row for row in rows if row[name] is not None]
        if cells:
            yield _heat_map(cells, name, behind, suffix)


HEAT_MAPS = {
    "distinct-prefill": "Experts touched in prefill",
    "distinct-decode": "Experts touched per decode step",
    "load-evenness": "How evenly experts are used (1 = perfectly even)",
}
CAPTIONS = {
    "distinct-prefill": "Distinct routed experts of a layer that one forward pass over the prompts "
    "of a batch touched, on average.",
    "distinct-decode": "Distinct routed experts of a layer that one decode step touched, on "
    "average. Their weights have to be read from memory.",
    "load-evenness": "Entropy of the load of a layer: 1 if all experts get the same number of "
    "tokens, 0 if one gets them all. Counted on the few prompts of the verification.",
}


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
                "distinct-prefill": layer.distinct_experts_per_prefill,
                "distinct-decode": layer.distinct_experts_per_decode_step,
                "load-evenness": layer.load_entropy,
            }


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


def _layer_axis(rows: Sequence[Row]) -> alt.X:
    names = list(dict.fromkeys(row["layer"] for row in rows))
    every = -(-len(names) // MOST_TICKS)
    axis = alt.Axis(values=names[::every], labelAngle=0, grid=False, labelOverlap=True)
    return alt.X("layer:N", sort=names, title="MoE layer", axis=axis)


def _observed_k(rows: Sequence[Row], title: str, suffix: str) -> Figure:
    last = max(row["order"] for row in rows)
    base = alt.Chart(data(rows)).encode(
        x=_layer_axis(rows),
        y=alt.Y(
            "observed:Q",
            title="observed k, routed experts per token",
            scale=alt.Scale(domainMin=0, nice=True),
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
        title=title,
        caption=(
            "Experts that tokens actually used, counted before the run: the mean over text and "
            "image tokens. A flat line means the setting took effect."
        ),
        description=f"Observed k over layers. {spoken}.",
        chart=finished(chart),
    )


def _heat_map(rows: Sequence[Row], field: str, behind: str, suffix: str) -> Figure:
    settings = list(dict.fromkeys(row["label"] for row in rows))
    # A field name with a dash has to be quoted in expressions, so it is renamed.
    cells = [{**row, "value": row[field]} for row in rows]
    legend = alt.Legend(title=None, gradientLength=200)
    chart = (
        alt.Chart(data(cells))
        .mark_rect(style=["cell-border"])
        .encode(
            x=_layer_axis(rows),
            y=alt.Y("label:N", sort=settings, title=None),
            color=alt.Color("value:Q", legend=legend),
            tooltip=[
                alt.Tooltip("label:N", title="setting"),
                alt.Tooltip("path:N", title="layer"),
                alt.Tooltip("value:Q", title=HEAT_MAPS[field].lower(), format=".3~f"),
                alt.Tooltip("experts:Q", title="routed experts"),
            ],
        )
    )
    spoken = ". ".join(
        f"{label}: {low:.3g} to {high:.3g}"
        for label, low, high in _ranges(rows, lambda row: row[field])
    )
    title = f"{HEAT_MAPS[field]}{behind}"
    drawn = finished(chart, height=max(MIN_HEIGHT, ROW_HEIGHT * len(settings)))
    return Figure(f"{field}{suffix}", title, CAPTIONS[field], f"{title}. {spoken}.", drawn)


def _ranges(
    rows: Sequence[Row], value: Callable[[Row], float]
) -> Iterator[tuple[str, float, float]]:
    for label in dict.fromkeys(row["label"] for row in rows):
        values = [value(row) for row in rows if row["label"] == label]
        yield label, min(values), max(values)
