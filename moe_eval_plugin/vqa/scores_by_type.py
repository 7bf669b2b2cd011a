"""Average VQA scores by answer type and by question type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import fsum, sqrt
from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.vqa.scoring import OFFICIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TypedScores = tuple[str, str, Mapping[str, float]]
Average = dict[str, float | None]
ScoresByType = dict[str, dict[str, Average]]
# Suffix of the row of each answer type of VQAv2.
ANSWER_TYPES = {"yes/no": "yes_no", "number": "number", "other": "other"}
# Not a row of the table: ``result_rows`` moves it. A group averages all metrics whose names contain
# that of its own metric, so this name contains no name of a metric.
SCORES_BY_TYPE = "moe_eval_scores"


def average_by_type(items: Iterable[TypedScores]) -> ScoresByType:
    """Return the mean of each score by type, with its standard error and ``n``.

    The standard error of a single question is ``None``. Questions without a type are left out.
    """
    by_answer, by_question = defaultdict(list), defaultdict(list)
    for question_type, answer_type, scores in items:
        by_question[question_type].append(scores)
        by_answer[answer_type].append(scores)
    return {"answer_types": _average(by_answer), "question_types": _average(by_question)}


def rows_by_answer_type(
    by_type: ScoresByType, scoring: Mapping[str, str]
) -> dict[str, tuple[float | None, float | None]]:
    """Return the official scores of each answer type that occurs, with their standard errors.

    Papers publish these by answer type, so they are rows of the table.
    """
    official = [metric for metric, name in scoring.items() if name == OFFICIAL.name]
    return {
        f"{metric}_{ANSWER_TYPES[answer_type]}": (average[metric], average[f"{metric}_stderr"])
        for metric in official
        for answer_type, average in by_type["answer_types"].items()
        if answer_type in ANSWER_TYPES
    }


def _average(by_type: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Average]:
    averages: dict[str, Average] = {}
    for name, scores in sorted(by_type.items()):
        if name:
            averages[name] = {"n": len(scores)}
            for metric in scores[0]:
                values = [one[metric] for one in scores]
                averages[name] |= {metric: fmean(values), f"{metric}_stderr": _stderr(values)}
    return averages


def _stderr(values: Sequence[float]) -> float | None:
    """Return the standard error of a mean, as lmms-eval computes that of its rows."""
    n, mean = len(values), fmean(values)
    return sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1) / n) if n > 1 else None
