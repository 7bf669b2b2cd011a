"""How answers ended: counted, written into samples, and warned of."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import TokenCounts
from lmms_eval.api.reasoning import parse_reasoning_tags_config

from moe_eval_plugin.measure.answer_ends import REASONING_TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.engines.request import GeneratedAnswer, Job
    from moe_eval_plugin.measure.answer_ends import AnswerEndCounter, EndedBy, TagPair
    from moe_eval_plugin.results.record import RunRecord

logger = logging.getLogger(__name__)


@dataclass
class AnswerCounts(TokenCounts):
    """Counts of one answer for the samples file, with what ended it."""

    ended_by: EndedBy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, as lmms-eval writes it."""
        counts: dict[str, Any] = super().to_dict()
        return counts if self.ended_by is None else {**counts, "ended_by": self.ended_by}


def reasoning_tags(given: str | None) -> tuple[TagPair, ...]:
    """Return the tags around thoughts: those of ``--reasoning_tags``, and those that models use."""
    pairs = [(str(a), str(b)) for a, b in parse_reasoning_tags_config(given) or ()]
    return tuple(dict.fromkeys([*pairs, *REASONING_TAGS]))


def count_ends(
    ends: AnswerEndCounter, answered: Iterable[tuple[Job, GeneratedAnswer | None]]
) -> None:
    """Count how generated answers ended; a text that was scored, or a refused request, has none."""
    for job, answer in answered:
        if answer is not None and job.continuation is None:
            limit = job.settings.arguments["max_new_tokens"]
            ends.add(job.task, answer.text, answer.ended_by, limit)


def warn_of_ends(records: Mapping[str, RunRecord]) -> None:
    """Log for each task how many answers were cut, if any were."""
    for task, record in records.items():
        if record.answers is not None and record.answers.warning is not None:
            logger.warning("%s: %s", task, record.answers.warning)
