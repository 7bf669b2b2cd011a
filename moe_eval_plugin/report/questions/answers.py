"""Describe changed questions as plain data: their texts, and answers and scores at each setting."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.analysis.question_types import answer_type
from moe_eval_plugin.results.run import DOC_ID, QUESTION_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.questions.changes import SeriesChanges
    from moe_eval_plugin.report.series import FinishedTask, ReportPoint
    from moe_eval_plugin.results.samples import Question

LONGEST_TEXT = 400
DIGITS = 3
NOT_SHOWN = "-"


class Texts:
    """The texts of a page: each is in it once, and has a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text, which is cut if it is long."""
        short = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
        return self._numbers.setdefault(short, len(self._numbers))

    @property
    def all(self) -> list[str]:
        """The texts by their numbers."""
        return list(self._numbers)


class Answers:
    """Describes questions of a series for the page; names are short, as there may be thousands."""

    def __init__(self, changes: SeriesChanges, texts: Texts) -> None:
        self._changes = changes
        self._texts = texts
        self._points = changes.series.points
        self._shown = {one.point.label: one.shown for one in changes.settings}
        self._unanswered = [unanswered_reasons(one.first) for one in self._points]
        asked = changes.baseline.first.questions.values()
        self._end = _shared_end([one.text or one.prompt for one in asked])

    def of(self, key: str, question: Question) -> dict[str, Any]:
        """Return a question with its answers and scores at each setting, in their order.

        ``w`` has a letter for each setting: the first one of the kind of change for which it is
        shown there.
        """
        run = self._changes.baseline.first
        number = self._texts.number
        found = {
            "k": key,
            "q": number(self._question_text(question)),
            "t": number(question.target),
            "y": number(answer_type(run, key)),
            "a": [self._answer(point, key) for point in self._points],
            "v": [self._score(point, key) for point in self._points],
            "w": "".join(
                self._shown.get(point.label, {}).get(key, NOT_SHOWN)[0] for point in self._points
            ),
        }
        if question.image is not None:
            found["g"] = question.image
        if run.has_question_types and question.question_type:
            found["z"] = number(question.question_type)
        reasons = {str(place): number(text) for place, text in self._reasons(key)}
        return {**found, "u": reasons} if reasons else found

    def _question_text(self, question: Question) -> str:
        """Return the question without what its task puts before and behind each of them."""
        task = self._changes.baseline.first.task
        if question.text is None:
            text = question.prompt.removeprefix(task.prompt_prefix)
            return text.removesuffix(task.prompt_suffix).strip() or question.prompt
        return question.text.removesuffix(self._end).strip() or question.prompt

    def _answer(self, point: ReportPoint, key: str) -> int | None:
        own = point.first.questions.get(key)
        return None if own is None else self._texts.number(own.answer or "")

    def _score(self, point: ReportPoint, key: str) -> float | None:
        own = point.first.questions.get(key)
        if own is None:
            return None
        score = round(own.scores[self._changes.series.metric], DIGITS)
        return int(score) if score.is_integer() else score

    def _reasons(self, key: str) -> Iterator[tuple[int, str]]:
        """Yield why there is no answer, for each setting without one, by its place."""
        for place, point in enumerate(self._points):
            own = point.first.questions.get(key)
            reason = self._unanswered[place].get(key) or (own.failure if own else None)
            if reason:
                yield place, reason


def unanswered_reasons(run: FinishedTask) -> dict[str, str]:
    """Return why questions could not be put to the model, by their keys."""
    listed = run.setup.values.get("unanswered")
    name = run.answered.key_name if run.answered else QUESTION_ID
    field = "document" if name == DOC_ID else name
    return {
        str(one.get(field)): str(one.get("reason", ""))
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    }


def _shared_end(texts: Sequence[str]) -> str:
    """Return the lines in which all texts end, for instance instructions to the model."""
    columns = zip(*(reversed(text) for text in texts), strict=False)
    letters = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    end = "".join(reversed(letters))
    return end[end.index("\n") :] if "\n" in end and len(texts) > 1 else ""
