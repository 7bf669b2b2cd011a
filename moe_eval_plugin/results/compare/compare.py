"""Compare two runs: share of equal answers, and paired score differences with intervals.

Runs of any model of lmms-eval or lm-eval can be compared if they were made with ``--log_samples``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.compare.calibration import without_calibration
from moe_eval_plugin.results.compare.comparison import (
    BETTER,
    NOT_SCORED,
    RIGHT_TO_WRONG,
    SAME_SCORE,
    WORSE,
    WRONG_TO_RIGHT,
    Change,
    Comparison,
    ScoreComparison,
    TaskComparison,
)
from moe_eval_plugin.results.compare.pairs import pair
from moe_eval_plugin.results.compare.settings import compare_settings, setting_kind
from moe_eval_plugin.results.compare.speed import compare_speed
from moe_eval_plugin.results.run import IMAGE_ID
from moe_eval_plugin.results.samples import choose_metrics, failure_note, images_of
from moe_eval_plugin.stats.accuracy import UNIT_BOUNDS, right_from, score_bounds
from moe_eval_plugin.stats.equivalence import equivalence
from moe_eval_plugin.stats.paired import adjust, paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.samples import AnsweredTask, Question
    from moe_eval_plugin.results.setup import Setup

    Pair = tuple[Question, Question]

FEW_CLUSTERS = 30


@dataclass(frozen=True)
class Options:
    """What to compare and how."""

    metrics: Sequence[str] = ()
    """Scores; none for the one that the task is compared by."""
    common: bool = False
    """Whether to compare the shared questions where the runs have different ones."""
    margin: float | None = None
    """Margin of the equivalence test, in the unit of the scores; ``None`` for no test."""
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    """How intervals are resampled."""
    setups: Sequence[Setup] = ()
    """Of further runs, whose calibration questions are left out as those of A and B are."""


def compare_runs(
    a: Run, b: Run, task: str | None = None, options: Options | None = None
) -> Comparison:
    """Compare the task of that name, or all that both runs have.

    Raises ``DataError`` if there is no such task, where questions differ, and for runs without
    samples; ``InvalidArgumentError`` for a score that a run does not have.
    """
    names = _shared_tasks(a, b, task)
    how = options or Options()
    compared = []
    for name in names:
        kept = without_calibration((a, a.task(name)), (b, b.task(name)), how.setups)
        one = compare_tasks(kept.a, kept.b, how)
        compared.append(replace(one, notes=(*kept.notes, *one.notes)))
    notes = [
        f"Only {name} has the task {one.task}."
        for name, run in (("A", a), ("B", b))
        for one in run.tasks
        if task is None and one.task not in names
    ]
    return Comparison(str(a.path), str(b.path), tuple(adjusted(compared)), tuple(notes))


def compare_tasks(a: AnsweredTask, b: AnsweredTask, options: Options) -> TaskComparison:
    """Compare one task of two runs question by question, in the order of A."""
    a, b, pairs = pair(a, b, common=options.common)
    metrics = choose_metrics(a, b, options.metrics)
    clusters = images_of(one for one, _ in pairs)
    bounds = [_bounds(metric, pairs) for metric in metrics]
    scores = tuple(
        _compare_scores(a.task, metric, pairs, clusters, limits, options)
        for metric, limits in zip(metrics, bounds, strict=True)
    )
    n_equal = sum(one.answer == two.answer for one, two in pairs)
    return TaskComparison(
        task=a.task.task,
        n_questions=len(pairs),
        n_only_a=len(a.questions) - len(pairs),
        n_only_b=len(b.questions) - len(pairs),
        clustered_by=IMAGE_ID if clusters is not None else None,
        equal_answers=n_equal / len(pairs) if _are_texts(pairs) else None,
        scores=scores,
        changes=tuple(_changes(a.task, pairs, metrics, bounds)),
        settings=compare_settings((a.run, a.task), (b.run, b.task)),
        notes=tuple(_notes(a, b, pairs, scores)),
        speed=compare_speed((a.run, a.task), (b.run, b.task)),
        kinds=(setting_kind(a.task), setting_kind(b.task)),
        prices=(_price(a.task), _price(b.task)),
    )


def _price(task: TaskRun) -> float | None:
    return task.record.experts.observed if task.record and task.record.experts else None


def _shared_tasks(a: Run, b: Run, task: str | None) -> list[str]:
    if task is not None:
        return [run.task(task).task for run in (a, b)][:1]
    known = {one.task for one in b.tasks}
    names = [one.task for one in a.tasks if one.task in known]
    if not names:
        texts = [", ".join(one.task for one in run.tasks) or "none" for run in (a, b)]
        message = (
            f"The runs share no task: A has {texts[0]}, and B has {texts[1]}. Pass two runs of the "
            "same task."
        )
        raise DataError(message)
    return names


def _are_texts(pairs: Iterable[Pair]) -> bool:
    return all(one.answer is not None and two.answer is not None for one, two in pairs)


def _bounds(metric: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    return score_bounds([question.scores[metric] for pair in pairs for question in pair])


def _compare_scores(
    task: TaskRun,
    metric: str,
    pairs: Sequence[Pair],
    clusters: Sequence[str] | None,
    bounds: tuple[float, float],
    options: Options,
) -> ScoreComparison:
    difference = paired_difference(
        [two.scores[metric] for _, two in pairs],
        [one.scores[metric] for one, _ in pairs],
        clusters,
        bounds=bounds,
        bootstrap=options.bootstrap,
    )
    is_tested = options.margin is not None and not task.is_lower_better(metric)
    within = equivalence(difference, options.margin or 0.0) if is_tested else None
    return ScoreComparison(metric, difference, within, bounds == UNIT_BOUNDS)


def _changes(
    task: TaskRun,
    pairs: Iterable[Pair],
    metrics: Sequence[str],
    bounds: Sequence[tuple[float, float]],
) -> Iterator[Change]:
    """Yield the questions whose answer, or one of whose scores, differs."""
    sign = -1 if metrics and task.is_lower_better(metrics[0]) else 1
    for one, two in pairs:
        scores_a = {metric: one.scores[metric] for metric in metrics}
        scores_b = {metric: two.scores[metric] for metric in metrics}
        if one.answer == two.answer and scores_a == scores_b:
            continue
        kind = NOT_SCORED
        if metrics:
            right = sign * right_from(bounds[0])
            kind = _kind(sign * scores_a[metrics[0]], sign * scores_b[metrics[0]], right)
        yield Change(
            task=task.task,
            question=one.key,
            prompt=one.prompt,
            target=one.target,
            answer_a=one.answer,
            answer_b=two.answer,
            scores_a=scores_a,
            scores_b=scores_b,
            change=kind,
        )


def _kind(a: float, b: float, right: float) -> str:
    """Return the kind of a change; an answer is right from the score ``right`` on."""
    if a == b:
        return SAME_SCORE
    if a >= right > b:
        return RIGHT_TO_WRONG
    if b >= right > a:
        return WRONG_TO_RIGHT
    return BETTER if b > a else WORSE


def _notes(
    a: AnsweredTask, b: AnsweredTask, pairs: Sequence[Pair], scores: Sequence[ScoreComparison]
) -> Iterator[str]:
    left_out = len(a.questions) + len(b.questions) - 2 * len(pairs)
    if left_out:
        yield (
            f"Only the {len(pairs):,} questions that both runs have are compared; A has "
            f"{len(a.questions):,} and B {len(b.questions):,}."
        )
    for name, run in (("A", a), ("B", b)):
        n_asked = run.task.n_samples
        n_known = len(run.questions) + run.n_left_out
        if n_asked is not None and n_asked > n_known:
            yield (
                f"{name} asked {n_asked:,} questions, and its samples file has "
                f"{n_known:,}: it may have been cut off."
            )
        answers = run.task.record.answers if run.task.record else None
        if answers is not None and answers.note is not None:
            yield f"{name}: {answers.note}"
        if run.failed:
            yield f"{name}: {failure_note(len(run.failed), len(run.questions))}"
    yield from _notes_on_prompts(a.run, b.run, pairs)
    if not _are_texts(pairs):
        yield "The answers are no text, so equal ones are not counted."
    yield from _notes_on_scores(a, b, scores)
    if not scores:
        yield "There are no scores: only the organisers of this task have them."
    if scores and scores[0].difference.n_clusters < FEW_CLUSTERS:
        n = scores[0].difference.n_clusters
        yield f"There are only {n} images or unrelated questions: intervals are not exact."


def _notes_on_prompts(a: Run, b: Run, pairs: Sequence[Pair]) -> Iterator[str]:
    n_prompts = sum(one.prompt != two.prompt for one, two in pairs)
    if a.host != b.host:
        differ = f"those of {n_prompts:,} questions differ as they are written"
        yield (
            f"A was run by {a.host} and B by {b.host}, each with prompts of its own: "
            f"{differ if n_prompts else 'all are written alike'}."
        )
    elif n_prompts:
        yield f"The prompts of {n_prompts:,} questions differ."


def _notes_on_scores(
    a: AnsweredTask, b: AnsweredTask, scores: Sequence[ScoreComparison]
) -> Iterator[str]:
    """Yield what to know of scores that are no means, or are better the lower they are."""
    for metric in (one.metric for one in scores):
        rows = a.task.score(metric), b.task.score(metric)
        listed = [one for one in a.task.metrics if one.name == metric]
        if listed and not a.task.is_mean(metric) and rows[0] and rows[1]:
            yield (
                f"{metric} is the mean of each question's own. Over all questions at once it is "
                f"{rows[0].value:.4g} in A and {rows[1].value:.4g} in B."
            )
        if a.task.is_lower_better(metric):
            yield f"{metric} is better the lower it is; whether B loses by it is not tested."


def adjusted(tasks: Sequence[TaskComparison]) -> list[TaskComparison]:
    """Return the tasks with p-values adjusted for the number of all compared scores."""
    found = {
        f"{number} {one.metric}": one.difference
        for number, task in enumerate(tasks)
        for one in task.scores
    }
    if len(found) <= 1:
        return list(tasks)
    differences = adjust(found)
    return [
        replace(
            task,
            scores=tuple(
                replace(one, difference=differences[f"{number} {one.metric}"])
                for one in task.scores
            ),
        )
        for number, task in enumerate(tasks)
    ]
