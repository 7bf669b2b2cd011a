"""Add speed, routing and scores by type to lm-eval's results.

The host's ``evaluate`` is wrapped once. Our models have records; the requests of any other model
are timed from outside, task by task, and what cannot be seen from there is left out.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.foreign_models import ForeignModelTimer
from moe_eval_plugin.hosts.lm_eval.evaluation.answer_cache import COUNTS, HOST
from moe_eval_plugin.hosts.lm_eval.evaluation.image_tasks import check_loaded_tasks
from moe_eval_plugin.hosts.result_rows import NO_FILTER, add_rows, move_scores_by_type
from moe_eval_plugin.results.record import Score
from moe_eval_plugin.results.run import FROM_CACHE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from moe_eval_plugin.hosts.lm_eval.evaluation.answer_cache import CacheCounts


def add_rows_to_results(evaluator: Any) -> None:  # noqa: ANN401  (a module)
    """Wrap the host's ``evaluate`` so that its results contain our rows and records."""
    original = evaluator.evaluate
    if hasattr(original, "_moe_eval_rows"):
        return

    @functools.wraps(original)
    def evaluate(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the host's signature)
        lm = args[0] if args else kwargs["lm"]
        counts: CacheCounts | None = vars(lm).get(COUNTS)
        model = lm if counts is None else lm.lm
        if hasattr(model, "moe_eval_records"):
            with user_errors():
                check_loaded_tasks(model, _tasks(*args, **kwargs))
            results = original(*args, **kwargs)
            records = model.moe_eval_records
        else:
            with ForeignModelTimer(model, host=HOST) as timer:
                results = original(*args, **kwargs)
            found = timer.records().items()
            records = {task: record.with_provenance(host=HOST) for task, record in found}
        if counts is not None:
            records, questions = counts.complete(records, model.world_size)
            _mark_samples(results, questions, kwargs.get("samples"))
        if results is not None:
            move_scores_by_type(results)
            add_rows(results, records, score_of)
        return results

    evaluate._moe_eval_rows = True  # type: ignore[attr-defined]  # noqa: SLF001
    evaluator.evaluate = evaluate


def _mark_samples(
    results: dict[str, Any] | None,
    questions: Mapping[str, Collection[Any]],
    chosen: Mapping[str, Sequence[int]] | None,
) -> None:
    """Add to each sample of a run with a cache whether an answer came from there.

    ``chosen`` are the numbers of the questions that were asked, where not all were: the host writes
    these into samples, and counts requests from 0.
    """
    for task, samples in (results or {}).get("samples", {}).items():
        of_task, numbers = questions.get(task, ()), (chosen or {}).get(task)
        found = {numbers[one] for one in of_task} if numbers else set(of_task)
        for sample in samples:
            sample[FROM_CACHE] = sample["doc_id"] in found


def _tasks(_lm: object = None, task_dict: Any = None, **_: Any) -> Mapping[str, Any]:  # noqa: ANN401  (those of the host)
    """Return the loaded tasks by name from the arguments of the host's ``evaluate``."""
    found: Mapping[str, Any] = (task_dict or {}).get("tasks", {})
    return found


def score_of(results: Mapping[str, Any], task: str) -> Score | None:
    """Return the first mean of a task that is better the higher it is and lies in 0 to 1.

    The order is that of the task's ``metric_list``. Of several filters, the first counts, and the
    score is called ``metric,filter`` unless that is ``none``. Scores of other kinds (perplexities,
    sums, 0 to 100) have no number of correct answers.
    """
    rows = results["results"][task]
    better = results["higher_is_better"].get(task) or {}
    for metric in _means(results["configs"].get(task) or {}):
        values = {name: rows[name] for name in rows if name.partition(",")[0] == metric}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if better.get(metric) and is_number and 0 <= value <= 1:
                return Score(name.removesuffix(f",{NO_FILTER}"), float(value))
    return None


def _means(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the metrics of a task that are means over questions, as far as is known.

    Many definitions name no aggregation; that of the host's registry is used then.
    """
    for metric in config.get("metric_list") or ():
        name, aggregation = str(metric["metric"]), metric.get("aggregation")
        if (_aggregation(name) if aggregation is None else aggregation) == "mean":
            yield name


def _aggregation(metric: str) -> str | None:
    from lm_eval.api.registry import metric_agg_registry

    return getattr(metric_agg_registry.get(metric, None), "__name__", None)
