"""Render a comparison: tables for a terminal, and the changed questions as CSV and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.stats.equivalence import NO, YES
from moe_eval_plugin.text import align, csv_text, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.results.compare.comparison import (
        Change,
        Comparison,
        ScoreComparison,
        Setting,
        TaskComparison,
    )
    from moe_eval_plugin.stats.equivalence import Equivalence
    from moe_eval_plugin.stats.resampling import Interval

LONGEST_SETTING = 40
NOT_KNOWN = "-"
LEAST_P = 0.0001


def render(comparison: Comparison) -> str:
    """Return a comparison as text: each task with scores, changes, settings and notes."""
    head = [f"A  {comparison.a}", f"B  {comparison.b}"]
    blocks = [head, *(list(_task(task)) for task in comparison.tasks)]
    if comparison.notes:
        blocks.append([line for note in comparison.notes for line in wrap(f"Note: {note}")])
    return "\n\n".join("\n".join(block) for block in blocks)


def changes_json(changes: Sequence[Change]) -> str:
    """Return the changed questions as JSON, one object for each."""
    return json.dumps([change.to_dict() for change in changes], ensure_ascii=False, indent=1) + "\n"


def changes_csv(changes: Sequence[Change]) -> str:
    """Return the changed questions as CSV, with two columns for each score."""
    metrics = list(dict.fromkeys(metric for change in changes for metric in change.scores_a))
    names = ["task", "question", "change", "answer_a", "answer_b"]
    pairs = [f"{metric}_{side}" for metric in metrics for side in "ab"]
    rows: list[list[object]] = [[*names, *pairs, "target", "prompt"]]
    for change in changes:
        scores = [
            scores.get(metric)
            for metric in metrics
            for scores in (change.scores_a, change.scores_b)
        ]
        texts = [getattr(change, name) for name in names]
        rows.append([*texts, *scores, change.target, change.prompt])
    return csv_text(rows)


def _task(task: TaskComparison) -> Iterator[str]:
    equal = "not counted" if task.equal_answers is None else f"{task.equal_answers:.2%}"
    yield f"{task.task}: {task.n_questions:,} questions, equal answers {equal}"
    if task.scores:
        yield ""
        yield from align([HEADER, *(_score_row(score) for score in task.scores)], "lr")
    for score in task.scores:
        yield from _sentences(task, score)
    if task.changes:
        counts = ", ".join(f"{kind} {n:,}" for kind, n in task.change_counts.items())
        yield from wrap(f"Changed questions: {len(task.changes):,} ({counts})")
    yield ""
    yield from align([("", "A", "B"), *map(_setting_row, task.settings)])
    for note in task.notes:
        yield from wrap(f"Note: {note}")


HEADER = ("score", "A", "B", "B - A", "95% interval", "p", "p (Holm)", "kept", "higher", "lower")


def _score_row(score: ScoreComparison) -> tuple[str, ...]:
    one = score.difference
    return (
        score.metric,
        f"{one.baseline_value:.4f}",
        f"{one.value:.4f}",
        f"{one.difference:+.4f}",
        _interval(one.interval),
        _p(one.p_value),
        _p(one.adjusted_p_value),
        NOT_KNOWN if one.retention is None else f"{one.retention:.1%}",
        f"{one.n_higher:,}",
        f"{one.n_lower:,}",
    )


def _sentences(task: TaskComparison, score: ScoreComparison) -> Iterator[str]:
    one = score.difference
    if score is task.scores[0]:
        clusters = f"{one.n_clusters:,} images" if task.clustered_by else "single questions"
        yield f"p by {one.test}, interval resampled over {clusters}"
    if score.equivalence is not None:
        yield from wrap(_equivalence(score.metric, score.equivalence))


def _equivalence(metric: str, test: Equivalence) -> str:
    """Return the result of the equivalence test, and how many questions it would need."""
    interval = f"90% interval {_interval(test.interval)}"
    if test.verdict == YES:
        return f"{metric} is within {test.margin:g} of A ({interval})."
    if test.verdict == NO:
        return f"{metric} differs from A by more than {test.margin:g} ({interval})."
    text = f"Not enough questions to tell whether {metric} is within {test.margin:g} of A "
    text += f"({interval})."
    if test.n_questions_needed is not None:
        text += f" You would need about {test.n_questions_needed:,} if nothing was lost"
        as_observed = test.n_questions_needed_as_observed
        text += f", {as_observed:,} if the loss is the one seen here." if as_observed else "."
    return text


def _setting_row(setting: Setting) -> tuple[str, str, str]:
    return setting.name, _short(setting.a), _short(setting.b)


def _short(value: str | None) -> str:
    if value is None:
        return NOT_KNOWN
    return value if len(value) <= LONGEST_SETTING else f"{value[: LONGEST_SETTING - 3]}..."


def _interval(interval: Interval) -> str:
    return f"{interval.low:+.4f} to {interval.high:+.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return NOT_KNOWN
    return f"<{LEAST_P}" if value < LEAST_P else f"{value:.4f}"
