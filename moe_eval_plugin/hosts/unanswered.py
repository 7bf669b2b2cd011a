"""Questions that cannot be put to the model: an error, or counted as unanswered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UnansweredQuestionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord

logger = logging.getLogger(__name__)

# Such a question was asked, and its answer is dropped.
NOT_FINITE = "the model computed NaN or infinity, so the answer is not its own"
ERROR, COUNT = "error", "count"
SHOWN = 3


def raise_unless_counted(policy: str, job: Job, reason: str) -> None:
    """Raise ``UnansweredQuestionError`` for a question, unless the policy is to count it."""
    if policy == COUNT:
        return
    message = (
        f"{job.describe()} cannot be put to the model: {reason}. Correct it or leave it out of the "
        f"data; or add unanswerable={COUNT} to --model_args: such a question then counts as "
        "answered with nothing."
    )
    raise UnansweredQuestionError(message)


class Skipped:
    """Leaves questions out of a verification of ``n_jobs``; an error where none is left.

    Raises ``UnansweredQuestionError`` unless such questions count as unanswered.
    """

    def __init__(self, policy: str, n_jobs: int) -> None:
        self._policy = policy
        self._n_jobs = n_jobs
        self._n_skipped = 0

    def __call__(self, job: Job, reason: str) -> None:
        """Leave out one question, for this reason."""
        raise_unless_counted(self._policy, job, reason)
        self._n_skipped += 1
        if self._n_skipped == self._n_jobs:
            message = (
                f"None of the {self._n_jobs:,} requests of {job.task} can be put to the model. The "
                f"last: {job.describe()}: {reason}. Check the data and the model."
            )
            raise UnansweredQuestionError(message)


def report_unanswered(
    ranks: Sequence[Measurements], records: Mapping[str, RunRecord], rank: int
) -> None:
    """Log for each task how many questions could not be asked, and why the first ones were not.

    Raises ``UnansweredQuestionError`` for a task that has no others.
    """
    for one in (one for measured in ranks for one in measured.unanswered):
        if one.task not in records:
            message = (
                f"No question of {one.task} could be answered. First, {_name(one.to_dict())}: "
                f"{one.reason}. Check the data and the model."
            )
            raise UnansweredQuestionError(message)
    for task, record in records.items() if rank == 0 else ():
        unanswered = record.provenance["unanswered"]
        if unanswered:
            shown = [f"{_name(one)}: {one['reason']}" for one in unanswered[:SHOWN]]
            logger.warning(
                "%s: %d of %d questions could not be asked and count as answered with nothing. %s",
                task,
                len(unanswered),
                record.speed.n_samples + sum(one["reason"] != NOT_FINITE for one in unanswered),
                "; ".join(shown),
            )


def _name(unanswered: Mapping[str, Any]) -> str:
    question_id = unanswered["question_id"]
    return (
        f"document {unanswered['document']}" if question_id is None else f"question {question_id}"
    )
