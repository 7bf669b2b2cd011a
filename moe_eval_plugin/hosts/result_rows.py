"""Add the rows of our records to a host's results, whichever host it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moe_eval_plugin.results.record import RunRecord, Score

# Filter of rows that belong to no filter of answers; both hosts call a row "metric,filter".
NO_FILTER = "none"


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
