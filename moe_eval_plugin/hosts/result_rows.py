"""Add speed, routing and scores by type to a host's results, whichever host it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from moe_eval_plugin.results.record import RunRecord, Score
    from moe_eval_plugin.vqa.scores_by_type import ScoresByType

# Filter of rows that belong to no filter of answers; both hosts call a row "metric,filter".
NO_FILTER = "none"
NOT_KNOWN = "N/A"


def add_rows(
    results: dict[str, Any],
    records: Mapping[str, RunRecord],
    score_of: Callable[[Mapping[str, Any], str], Score | None],
) -> None:
    """Add a row for each measured value of each task, and the records as ``moe_eval``.

    ``score_of`` returns the main score of a task from results. A row of the host is never replaced,
    whatever a plugin calls its own.
    """
    scored = {
        task: replace(record, score=score_of(results, task))
        for task, record in records.items()
        if task in results["results"]
    }
    for task, record in scored.items():
        rows = results["results"][task]
        added = {
            name: value
            for name, value in record.rows().items()
            if value is not None and f"{name},{NO_FILTER}" not in rows
        }
        rows.update({f"{name},{NO_FILTER}": value for name, value in added.items()})
        directions = record.higher_is_better().items()
        # A new mapping: the host's own may be that of the task itself, which another run uses too.
        results["higher_is_better"][task] = {
            **results["higher_is_better"].get(task, {}),
            **{name: is_better for name, is_better in directions if name in added},
        }
    if scored:
        results["moe_eval"] = {task: record.to_dict() for task, record in scored.items()}


def move_scores_by_type(results: dict[str, Any], errors: Iterable[str] = ("stderr",)) -> None:
    """Move the scores by type to a part of their own, and add a few of them to the table.

    A host could make rows of a metric that some documents lack, but would then count fewer
    documents for the task, and weight it wrongly in a group. ``errors`` are the kinds of standard
    error that the host writes for a metric.
    """
    from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE

    for task, rows in results["results"].items():
        for name in [name for name in rows if name.startswith(SCORES_BY_TYPE)]:
            by_type, filter_name = rows.pop(name), name.partition(",")[2]
            if isinstance(by_type, dict) and any(by_type.values()):
                key = task if filter_name == NO_FILTER else f"{task},{filter_name}"
                results.setdefault(SCORES_BY_TYPE, {})[key] = by_type
                added = _rows_by_answer_type(results, task, by_type)
                results["higher_is_better"][task] = {
                    **results["higher_is_better"].get(task, {}),
                    **dict.fromkeys(added, True),
                }
                for metric, (value, error) in added.items():
                    rows[f"{metric},{filter_name}"] = value
                    for kind in errors:
                        rows[f"{metric}_{kind},{filter_name}"] = (
                            NOT_KNOWN if error is None else error
                        )


def _rows_by_answer_type(
    results: Mapping[str, Any], task: str, by_type: ScoresByType
) -> dict[str, tuple[float | None, float | None]]:
    from moe_eval_plugin.vqa.scores_by_type import rows_by_answer_type

    scoring = results["configs"][task]["metadata"].get("scoring") or {}
    return rows_by_answer_type(by_type, scoring)
