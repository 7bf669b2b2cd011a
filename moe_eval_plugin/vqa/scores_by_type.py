"""Average VQA scores by answer type, and the rows that show them."""

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
# What an answer type of VQAv2 is called at the end of the name of its row.
ANSWER_TYPES = {"yes/no": "yes_no", "number": "number", "other": "other"}
# No row of the table: ``result_rows`` moves it. A group averages the metrics whose names contain
# the one that it names, so this name contains none of the others.
SCORES_BY_TYPE = "moe_eval_scores"


def average_by_type(items: Iterable[TypedScores]) -> ScoresByType:
    """Average each score over the questions of one type, beside its standard error and ``n``.

    A standard error is ``None`` where there is one question. Questions without a type count for
    none.
    """
    by_answer, by_question = defaultdict(list), defaultdict(list)
    for question_type, answer_type, scores in items:
        by_question[question_type].append(scores)
        by_answer[answer_type].append(scores)
    return {"answer_types": _average(by_answer), "question_types": _average(by_question)}


def rows_by_answer_type(
    by_type: ScoresByType, scoring: Mapping[str, str]
) -> dict[str, tuple[float | None, float | None]]:
    """Name the official scores of each answer type that occurs, with their standard errors.

    These are published by answer type, and so they are rows of the table.
    """
    official = [metric for metric, name in scoring.items() if name == OFFICIAL.name]
    return {
        f"{metric}_{ANSWER_TYPES[kind]}": (average[metric], average[f"{metric}_stderr"])
        for metric in official
        for kind, average in by_type["answer_types"].items()
        if kind in ANSWER_TYPES
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
