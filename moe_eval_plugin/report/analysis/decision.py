"""Decide about the settings of a series: Pareto front, knee, and which one to recommend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.equal_price import judge_prices
from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
from moe_eval_plugin.report.analysis.smoke_test import smoke_test_reasons
from moe_eval_plugin.report.analysis.timing_notes import speed_warnings
from moe_eval_plugin.results.samples import failure_note
from moe_eval_plugin.stats import pareto
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import EqualPrice, PointStatistics
    from moe_eval_plugin.report.series import Series


def decide(
    series: Series,
    found: Sequence[PointStatistics],
    margin: float,
    scale: float,
    equal_price: Sequence[EqualPrice] = (),
) -> SeriesStatistics:
    """Return the series with its Pareto front, its knee, and the setting to recommend.

    ``margin`` is in the unit of the score, and ``scale`` is that of ``SeriesStatistics``. A
    schedule or policy that is neither better nor faster than the uniform k of its price is not
    recommended.
    """
    points = {
        one.point.label: pareto.TradeOffPoint(
            one.point.label, one.accuracy, one.samples_per_s, one.difference, one.speed_up
        )
        for one in found
        if one.samples_per_s is not None
    }
    # Of a score that is better the lower it is, no setting is recommended: a note says so.
    choices = [] if series.is_lower_better else list(points.values())
    front = {point.name for point in pareto.pareto_front(choices)} if len(choices) > 1 else set()
    knee = pareto.knee(choices)
    smoke_test = tuple(smoke_test_reasons(_reference(found), margin, scale))
    baseline = points.get(series.baseline.label) if series.baseline and not smoke_test else None
    baseline = None if series.is_lower_better else baseline
    prices = judge_prices(equal_price, series, smoke_test)
    idle = {one.setting for one in prices if not one.earns_its_place}
    recommended, candidate, passed_over = _chosen(choices, baseline, margin, idle)
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
        recommended=recommended,
        candidate=candidate,
        smoke_test=smoke_test,
        warnings=tuple(speed_warnings(series)),
        notes=(*_notes_on_left_out(series), *_notes(series, found)),
        equal_price=prices,
        passed_over=passed_over,
    )


def _reference(found: Sequence[PointStatistics]) -> PointStatistics:
    """Return the baseline, or else the first setting."""
    return next((one for one in found if one.point.is_baseline), found[0])


def _chosen(
    choices: Sequence[pareto.TradeOffPoint],
    baseline: pareto.TradeOffPoint | None,
    margin: float,
    idle: Collection[str],
) -> tuple[str | None, str | None, str | None]:
    """Return what to recommend, or what lacks least, and a setting that is passed over for it.

    ``idle`` are the schedules and policies that uniform k makes superfluous.
    """
    usual, candidate = _recommended(choices, baseline, margin)
    passed_over = next((name for name in (usual, candidate) if name in idle), None)
    if passed_over is None:
        return usual, candidate, None
    others = [one for one in choices if one.name not in idle]
    return *_recommended(others, baseline, margin), passed_over


def _recommended(
    choices: Sequence[pareto.TradeOffPoint],
    baseline: pareto.TradeOffPoint | None,
    margin: float,
) -> tuple[str | None, str | None]:
    """Return the setting to recommend, or else the one that lacks least to be recommended."""
    if baseline is None:
        return None, None
    certain = pareto.fastest_within(choices, baseline, margin, certain=True)
    if certain is not None and certain != baseline:
        return certain.name, None
    closest = pareto.closest_to_certain(choices, baseline, margin)
    return None, closest.name if closest else None


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
        if one.difference and one.difference.n_questions < len(one.questions.scores)
    ]
    if fewer:
        yield (f"Compared on the questions shared with the published k only: {', '.join(fewer)}.")
    yield from _notes_on_answers(found)
    if not series.is_mean:
        yield (
            f"{series.metric} is what {series.host} computed over all questions at once; "
            "differences compare the mean of each question's own."
        )
    if series.is_lower_better:
        yield (
            f"{series.metric} is better the lower it is: differences are shown, and no setting is "
            "judged or recommended by it."
        )
    if series.other_hosts:
        yield (
            f"{' and '.join(series.other_hosts)} ran {series.task} too. Each host has prompts of "
            f"its own, so compare settings of {series.host} with each other."
        )


def _notes_on_left_out(series: Series) -> Iterator[str]:
    """Yield how many questions took part in choosing, and why that matters."""
    found = series.left_out
    if found is None:
        return
    names = " and ".join(found.chosen_with)
    if found.n:
        yield (
            f"{found.n:,} of {counted(found.n_asked, 'question')} took part in choosing {names}, "
            "and would flatter what was chosen. They are left out for every setting: "
            f"{_what_is_left(series, found.n_asked - found.n)}"
        )
    if found.unknown:
        yield (
            f"{', '.join(found.unknown)}: without samples it is not known which questions took "
            f"part in choosing {names}. The score is that of all of them, and judges nothing. Run "
            "again with --log_samples."
        )


def _what_is_left(series: Series, rest: int) -> str:
    if not rest:
        return "none is left, so nothing is judged, and the scores are those of all."
    if series.is_mean:
        return f"scores and differences are those of the other {rest:,}, and only times are of all."
    return (
        f"differences are those of the other {rest:,}. {series.metric} is that of all, since "
        f"{series.host} computed it over all questions at once, and so are the times."
    )


def _notes_on_answers(found: Sequence[PointStatistics]) -> Iterator[str]:
    for one in found:
        for run in one.point.runs:
            answers = run.record.answers if run.record else None
            if answers is not None and answers.note is not None:
                yield f"{one.point.label}: {answers.note}"
        n_unanswered = max(run.setup.n_unanswered or 0 for run in one.point.runs)
        if n_unanswered:
            of = "" if one.n_questions is None else f" of {one.n_questions:,}"
            yield (
                f"{one.point.label}: {n_unanswered:,}{of} questions could not be put to the model, "
                "and count as answered with nothing."
            )
        n_failed = sum(len(run.answered.failed) for run in one.point.runs if run.answered)
        if n_failed:
            yield f"{one.point.label}: {failure_note(n_failed, one.n_questions)}"
