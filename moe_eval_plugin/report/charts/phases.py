"""The chart of the time per question by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from moe_eval_plugin.report.charts.base import Figure, data, finished, numbers_on_hover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.measure.speed import PhaseTotals
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.charts.base import Row

PHASES: dict[str, Callable[[PhaseTotals], float | None]] = {
    "vision": lambda phases: phases.vision_s,
    "prefill": lambda phases: phases.prefill_s,
    "decode": lambda phases: phases.decode_s,
    "host gap": lambda phases: phases.host_gap_s,
}
MILLISECONDS = 1000


def phase_figures(task: Sequence[SeriesStatistics]) -> Iterator[Figure]:
    """Yield the chart of a task; none where phases were not measured."""
    rows = [row for series in task for row in _phase_rows(series, several=len(task) > 1)]
    if rows:
        yield _phases(rows)


def _phase_rows(numbers: SeriesStatistics, *, several: bool) -> Iterator[Row]:
    """Yield milliseconds per question of each phase that was measured."""
    for one in numbers.points:
        n = one.measured(lambda speed: speed.n_samples)
        name = numbers.series.name
        label = f"{name}, {one.point.label}" if several else one.point.label
        for order, (phase, read) in enumerate(PHASES.items()):
            seconds = _seconds(one, read)
            if seconds is not None and n:
                yield {
                    "label": label,
                    "phase": phase,
                    "order": order,
                    "milliseconds": seconds / n * MILLISECONDS,
                }


def _seconds(one: PointStatistics, read: Callable[[PhaseTotals], float | None]) -> float | None:
    return one.measured(lambda speed: read(speed.phases) if speed.phases else None)


def _phases(rows: Sequence[Row]) -> Figure:
    labels = list(dict.fromkeys(row["label"] for row in rows))
    colour = alt.Color("phase:N", sort=list(PHASES), legend=alt.Legend(title=None))
    chart = (
        alt.Chart(data(rows))
        .mark_bar(style=["cell-border"])
        .encode(
            x=alt.X("milliseconds:Q", title="milliseconds per question"),
            y=alt.Y("label:N", sort=labels, title=None),
            color=colour,
            order="order:Q",
            tooltip=[
                alt.Tooltip("label:N", title="setting"),
                alt.Tooltip("phase:N", title="phase"),
                *numbers_on_hover(("milliseconds:Q", "milliseconds per question", ".2f")),
            ],
        )
    )
    spoken = ". ".join(
        f"{row['label']}, {row['phase']}: {row['milliseconds']:.2f} ms" for row in rows
    )
    return Figure(
        name="phases",
        title="Time per question by phase",
        caption=(
            "Average time per question (slowest process). Host gap: the device sat idle while the "
            "CPU loaded images, tokenised or ran Python."
        ),
        description=f"Milliseconds per question by phase. {spoken}.",
        chart=finished(chart, height=max(120, 34 * len(labels))),
    )
