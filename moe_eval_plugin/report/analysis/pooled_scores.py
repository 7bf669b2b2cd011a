"""Pool the scores of a setting's runs by question, and pair them with the baseline's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin import stats
from moe_eval_plugin.results.samples import images_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.report.series import ReportPoint
    from moe_eval_plugin.results.samples import Question


@dataclass(frozen=True)
class Pooled:
    """The questions that all runs of a setting have, with the mean of their scores over runs."""

    scores: Mapping[str, float]
    questions: Mapping[str, Question]

    @property
    def values(self) -> list[float]:
        """The scores in the order of the questions."""
        return list(self.scores.values())

    @property
    def clusters(self) -> list[str] | None:
        """The image of each question; ``None`` unless it is known of all."""
        return images_of(self.questions[key] for key in self.scores)

    def only(self, keys: Iterable[str]) -> Pooled:
        """Return these questions alone."""
        return Pooled({key: self.scores[key] for key in keys}, self.questions)


def pool(point: ReportPoint) -> Pooled:
    """Return the scores of a setting, averaged over its runs question by question."""
    answered = [run.questions for run in point.runs]
    keys = [key for key in answered[0] if all(key in questions for questions in answered)]
    if not keys:
        return Pooled({}, {})
    metric = point.first.facts.metric
    pooled = stats.pool_seeds([[one[key].scores[metric] for key in keys] for one in answered])
    return Pooled(dict(zip(keys, pooled.scores, strict=True)), answered[0])


def paired(own: Pooled, base: Pooled, bounds: tuple[float, float]) -> stats.PairedDifference | None:
    """Return the difference on the questions that both have; ``None`` where they share none."""
    keys = [key for key in base.scores if key in own.scores]
    if not keys:
        return None
    return stats.paired_difference(
        [own.scores[key] for key in keys],
        [base.scores[key] for key in keys],
        images_of(base.questions[key] for key in keys),
        bounds=bounds,
    )
