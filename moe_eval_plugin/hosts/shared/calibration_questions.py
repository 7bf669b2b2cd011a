"""Count the questions that are asked and took part in choosing a schedule or a policy."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

logger = logging.getLogger(__name__)


def overlap_text(tuning: TuningRecord, task: str, asked: Collection[Hashable]) -> str | None:
    """Return how many of the questions of a task took part in choosing; ``None`` for none.

    ``asked`` are the host's numbers of the questions.
    """
    shared = tuning.doc_ids(task).intersection(asked)
    if not shared:
        return None
    return (
        f"{len(shared):,} of the {len(asked):,} questions of {task} took part in choosing "
        f"{tuning.name}; the report leaves them out for all settings."
    )


def warn_of_overlap(tuning: TuningRecord, asked: Iterable[tuple[str, Hashable]]) -> None:
    """Log a warning for each task whose questions took part in choosing what is tested.

    ``asked`` are the questions: the name of the task, and the host's number.
    """
    by_task: dict[str, set[Hashable]] = defaultdict(set)
    for task, number in asked:
        by_task[task].add(number)
    for task, numbers in by_task.items():
        text = overlap_text(tuning, task, numbers)
        if text is not None:
            logger.warning(text)
