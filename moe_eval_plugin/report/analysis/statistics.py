"""Compute the statistics of a series: intervals, differences, speed, and what to recommend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin import stats
from moe_eval_plugin.report.analysis.pooled_scores import paired, pool
from moe_eval_plugin.report.analysis.question_types import answer_types, question_types
from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
from moe_eval_plugin.results.samples import failure_note
from moe_eval_plugin.stats import pareto
from moe_eval_plugin.stats.accuracy import UNIT_BOUNDS
from moe_eval_plugin.stats.paired import adjust
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.report.analysis.pooled_scores import Pooled
    from moe_eval_plugin.report.analysis.question_types import QuestionTypes
    from moe_eval_plugin.report.series import FinishedTask, ReportPoint, Series

# Of a normal distribution, for scores that come with a standard error alone.
Z_95 = 1.959964


def compute(series: Series, margin_points: float) -> SeriesStatistics:
    """Return the statistics of a series.

    ``margin_points`` is in the unit in which scores are shown: points of 100 for shares.
    """
    bounds = series.bounds
    scale = HUNDRED if bounds == UNIT_BOUNDS else 1.0
    margin = margin_points / scale
    kinds = answer_types(series), question_types(series)
    found = [_measure(point, kinds, bounds) for point in series.points]
    baseline = next((one for one in found if one.point.is_baseline), None)
    if baseline is not None:
        found = list(_compare(found, baseline, bounds, margin))
    return _decide(series, found, margin, scale)


def _measure(
    point: ReportPoint, kinds: tuple[QuestionTypes, QuestionTypes], bounds: tuple[float, float]
) -> PointStatistics:
    """Return the statistics of a setting on its own, by answer type and question type too."""
    questions = pool(point)
    return PointStatistics(
        point=point,
        questions=questions,
        **_accuracy(point, questions, bounds),
        by_type=_of_each_type(point, questions, kinds[0], bounds),
        by_question_type=_of_each_type(point, questions, kinds[1], bounds),
        speed=stats.Spread.of(run.samples_per_s for run in point.runs),
        seconds_per_correct=_median(_per_correct(run, _wall_s(run)) for run in point.runs),
        joules_per_correct=_median(_per_correct(run, _joules(run)) for run in point.runs),
    )


def _accuracy(point: ReportPoint, questions: Pooled, bounds: tuple[float, float]) -> dict[str, Any]:
    """Return the interval over questions, or else the host's value with its standard error."""
    if questions.scores:
        found = stats.accuracy(questions.values, questions.clusters, bounds=bounds)
        interval = (found.interval.low, found.interval.high)
        images = found.n_clusters if questions.clusters else None
        return {
            "accuracy": found.value,
            "interval": interval,
            "n_questions": found.n_questions,
            "n_images": images,
        }
    facts = point.first.facts
    error = facts.stderr if len(point.runs) == 1 else None
    return {
        "accuracy": sum(run.facts.value for run in point.runs) / len(point.runs),
        "interval": None
        if error is None
        else (facts.value - Z_95 * error, facts.value + Z_95 * error),
        "n_questions": facts.n,
        "n_images": None,
    }


def _of_each_type(
    point: ReportPoint, questions: Pooled, kinds: QuestionTypes, bounds: tuple[float, float]
) -> dict[str, PointStatistics]:
    """Return the statistics of a setting for each type of its questions."""
    members: dict[str, list[str]] = {name: [] for name in kinds.order}
    for key in questions.scores:
        if key in kinds.of:
            members[kinds.of[key]].append(key)
    parts = {name: questions.only(keys) for name, keys in members.items() if keys}
    return {
        name: PointStatistics(
            point=point, questions=part, of_type=name, **_accuracy(point, part, bounds)
        )
        for name, part in parts.items()
    }


def _compare(
    found: Sequence[PointStatistics],
    baseline: PointStatistics,
    bounds: tuple[float, float],
    margin: float,
) -> Iterator[PointStatistics]:
    """Yield each setting with its difference to the baseline, on the questions that both have."""
    differences = _differences([(one, baseline) for one in found], bounds)
    by_type = _compare_types([one.by_type for one in found], baseline.by_type, bounds)
    by_question_type = _compare_types(
        [one.by_question_type for one in found], baseline.by_question_type, bounds
    )
    rows = zip(found, differences, by_type, by_question_type, strict=True)
    for one, difference, own_types, own_question_types in rows:
        ratio = one.speed.median / baseline.speed.median if one.speed and baseline.speed else None
        yield replace(
            one,
            difference=difference,
            equivalence=stats.equivalence(difference, margin) if difference else None,
            by_type=own_types,
            by_question_type=own_question_types,
            speed_up=ratio,
        )


def _compare_types(
    found: Sequence[Mapping[str, PointStatistics]],
    baseline: Mapping[str, PointStatistics],
    bounds: tuple[float, float],
) -> list[dict[str, PointStatistics]]:
    """Return the types with differences; p-values are adjusted for all types and settings."""
    pairs = [(one, baseline.get(name)) for types in found for name, one in types.items()]
    differences = iter(_differences(pairs, bounds))
    return [
        {name: replace(one, difference=next(differences)) for name, one in types.items()}
        for types in found
    ]


def _differences(
    pairs: Sequence[tuple[PointStatistics, PointStatistics | None]], bounds: tuple[float, float]
) -> list[stats.PairedDifference | None]:
    """List the differences of pairs; p-values are adjusted for the number of pairs."""
    found = {
        str(number): difference
        for number, (one, base) in enumerate(pairs)
        if base is not None
        and not one.point.is_baseline
        and (difference := paired(one.questions, base.questions, bounds)) is not None
    }
    adjusted = adjust(found)
    return [adjusted.get(str(number)) for number in range(len(pairs))]


def _decide(
    series: Series, found: Sequence[PointStatistics], margin: float, scale: float
) -> SeriesStatistics:
    """Return the series with its Pareto front, its knee, and the settings to recommend."""
    points = {
        one.point.label: pareto.TradeOffPoint(
            one.point.label, one.accuracy, one.speed.median, one.difference
        )
        for one in found
        if one.speed is not None
    }
    choices = list(points.values())
    front = {point.name for point in pareto.pareto_front(choices)} if len(choices) > 1 else set()
    knee = pareto.knee(choices)
    baseline = points.get(series.baseline.label) if series.baseline else None

    def fastest(*, certain: bool) -> str | None:
        if baseline is None:
            return None
        point = pareto.fastest_within(choices, baseline, margin, certain=certain)
        return point.name if point else None

    return SeriesStatistics(
        series=series,
        points=tuple(
            replace(
                one,
                on_front=one.point.label in front,
                is_knee=knee is not None and one.point.label == knee.name,
            )
            for one in found
        ),
        margin=margin,
        scale=scale,
        fastest=fastest(certain=False),
        fastest_certain=fastest(certain=True),
        notes=tuple(_notes(series, found)),
    )


def _notes(series: Series, found: Sequence[PointStatistics]) -> Iterator[str]:
    if series.baseline is None and any(one.point.k is not None for one in found):
        k = found[0].point.first.facts.baseline_num_experts_per_tok
        published = "" if k is None else f" (k={k})"
        yield (
            f"No baseline: run the published k{published} as well to see differences and speed-ups."
        )
    unpaired = [
        one.point.label
        for one in found
        if series.baseline and one.difference is None and not one.point.is_baseline
    ]
    if unpaired:
        yield (
            f"Not compared, without samples of the same questions: {', '.join(unpaired)}. Run "
            "them and the published k with --log_samples."
        )
    fewer = [
        one.point.label
        for one in found
        if one.difference and one.n_questions and one.difference.n_questions < one.n_questions
    ]
    if fewer:
        yield (f"Compared on the questions shared with the published k only: {', '.join(fewer)}.")
    for one in found:
        for run in one.point.runs:
            answers = run.record.answers if run.record else None
            if answers is not None and answers.note is not None:
                yield f"{one.point.label}: {answers.note}"
        n_failed = sum(len(run.answered.failed) for run in one.point.runs if run.answered)
        if n_failed:
            yield f"{one.point.label}: {failure_note(n_failed, one.n_questions)}"


def _wall_s(run: FinishedTask) -> float | None:
    return run.record.speed.wall_s if run.record else None


def _joules(run: FinishedTask) -> float | None:
    return run.record.hardware.joules if run.record else None


def _per_correct(run: FinishedTask, used: float | None) -> float | None:
    """Return seconds or joules per right answer; ``None`` where these are not counted.

    Answers of a cache are among the right ones, and took neither.
    """
    n, value = run.facts.n, run.facts.value
    if n is None or not 0 <= value <= 1 or run.facts.n_answers_from_cache:
        return None
    return pareto.per_correct_answer(used, value * n)


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median, unless one of the values was not measured."""
    spread = stats.Spread.of(values)
    return spread.median if spread else None
