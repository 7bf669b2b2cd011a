"""Charts by type of question: accuracy of each answer type, and loss of each question type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from moe_eval_plugin.report.charts.base import (
    POINT_SIZE,
    Figure,
    accuracy_axis,
    data,
    finished,
    guides,
    intervals,
    k_axis,
    k_of,
    marks,
    numbers_on_hover,
    score_axis_title,
    side_by_side,
    tidy_axis,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.charts.base import Row

# Pixels for a setting in the row of its type, and between two types.
SETTING_HEIGHT = 9
SPACE = 13
LABEL_WIDTH = 150
# An axis of differences never shows less than this.
LEAST_POINTS = 4.0


def type_figures(task: Sequence[SeriesStatistics]) -> Iterator[Figure]:
    """Yield charts by type of question of each series; none where all questions are of one type.

    Accuracies have one scale in all charts of a task.
    """
    answered = {
        number: list(_accuracy_rows(numbers))
        for number, numbers in enumerate(task)
        if len(numbers.points) > 1 and any(len(point.by_type) > 1 for point in numbers.points)
    }
    every = [row for rows in answered.values() for row in rows]
    for number, numbers in enumerate(task):
        suffix = f"-{number + 1}" if number else ""
        behind = f": {numbers.series.title}" if len(task) > 1 else ""
        if answered.get(number):
            yield _by_answer_type(numbers, answered[number], every, (suffix, behind))
        rows = list(_difference_rows(numbers))
        if len({row["type"] for row in rows}) > 1:
            yield _by_question_type(rows, suffix, behind)


def _accuracy_rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield the accuracy of each answer type at each setting."""
    for one in numbers.points:
        for kind, found in one.by_type.items():
            if one.point.k is not None:
                yield {
                    "label": one.point.label,
                    "k": k_of(one.point.k),
                    "type": f"{kind} ({found.n_questions:,})",
                    "accuracy": found.accuracy * numbers.scale,
                    **_ends(found, numbers.scale),
                }


def _by_answer_type(
    numbers: SeriesStatistics, rows: Sequence[Row], every: Sequence[Row], names: tuple[str, str]
) -> Figure:
    """Return the chart of ``rows``, to a scale for ``every`` row of the task.

    ``names`` are the ends of its name and of its title.
    """
    suffix, behind = names
    types = list(dict.fromkeys(str(row["type"]) for row in rows))
    own = marks("type:N", types, alt.Legend(title=None))
    beside: dict[str, Any] = {"x": k_axis(), **side_by_side("type:N", types)}
    base = alt.Chart(data(rows)).encode(color=own.color, **beside)
    title = score_axis_title(numbers)
    y = accuracy_axis(every, numbers)
    tooltip = [
        alt.Tooltip("type:N", title="answer type (questions)"),
        alt.Tooltip("label:N", title="setting"),
        *numbers_on_hover(
            ("accuracy:Q", title, ".2f"), ("low:Q", "interval from", ".2f"), ("high:Q", "to", ".2f")
        ),
    ]
    chart = alt.layer(
        *guides(rows, "type", y=y, color=own.color, **beside),
        *(one.encode(**beside) for one in intervals(rows, k_axis(), title, own.color)),
        base.mark_point(size=POINT_SIZE, filled=True, opacity=1).encode(
            y=y, shape=own.shape, tooltip=tooltip
        ),
    )
    typed = any(run.has_answer_types for point in numbers.series.points for run in point.runs)
    source = (
        "Answer types are those of the data set."
        if typed
        else "Answer types are inferred from the expected answers, because this data set does not "
        "list them."
    )
    spoken = ". ".join(f"{row['type']}, {row['label']}: {row['accuracy']:.1f}" for row in rows)
    return Figure(
        name=f"accuracy-by-answer-type{suffix}",
        title=f"Accuracy by answer type{behind}",
        caption=f"{source} In brackets, the number of questions.",
        description=f"Accuracy by answer type. {spoken}.",
        chart=finished(chart),
    )


def _ends(found: PointStatistics, scale: float) -> Row:
    low, high = found.interval or (None, None)
    return {
        "low": None if low is None else low * scale,
        "high": None if high is None else high * scale,
    }


def _difference_rows(numbers: SeriesStatistics) -> Iterator[Row]:
    """Yield the difference to the baseline of each question type at each setting."""
    for one in numbers.points:
        for kind, found in one.by_question_type.items():
            if found.difference is not None:
                yield {
                    "label": one.point.label,
                    "type": f"{kind} ({found.difference.n_questions:,})",
                    "difference": found.difference.difference * numbers.scale,
                    "low": found.difference.interval.low * numbers.scale,
                    "high": found.difference.interval.high * numbers.scale,
                }


def _by_question_type(rows: Sequence[Row], suffix: str, behind: str) -> Figure:
    types = list(dict.fromkeys(row["type"] for row in rows))
    settings = list(dict.fromkeys(row["label"] for row in rows))
    axis = alt.Axis(labelLimit=LABEL_WIDTH, grid=False, ticks=False, labelPadding=6)
    own = marks("label:N", settings, alt.Legend(title=None, columns=4))
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("type:N", sort=types, title=None, axis=axis),
        yOffset=alt.YOffset("label:N", sort=settings),
        color=own.color,
    )
    chart = alt.layer(
        alt.Chart(data([{"zero": 0}]))
        .mark_rule(style=["reference"])
        .encode(x=_points_axis("zero", rows)),
        base.mark_rule(style=["interval"]).encode(x=_points_axis("low", rows), x2="high:Q"),
        base.mark_point(size=POINT_SIZE / 2, filled=True, opacity=1).encode(
            x=_points_axis("difference", rows),
            shape=own.shape,
            tooltip=[
                alt.Tooltip("type:N", title="question type (questions)"),
                alt.Tooltip("label:N", title="setting"),
                *numbers_on_hover(
                    ("difference:Q", "difference, points", "+.2f"),
                    ("low:Q", "interval from", "+.2f"),
                    ("high:Q", "to", "+.2f"),
                ),
            ],
        ),
    )
    spoken = ". ".join(f"{row['type']}, {row['label']}: {row['difference']:+.1f}" for row in rows)
    return Figure(
        name=f"difference-by-question-type{suffix}",
        title=f"Loss of each question type{behind}",
        caption=(
            "Accuracy minus that of the published k on the same questions, with 95% intervals "
            "clustered by image where images are known; left of the line is a loss. In brackets, "
            "the number of questions. With many types some differ by chance: the table has "
            "p-values that are adjusted for their number."
        ),
        description=f"Difference to the published k in points, by question type. {spoken}.",
        chart=finished(chart, height=len(types) * (SETTING_HEIGHT * len(settings) + SPACE)),
    )


def _points_axis(field: str, rows: Sequence[Row]) -> alt.X:
    """Return the axis of differences; it shows at least some points, so that noise stays small."""
    ends = [0.0, *(row[end] for row in rows for end in ("low", "high"))]
    missing = max(0.0, LEAST_POINTS - (max(ends) - min(ends))) / 2
    scale = alt.Scale(domain=[min(ends) - missing, max(ends) + missing], nice=True)
    title = "points, compared with the published k"
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=tidy_axis())
