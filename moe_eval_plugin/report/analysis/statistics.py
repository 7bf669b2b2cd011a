"""Compute the statistics of a series: intervals, differences, speed, and what to recommend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin import stats
from moe_eval_plugin.report.analysis.decision import decide
from moe_eval_plugin.report.analysis.equal_price import compare_at_equal_price
from moe_eval_plugin.report.analysis.point_speed import (
    batch_size_shown,
    speed_up_of_runs,
    timed_speeds,
)
from moe_eval_plugin.report.analysis.pooled_scores import paired, pool
from moe_eval_plugin.report.analysis.question_types import answer_types, question_types
from moe_eval_plugin.report.analysis.series_statistics import PointStatistics
from moe_eval_plugin.stats import pareto
from moe_eval_plugin.stats.accuracy import UNIT_BOUNDS
from moe_eval_plugin.stats.paired import adjust
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.report.analysis.pooled_scores import Pooled
    from moe_eval_plugin.report.analysis.question_types import QuestionTypes
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
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
    size = batch_size_shown(series)
    is_mean = series.is_mean
    found = [_measured(point, kinds, bounds, size, is_mean=is_mean) for point in series.points]
    baseline = next((one for one in found if one.point.is_baseline), None)
    if baseline is not None:
        found = list(_compare(found, baseline, bounds, None if series.is_lower_better else margin))
    return decide(series, found, margin, scale, compare_at_equal_price(series, found))


def at_margin(numbers: SeriesStatistics, margin_points: float) -> SeriesStatistics:
    """Return the statistics of a series with another margin, in the unit in which it is shown."""
    margin = margin_points / numbers.scale
    found = [
        replace(
            one,
            equivalence=_equivalence(
                one.difference, None if numbers.series.is_lower_better else margin
            ),
        )
        for one in numbers.points
    ]
    return decide(numbers.series, found, margin, numbers.scale, numbers.equal_price)


def _measured(
    point: ReportPoint,
    kinds: tuple[QuestionTypes, QuestionTypes],
    bounds: tuple[float, float],
    batch_size: int | None,
    *,
    is_mean: bool,
) -> PointStatistics:
    """Return the statistics of a setting on its own, by answer type and question type too.

    A score that is no mean over questions, a perplexity for instance, is the host's own.
    """
    questions = pool(point)
    one = PointStatistics(
        point=point,
        questions=questions,
        **(_accuracy(point, questions, bounds) if is_mean else _value_of_host(point)),
        by_type=_of_each_type(point, questions, kinds[0], bounds),
        by_question_type=_of_each_type(point, questions, kinds[1], bounds),
        throughput=stats.Spread.of(run.samples_per_s for run in point.runs),
        timed=timed_speeds(point),
        batch_size=batch_size,
    )
    return _with_costs(one)


def _with_costs(one: PointStatistics) -> PointStatistics:
    """Add the seconds and joules per right answer: of the timed pass, or of the runs."""
    found = one.timed_speed
    if one.batch_size is None:
        runs = one.point.runs
        seconds = _median(_per_correct(run, _wall_s(run)) for run in runs)
        joules = _median(_per_correct(run, _joules(run)) for run in runs)
    elif found is not None and 0 <= one.accuracy <= 1:
        n_right = one.accuracy * found.speed.n_samples
        seconds = pareto.per_correct_answer(found.speed.wall_s, n_right)
        joules = pareto.per_correct_answer(found.hardware.joules, n_right)
    else:
        seconds = joules = None
    return replace(one, seconds_per_correct=seconds, joules_per_correct=joules)


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
    return _value_of_host(point)


def _value_of_host(point: ReportPoint) -> dict[str, Any]:
    """Return the host's score, with an interval where one run has its standard error."""
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
    margin: float | None,
) -> Iterator[PointStatistics]:
    """Yield each setting with its difference to the baseline, on the questions that both have.

    Without a margin there is no equivalence test.
    """
    differences = _differences([(one, baseline) for one in found], bounds)
    by_type = _compare_types([one.by_type for one in found], baseline.by_type, bounds)
    by_question_type = _compare_types(
        [one.by_question_type for one in found], baseline.by_question_type, bounds
    )
    rows = zip(found, differences, by_type, by_question_type, strict=True)
    for one, difference, own_types, own_question_types in rows:
        yield replace(
            one,
            difference=difference,
            equivalence=_equivalence(difference, margin),
            by_type=own_types,
            by_question_type=own_question_types,
            speed_up=_speed_up(one, baseline),
        )


def _equivalence(
    difference: stats.PairedDifference | None, margin: float | None
) -> stats.Equivalence | None:
    if difference is None or margin is None:
        return None
    return stats.equivalence(difference, margin)


def _speed_up(one: PointStatistics, baseline: PointStatistics) -> stats.SpeedRatio | None:
    if one.batch_size is None:
        return speed_up_of_runs(one.point, baseline.point)
    if one.point.is_baseline:
        return stats.SpeedRatio(1.0, None, None)
    return one.timed_speed.speed_up if one.timed_speed else None


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


def _wall_s(run: FinishedTask) -> float | None:
    return run.record.speed.wall_s if run.record else None


def _joules(run: FinishedTask) -> float | None:
    return run.record.hardware.joules if run.record else None


def _per_correct(run: FinishedTask, used: float | None) -> float | None:
    """Return seconds or joules per right answer; ``None`` where these are not counted.

    Answers of a cache are among the right ones, and took neither. Questions that shared images
    took less than each would by itself.
    """
    n, value = run.facts.n, run.facts.value
    if n is None or not 0 <= value <= 1 or run.facts.n_answers_from_cache or run.is_shared:
        return None
    if run.n_left_out:
        # The time and the energy are those of all questions.
        return None
    return pareto.per_correct_answer(used, value * n)


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median, unless one of the values was not measured."""
    spread = stats.Spread.of(values)
    return spread.median if spread else None
