"""Add speed, routing and scores by type to lmms-eval's results.

The host's ``evaluate`` is wrapped once. Our models have records; the requests of any other model
are timed from outside, task by task, and what cannot be seen from there is left out.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.foreign_models import ForeignModelTimer
from moe_eval_plugin.hosts.lmms_eval.answers.answer_cache import AnswerCache
from moe_eval_plugin.hosts.result_rows import (
    NO_FILTER,
    NOT_KNOWN,
    add_rows,
    move_scores_by_type,
)
from moe_eval_plugin.results.files import failure_in
from moe_eval_plugin.results.record import Score
from moe_eval_plugin.results.run import FROM_CACHE

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping


# Groups whose tasks count the same; the host weights error bars by size whatever a group says.
EQUAL_TASKS = ("moe_vqa",)


def add_rows_to_results() -> None:
    """Wrap the host's ``evaluate`` so that its results contain our rows.

    These are the speed of every model, what else is known of ours, and for our tasks the scores by
    type of question, whatever the model.
    """
    from lmms_eval import evaluator

    original = evaluator.evaluate
    if getattr(original, "_has_moe_eval_rows", False):
        return

    @functools.wraps(original)
    def evaluate(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the host's signature)
        lm = args[0] if args else kwargs["lm"]
        is_ours = hasattr(lm, "moe_eval_records")
        given = lm.take_options(kwargs) if is_ours else kwargs
        cache = given.get("response_cache")
        if cache is not None:
            cache = given["response_cache"] = AnswerCache(cache, lm)
        if is_ours:
            results = original(*args, **given)
            records = lm.moe_eval_records
        else:
            with ForeignModelTimer(lm, failure_in=failure_in) as timer:
                results = original(*args, **given)
            records = timer.records()
        if cache is not None:
            records, questions = cache.complete(records, lm.world_size)
            _mark_samples(results, questions)
        if results is not None:
            _correct_errors_of_groups(results)
            move_scores_by_type(results, errors=("stderr", "stderr_clt"))
            add_rows(results, records, _score_of)
        return results

    evaluate._has_moe_eval_rows = True  # type: ignore[attr-defined]  # noqa: SLF001
    evaluator.evaluate = evaluate


def _mark_samples(
    results: dict[str, Any] | None, questions: Mapping[str, Collection[Hashable]]
) -> None:
    """Add to each sample of a run with a cache whether its answer came from there."""
    for task, samples in (results or {}).get("samples", {}).items():
        for sample in samples:
            sample[FROM_CACHE] = sample["doc_id"] in questions.get(task, ())


def _score_of(results: Mapping[str, Any], task: str) -> Score | None:
    """Return the first mean of a task that is better the higher it is and lies in 0 to 1.

    Scores of other kinds (sums, 0 to 100, judged by a server) have no number of correct answers.
    """
    rows = results["results"][task]
    for metric in results["configs"].get(task, {}).get("metric_list") or ():
        is_mean = metric.get("aggregation") == "mean" and metric.get("higher_is_better")
        value = rows.get(f"{metric['metric']},{NO_FILTER}") if is_mean else None
        if isinstance(value, int | float) and 0 <= value <= 1:
            return Score(metric["metric"], float(value))
    return None


def _correct_errors_of_groups(results: dict[str, Any]) -> None:
    """Write the standard error of the mean of a group's tasks, whose questions are independent."""
    for group in EQUAL_TASKS:
        tasks = results.get("group_subtasks", {}).get(group, ())
        for rows in (results.get(part, {}).get(group, {}) for part in ("results", "groups")):
            for name in [name for name in rows if "_stderr," in name]:
                errors = [results["results"][task].get(name) for task in tasks]
                known = all(isinstance(error, int | float) for error in errors)
                rows[name] = math.hypot(*errors) / len(errors) if known else NOT_KNOWN
