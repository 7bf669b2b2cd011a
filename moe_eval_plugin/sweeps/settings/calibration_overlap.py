"""Compare the questions of a sweep with those that its schedules and policies were chosen on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.shared.calibration_questions import overlap_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.sweeps.plan import SweepPoint


def overlap_notes(points: Iterable[SweepPoint], n_questions: Mapping[str, int]) -> list[str]:
    """Return a note for each tuned setting and task: how many of its questions it was chosen on.

    ``n_questions`` are asked of each task, the first ones of its data. Raises
    ``InvalidArgumentError`` for a task of which no question would be left.
    """
    records = {one.tuning.name: one.tuning for one in points if one.tuning}
    for task, n in n_questions.items():
        asked = frozenset(range(n))
        chosen_on = frozenset().union(*(one.doc_ids(task) for one in records.values()))
        if asked and asked <= chosen_on:
            names = " and ".join(name for name, one in records.items() if one.doc_ids(task))
            message = (
                f"All {n:,} questions of {task} that this sweep asks took part in choosing "
                f"{names}, so none is left to judge by. Ask more questions with --limit, or run "
                "`moe-eval tune` on another split."
            )
            raise InvalidArgumentError(message)
    found = (
        overlap_text(one, task, range(n))
        for one in records.values()
        for task, n in n_questions.items()
    )
    return [text for text in found if text is not None]
