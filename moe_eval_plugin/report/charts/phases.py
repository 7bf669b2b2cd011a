"""The chart of the time per question by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from moe_eval_plugin.report.charts.base import Figure, data, finished, numbers_on_hover, tidy_axis

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
    """Yield a chart for each series of a task, all to one scale; none without phases."""
    found = {one.series.short: (one, list(_phase_rows(one))) for one in task}
    known = [(numbers, rows) for numbers, rows in found.values() if rows]
    longest = max((_longest(rows) for _, rows in known), default=0.0)
    for number, (numbers, rows) in enumerate(known):
        suffix = f"-{number + 1}" if number else ""
        behind = f": {numbers.series.title}" if len(task) > 1 else ""
        yield _phases(rows, longest, suffix, behind)


def _phase_rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield milliseconds per question of each phase that was measured."""
    for one in numbers.points:
        n = one.measured(lambda speed: speed.n_samples)
        for order, (phase, read) in enumerate(PHASES.items()):
            seconds = _seconds(one, read)
            if seconds is not None and n:
                yield {
                    "label": one.point.label,
                    "phase": phase,
                    "order": order,
                    "milliseconds": seconds / n * MILLISECONDS,
                }


def _longest(rows: Sequence[Row]) -> float:
    """Return the milliseconds of the setting that takes longest."""
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["label"]] = totals.get(row["label"], 0) + row["milliseconds"]
    return max(totals.values())


def _seconds(one: PointStatistics, read: Callable[[PhaseTotals], float | None]) -> float | None:
    return one.measured(lambda speed: read(speed.phases) if speed.phases else None)


def _phases(rows: Sequence[Row], longest: float, suffix: str, behind: str) -> Figure:
    labels = list(dict.fromkeys(row["label"] for row in rows))
    colour = alt.Color("phase:N", sort=list(PHASES), legend=alt.Legend(title=None))
    chart = (
        alt.Chart(data(rows))
        .mark_bar(style=["cell-border"])
        .encode(
            x=alt.X(
                "milliseconds:Q",
                title="milliseconds per question",
                scale=alt.Scale(domain=[0, longest], nice=True),
                axis=tidy_axis(),
            ),
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
        name=f"phases{suffix}",
        title=f"Time per question by phase{behind}",
        caption=(
            "Average time per question (slowest process). Host gap: the device sat idle while the "
            "CPU loaded images, tokenised or ran Python."
        ),
        description=f"Milliseconds per question by phase. {spoken}.",
        chart=finished(chart, height=max(120, 34 * len(labels))),
    )
