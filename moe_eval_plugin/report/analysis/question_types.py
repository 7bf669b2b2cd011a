"""Types of questions: by their answers, and by how they are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.report.series import FinishedTask, Series

YES_NO = frozenset({"yes", "no"})
NOT_TYPED = "not typed"
# VQAv2 has 65 question types. Most have too few questions for a result of their own.
MOST_QUESTION_TYPES = 12


@dataclass(frozen=True)
class QuestionTypes:
    """The type of each question, by its key, and the types in the order to show."""

    of: Mapping[str, str]
    order: tuple[str, ...]


def answer_types(series: Series) -> QuestionTypes:
    """Return the answer type of each question; the type with the most questions comes first."""
    of: dict[str, str] = {}
    for run in _runs(series):
        for key in run.questions:
            if key not in of:
                of[key] = answer_type(run, key)
    return QuestionTypes(of, tuple(name for name, _ in Counter(of.values()).most_common()))


def answer_type(run: FinishedTask, key: str) -> str:
    """Return the answer type of the data, or else one inferred from the expected answer."""
    question = run.questions[key]
    if run.has_answer_types:
        return question.answer_type or NOT_TYPED
    target = question.target.strip().lower()
    if target in YES_NO:
        return "yes/no"
    return "number" if target.replace(".", "", 1).isdigit() else "other"


def question_types(series: Series) -> QuestionTypes:
    """Return the question type of each question, as far as known; small types are joined."""
    of: dict[str, str] = {}
    for run in _runs(series):
        if run.has_question_types:
            of |= {key: one.question_type or NOT_TYPED for key, one in run.questions.items()}
    counts = Counter(of.values())
    # Types of equal size are sorted by name, so that every report shows the same ones.
    names = sorted(counts, key=lambda name: (-counts[name], name))
    shown, rest = names[:MOST_QUESTION_TYPES], names[MOST_QUESTION_TYPES:]
    if len(rest) <= 1:
        return QuestionTypes(of, tuple(names))
    together = f"{len(rest)} other types"
    return QuestionTypes(
        {key: together if name in rest else name for key, name in of.items()}, (*shown, together)
    )


def _runs(series: Series) -> list[FinishedTask]:
    return [run for point in series.points for run in point.runs]
