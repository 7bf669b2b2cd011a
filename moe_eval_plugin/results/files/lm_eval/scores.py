"""Names and values of scores in the files of lm-eval, where a task may have several filters.

A filter turns an answer into what is scored; each filter has scores of its own, which are called
``metric,filter``. The filter ``none`` changes nothing, and its scores are called as the metrics.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.files.content import metrics, number, score_rows
from moe_eval_plugin.results.rows import is_fact, unit_of
from moe_eval_plugin.results.run import MEAN, ScoreRow, TaskMetric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NO_FILTER = "none"
PERPLEXITY = "perplexity"
WEIGHTED_PERPLEXITY = "weighted_perplexity"
BITS_PER_BYTE = "bits_per_byte"
# How lm-eval 0.4 joins the scores of questions where the definition of a task does not say.
AGGREGATIONS = {
    **dict.fromkeys(("acc", "acc_all", "acc_bytes", "acc_mutual_info", "acc_norm"), MEAN),
    **dict.fromkeys(("exact_match", "likelihood"), MEAN),
    **dict.fromkeys(("byte_perplexity", "word_perplexity"), WEIGHTED_PERPLEXITY),
    **{name: name for name in (PERPLEXITY, BITS_PER_BYTE)},
}


def filters_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the filters of a task, in the order of its definition."""
    listed = config.get("filter_list")
    each = listed if isinstance(listed, list) else ()
    names = [one.get("name") for one in each if isinstance(one, dict)]
    return tuple(str(name) for name in names if name) or (NO_FILTER,)


def score_name(metric: str, filter_name: str) -> str:
    """Return the name of the score that a metric has after a filter."""
    return f"{metric},{filter_name}".removesuffix(f",{NO_FILTER}")


def named_rows(rows: Mapping[str, Any], higher_is_better: Mapping[str, bool]) -> Iterator[ScoreRow]:
    """Yield the rows of a task, each called as its score."""
    for filter_name, row in score_rows(rows, higher_is_better):
        yield replace(row, metric=score_name(row.metric, filter_name))


def named_metrics(config: Mapping[str, Any], filters: Sequence[str]) -> Iterator[TaskMetric]:
    """Yield the metrics that the definition of a task lists, after each of its filters."""
    for metric in metrics(config):
        aggregation = metric.aggregation or AGGREGATIONS.get(metric.name)
        for filter_name in filters:
            yield TaskMetric(score_name(metric.name, filter_name), aggregation)


def main_score(
    recorded: str | None, metrics: Sequence[TaskMetric], rows: Sequence[ScoreRow]
) -> str | None:
    """Return the score that a task is compared by.

    That is the one in the record, or else the first one that the definition of the task lists, its
    first metric after its first filter; means come before what cannot be computed of one question.
    A task that lists none has its first score.
    """
    names = [row.metric for row in rows if not is_fact(row.metric) and unit_of(row.metric) is None]
    if recorded in names:
        return recorded
    listed = [metric for metric in metrics if metric.name in names]
    in_order = sorted(listed, key=lambda metric: metric.aggregation != MEAN)
    return next(iter([metric.name for metric in in_order] or names), None)


def filter_of(score: str | None, filters: Sequence[str]) -> str:
    """Return the filter of a score, or else the first one."""
    _, _, name = (score or "").partition(",")
    return name if name in filters else filters[0]


def value_of(value: object, aggregation: str | None) -> float | None:
    """Return the score of one question; ``None`` where lm-eval has one for all questions only.

    Perplexities are stored as a log-likelihood, with the number of words or bytes: the score is
    what lm-eval computes from such a question alone.
    """
    if isinstance(value, bool):
        return float(value)
    if aggregation == PERPLEXITY:
        value, aggregation = [value, 1], WEIGHTED_PERPLEXITY
    if aggregation not in (WEIGHTED_PERPLEXITY, BITS_PER_BYTE):
        return number(value)
    log_likelihood, n = _pair(value)
    if log_likelihood is None or not n:
        return None
    nats = -log_likelihood / n
    try:
        return nats / math.log(2) if aggregation == BITS_PER_BYTE else math.exp(nats)
    except OverflowError:
        return None


def _pair(value: object) -> tuple[float | None, float | None]:
    """Return a log-likelihood and the number of its words or bytes."""
    if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004  (a pair)
        return number(value[0]), number(value[1])
    return None, None
