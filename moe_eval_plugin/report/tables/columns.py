"""All columns of the tables: headings, meanings, and how values are read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.verdicts import verdict_text
from moe_eval_plugin.report.tables.column import NOT_KNOWN, Column, number_text
from moe_eval_plugin.report.tables.ratio_columns import PRICE_COLUMNS
from moe_eval_plugin.report.tables.speed_columns import SPEED_COLUMNS
from moe_eval_plugin.stats.resampling import N_RESAMPLES
from moe_eval_plugin.text import HUNDRED, SMALL_P, p_value_text, points_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.experts.ffn_use import FFNUse
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.tables.column import Reader, Shown, Value
    from moe_eval_plugin.stats import PairedDifference

# The smallest p-value that resampling can give.
LEAST_P = 2 / (N_RESAMPLES + 1)


def _observed_k(_: SeriesStatistics, one: PointStatistics) -> Value:
    return one.point.median(lambda record: record.experts.observed if record.experts else None)


def _share_text(_: SeriesStatistics, one: PointStatistics) -> str:
    share = one.routed_flop_share
    return NOT_KNOWN if share is None else f"{share * HUNDRED:.1f}%"


def _observed_text(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return the observed k, with a check mark where it is exactly the requested one."""
    value = _observed_k(numbers, one)
    if not isinstance(value, float):
        return NOT_KNOWN
    is_exact = value == one.point.k and numbers.at_price_of(one.point.label) is None
    return f"{value:g} ✓" if is_exact and value.is_integer() else f"{value:.2f}"


def _ffn_use(one: PointStatistics) -> FFNUse | None:
    record = one.point.first.record
    return record.experts.ffn_use if record and record.experts else None


def _ffn_k(_: SeriesStatistics, one: PointStatistics) -> Value:
    use = _ffn_use(one)
    return use.mean if use else None


def _ffn_text(_: SeriesStatistics, one: PointStatistics) -> str:
    use = _ffn_use(one)
    return f"{use.mean:.2f} ({use.p10} to {use.p90})" if use else NOT_KNOWN


def _percent(pick: Callable[[PointStatistics], float | None]) -> Shown:
    """Return what shows a score: in percent where scores lie between 0 and 1."""

    def show(numbers: SeriesStatistics, one: PointStatistics) -> str:
        value = pick(one)
        if value is None:
            return NOT_KNOWN
        text = number_text(value * numbers.scale, 2)
        return f"{text}%" if numbers.scale > 1 else text

    return show


def _points(pick: Callable[[PairedDifference], float]) -> Shown:
    """Return what shows a difference of scores, with its sign."""

    def show(numbers: SeriesStatistics, one: PointStatistics) -> str:
        found = one.difference
        return points_text(pick(found) * numbers.scale, sign=True) if found else NOT_KNOWN

    return show


def _p_text(pick: Callable[[PairedDifference], float | None]) -> Shown:
    """Return what shows a p-value; the resampling cannot tell how far it is below its smallest."""

    def show(_: SeriesStatistics, one: PointStatistics) -> str:
        found = one.difference
        value = pick(found) if found else None
        if found is None or value is None:
            return NOT_KNOWN
        if found.p_value <= LEAST_P and found.p_value != found.mcnemar_p_value:
            return f"≤ {math.ceil(value / SMALL_P) * SMALL_P:.3f}"
        return p_value_text(value)

    return show


def _score(pick: Callable[[PointStatistics], float | None]) -> Reader:
    """Return a reader of a score, or a difference of scores, in the unit to show."""

    def read(numbers: SeriesStatistics, one: PointStatistics) -> Value:
        value = pick(one)
        return None if value is None else value * numbers.scale

    return read


def _difference(pick: Callable[..., Value]) -> Reader:
    return lambda _, one: pick(one.difference) if one.difference else None


def _retention(_: SeriesStatistics, one: PointStatistics) -> str:
    found = one.difference.retention if one.difference else None
    return NOT_KNOWN if found is None else f"{found * HUNDRED:.1f}%"


def _remarks(numbers: SeriesStatistics, one: PointStatistics) -> Value:
    words = list(_remark_words(numbers, one))
    return ", ".join(words) or None


def _remark_words(numbers: SeriesStatistics, one: PointStatistics) -> Iterator[str]:
    if one.point.is_baseline:
        yield "baseline"
    if one.on_front:
        yield "Pareto front"
    if one.is_knee:
        yield "knee"
    if one.point.label == numbers.recommended:
        yield "recommended"


def _verdict(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return what is shown of the accuracy, in words."""
    return verdict_text(numbers, one) or NOT_KNOWN


def _of_type(kind: str) -> Column:
    def read(numbers: SeriesStatistics, one: PointStatistics) -> Value:
        found = one.by_type.get(kind)
        return found.accuracy * numbers.scale if found else None

    meaning = f"Accuracy on the questions of the answer type {kind}"
    return Column(
        f"score_{kind.replace('/', '_')}",
        f"Accuracy, {kind}",
        meaning,
        read,
        show=_percent(lambda p: p.by_type[kind].accuracy if kind in p.by_type else None),
    )


SCORE_COLUMNS: tuple[Column, ...] = (
    Column("model", "Model", "Model, and what distinguishes its runs", lambda s, _: s.series.name),
    Column("task", "Task", "Task of the host", lambda s, _: s.series.task),
    Column(
        "setting",
        "Setting",
        "Requested k, with the policy and renormalisation if they are not the default",
        lambda _, p: p.point.label,
    ),
    Column(
        "observed_num_experts_per_tok",
        "Observed k",
        "Routed experts per token, counted before the run",
        _observed_k,
        2,
        show=_observed_text,
    ),
    Column(
        "routed_flop_share",
        "Routed FLOP share",
        "Share of the FLOPs of a prompt of 1,024 tokens in routed experts at this k (rho), by the "
        "cost model: what a smaller k can save at most",
        lambda _, p: p.routed_flop_share,
        show=_share_text,
    ),
    Column(
        "observed_num_ffn_experts_per_tok",
        "FFN k (p10 to p90)",
        "Those of a token's experts that compute an FFN, in models with zero-computation experts",
        _ffn_k,
        2,
        show=_ffn_text,
    ),
    Column(
        "remarks",
        "Remarks",
        "Baseline, recommended setting, and Pareto front by the measured values",
        _remarks,
    ),
    Column("metric", "Metric", "Metric of the accuracy", lambda s, _: s.series.metric),
    Column(
        "score",
        "Accuracy",
        "Mean score of the questions; in percent where scores lie between 0 and 1",
        _score(lambda p: p.accuracy),
        2,
        show=_percent(lambda p: p.accuracy),
    ),
    Column(
        "score_low",
        "from",
        "Lower end of the 95% interval of the accuracy, clustered by image",
        _score(lambda p: p.interval[0] if p.interval else None),
        2,
        show=_percent(lambda p: p.interval[0] if p.interval else None),
    ),
    Column(
        "score_high",
        "to",
        "Upper end of the 95% interval of the accuracy",
        _score(lambda p: p.interval[1] if p.interval else None),
        2,
        show=_percent(lambda p: p.interval[1] if p.interval else None),
    ),
    Column("n_questions", "Questions", "Questions that were scored", lambda _, p: p.n_questions),
    Column("n_images", "Images", "Images that the questions are about", lambda _, p: p.n_images),
    Column("n_runs", "Runs", "Runs of this setting (seeds)", lambda _, p: len(p.point.runs)),
    Column(
        "difference",
        "Difference, points",
        "Accuracy minus that of the published k, on the same questions, in points",
        _score(lambda p: p.difference.difference if p.difference else None),
        2,
        show=_points(lambda d: d.difference),
    ),
    Column(
        "difference_low",
        "from",
        "Lower end of the 95% interval of the difference",
        _score(lambda p: p.difference.interval.low if p.difference else None),
        2,
        show=_points(lambda d: d.interval.low),
    ),
    Column(
        "difference_high",
        "to",
        "Upper end of the 95% interval of the difference",
        _score(lambda p: p.difference.interval.high if p.difference else None),
        2,
        show=_points(lambda d: d.interval.high),
    ),
    Column(
        "p_value",
        "p",
        "p-value of the difference",
        _difference(lambda d: d.p_value),
        show=_p_text(lambda d: d.p_value),
    ),
    Column(
        "p_value_holm",
        "p (Holm)",
        "p-value, adjusted for the number of settings by Holm's method",
        _difference(lambda d: d.adjusted_p_value),
        show=_p_text(lambda d: d.adjusted_p_value),
    ),
    Column("test", "Test", "Test that gives the p-value", _difference(lambda d: d.test)),
    Column(
        "retention",
        "Retention",
        "Accuracy divided by that of the published k, in percent",
        _difference(lambda d: None if d.retention is None else d.retention * HUNDRED),
        show=_retention,
    ),
    Column(
        "equivalent",
        "Verdict",
        "What is shown of the accuracy: within the margin, loses more, or too few questions to "
        "tell; by tests at the 5% level. CSV: whether it is within the margin, above and below",
        lambda _, p: p.equivalence.verdict if p.equivalence else None,
        show=_verdict,
    ),
    Column(
        "n_questions_needed",
        "Questions needed",
        "Questions that show equivalence with 80% probability if nothing is lost",
        lambda _, p: p.equivalence.n_questions_needed if p.equivalence else None,
    ),
    Column(
        "n_worse",
        "Worse",
        "Questions with a lower score than at the published k",
        _difference(lambda d: d.n_lower),
    ),
    Column(
        "n_better", "Better", "Questions with a higher score", _difference(lambda d: d.n_higher)
    ),
    _of_type("yes/no"),
    _of_type("number"),
    _of_type("other"),
)
COLUMNS: tuple[Column, ...] = (*SCORE_COLUMNS, *PRICE_COLUMNS, *SPEED_COLUMNS)
