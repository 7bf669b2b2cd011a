"""Compare the accuracy of a run and its repetition, paired by question if both have samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Row
from moe_eval_plugin.results.compare.compare import Options, compare_tasks
from moe_eval_plugin.results.samples import read_task
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.publish.reproduce.agreement import Verdict
    from moe_eval_plugin.results.compare.comparison import ScoreComparison, TaskComparison
    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnsweredTask, Question

# Recorded with the settings, but different in each run.
MEASURED = frozenset({"encode_s", "energy", "hardware", "n_answered_before", "n_processes"})
# What must differ where only a part of the questions is asked again: lm-eval's digest of all too.
OF_ALL_QUESTIONS = frozenset({"limit", "task: prompts and targets"})
# Hosts write scores with all digits; only the order of a sum may differ.
ROUNDING = 1e-9


@dataclass(frozen=True)
class ScoreRows:
    """Rows of one task, and what else the comparison found."""

    rows: tuple[Row, ...]
    """The rows."""
    settings: tuple[str, ...] = ()
    """Settings in which the two runs differ."""
    notes: tuple[str, ...] = ()
    """Sentences on the limits of the comparison."""
    pairs: tuple[tuple[Question, Question], ...] = ()
    """Questions of both runs, before and now; none without samples that can be read."""


def compare_scores(
    point: str, one: tuple[Run, TaskRun], two: tuple[Run, TaskRun], *, limited: bool
) -> ScoreRows:
    """Return rows for the questions, the answers and each score of a task."""
    name = one[1].task
    if one[1].samples is None or two[1].samples is None:
        return ScoreRows(tuple(_unpaired(point, one, two)))
    try:
        a, b = read_task(*one), read_task(*two)
        compared = compare_tasks(a, b, Options(metrics=_metrics(a, b), common=True))
    except DataError as error:
        row = Row(point, name, "questions", None, None, DIFFERS, str(error), kind="accuracy")
        return ScoreRows((row,))
    rows = [_questions(point, compared, a, b, limited=limited), _answers(point, compared)]
    rows += [_score(point, a, b, score, compared, limited=limited) for score in compared.scores]
    settings = [
        f"{one.name}: {one.a} -> {one.b}"
        for one in compared.settings
        # k differs between the points of a sweep, and has its own rows.
        if one.a != one.b and not one.name.startswith("k ") and one.name not in MEASURED
        if not (limited and one.name in OF_ALL_QUESTIONS)
    ]
    notes = [] if limited else [f"{name}: {note}" for note in compared.notes]
    pairs = [(q, b.questions[key]) for key, q in a.questions.items() if key in b.questions]
    kept = tuple(row for row in rows if row is not None)
    return ScoreRows(kept, tuple(settings), tuple(notes), tuple(pairs))


def score_names(task: TaskRun) -> list[str]:
    """List the scores of a task: those in its metric list, in our record, or with an error bar."""
    found = [one.name for one in task.metrics if task.score(one.name) is not None]
    score = task.record.score if task.record else None
    recorded = [score.metric] if score else []
    return found or recorded or [row.metric for row in task.scores if row.stderr is not None]


def _metrics(a: AnsweredTask, b: AnsweredTask) -> list[str]:
    """List the scores to compare: those of the metric list, the main one, or all numbers."""
    common = [name for name in a.metrics if name in b.metrics]
    listed = [name for name in score_names(a.task) if name in common]
    main = [name for name in (a.main_metric,) if name in common and name is not None]
    return listed or main or common


def _unpaired(point: str, one: tuple[Run, TaskRun], two: tuple[Run, TaskRun]) -> Iterator[Row]:
    task = one[1].task
    for name in score_names(one[1]):
        first, second = _value(one[1], name), _value(two[1], name)
        if first is not None and first == second:
            yield Row(point, task, name, first, second, AGREES, "equal", kind="accuracy")
        else:
            reason = "without samples in both runs, questions cannot be paired"
            yield Row(point, task, name, first, second, NOT_JUDGED, reason, kind="accuracy")


def _value(task: TaskRun, name: str) -> float | None:
    score = task.score(name)
    return None if score is None else score.value


def _questions(
    point: str, compared: TaskComparison, a: AnsweredTask, b: AnsweredTask, *, limited: bool
) -> Row:
    asked = a.task.n_samples or len(a.questions)
    counts = float(compared.n_questions if limited else asked), float(len(b.questions))
    verdict: Verdict = DIFFERS
    if limited and not compared.n_only_b:
        verdict, reason = AGREES, f"these of the {len(a.questions):,} were asked again (--limit)"
    elif compared.n_only_a or compared.n_only_b or asked != len(a.questions):
        reason = (
            f"{compared.n_only_a:,} were not asked again, {compared.n_only_b:,} are new, and the "
            f"samples file has {len(a.questions):,} of {asked:,}"
        )
    else:
        verdict, reason = AGREES, "the same questions"
    return Row(point, compared.task, "questions", *counts, verdict, reason)


def _answers(point: str, compared: TaskComparison) -> Row | None:
    share = compared.equal_answers
    if share is None:
        return None
    verdict: Verdict = AGREES if share == 1 else NOT_JUDGED
    reason = f"{share:.2%} have the same text"
    if share < 1:
        reason += "; the accuracy shows whether it matters"
    return Row(point, compared.task, "equal answers", 1.0, share, verdict, reason)


def _score(
    point: str,
    a: AnsweredTask,
    b: AnsweredTask,
    score: ScoreComparison,
    compared: TaskComparison,
    *,
    limited: bool,
) -> Row:
    """Return a verdict on a score from the interval of its paired difference.

    The value in the results file, which was published, must be the mean of its samples, which are
    what is paired. If only a part of the questions was asked again, both values are over that part.
    """
    found = score.difference
    published = _published(a, score.metric)
    values = found.baseline_value, found.value
    if not limited:
        then, now = _value(a.task, score.metric), _value(b.task, score.metric)
        values = values[0] if then is None else then, values[1] if now is None else now
    own = sum(one.scores[score.metric] for one in a.questions.values()) / len(a.questions)
    if published is not None and not math.isclose(published, own, abs_tol=ROUNDING):
        reason = f"the results file has {published:.6f}, and its own samples give {own:.6f}"
        return Row(point, compared.task, score.metric, *values, DIFFERS, reason, kind="accuracy")
    holds = found.interval.holds(0)
    reason = f"{_change(a, score)} {'contains' if holds else 'does not contain'} 0"
    verdict = AGREES if holds else DIFFERS
    names = point, compared.task, score.metric
    return Row(*names, *values, verdict, reason, found.interval, "accuracy")


def _change(a: AnsweredTask, score: ScoreComparison) -> str:
    """Return the mean change of a question with its interval: in points, or in the score's unit."""
    found = score.difference
    each = found.difference, found.interval.low, found.interval.high
    sure = f"{found.interval.confidence:.0%} interval"
    if a.task.is_mean(score.metric):
        change, low, high = (f"{HUNDRED * value:+.2f}" for value in each)
        return f"{change} points, {sure} {low} to {high}"
    change, low, high = (f"{value:+.4g}" for value in each)
    return f"{change} per question, {sure} {low} to {high}"


def _published(answered: AnsweredTask, metric: str) -> float | None:
    """Return the value in the results file, if it is a mean over samples."""
    row = answered.task.score(metric)
    return row.value if row is not None and answered.task.is_mean(metric) else None
