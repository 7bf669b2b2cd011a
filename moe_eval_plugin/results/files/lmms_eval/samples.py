"""Read the samples files of lmms-eval: a line for each question."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.files.failures import failure_in
from moe_eval_plugin.results.files.lines import read_lines
from moe_eval_plugin.results.run import DOC_ID, FROM_CACHE, IMAGE_ID, QUESTION_ID, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.results.run import TaskRun

# Numbers of a sample that are no scores.
NOT_SCORES = frozenset({QUESTION_ID, DOC_ID, IMAGE_ID, FROM_CACHE, "token_counts"})


def samples_of(task: TaskRun) -> Iterator[Sample]:
    """Yield the samples of a task one by one; ``DataError`` names the line that is broken."""
    if task.samples is not None:
        yield from map(_sample, read_lines(task.samples))


def _sample(line: Mapping[str, Any]) -> Sample:
    image = line.get(IMAGE_ID)
    return Sample(
        question_id=_id(line, QUESTION_ID),
        doc_id=_id(line, DOC_ID),
        answers=_answers(line),
        target=str(line.get("target", "")),
        prompt=str(line.get("input", "")),
        image=None if image is None else str(image),
        scores={
            name: number
            for name, value in line.items()
            if name not in NOT_SCORES and (number := _score(value)) is not None
        },
        answer_type=_type(line, "answer_type"),
        question_type=_type(line, "question_type"),
        n_output_tokens=_n_output_tokens(line),
        submission=_submission(line),
        failure=_failure(line),
    )


def _id(line: Mapping[str, Any], name: str) -> int | str | None:
    """Return an id of a sample, or of what it submits to organisers."""
    submission = line.get("submission")
    if name not in line and isinstance(submission, dict):
        line = submission
    value = line.get(name)
    return value if isinstance(value, int | str) else None


def _answers(line: Mapping[str, Any]) -> tuple[str, ...] | None:
    answers = line.get("filtered_resps")
    given = answers if isinstance(answers, list) else [answers]
    texts = tuple(text for text in given if isinstance(text, str))
    return texts if texts and len(texts) == len(given) else None


def _submission(line: Mapping[str, Any]) -> tuple[object, object]:
    """Return question id and answer: those to submit, or else those that were scored.

    The host writes a single answer as it is or, where filters keep several, as a list.
    """
    submission = line.get("submission")
    if isinstance(submission, dict):
        return submission.get(QUESTION_ID), submission.get("answer")
    answer = line.get("filtered_resps")
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return line.get(QUESTION_ID), answer


def _failure(line: Mapping[str, Any]) -> str | None:
    """Return a message in place of an answer, before or after filters, which may hide it."""
    submission = line.get("submission")
    given = [line[name] for name in ("filtered_resps", "resps") if name in line]
    if isinstance(submission, dict) and "answer" in submission:
        given.append(submission["answer"])
    return failure_in(given)


def _n_output_tokens(line: Mapping[str, Any]) -> int | None:
    """Add up the tokens of all answers of a question; ``None`` where one was not counted."""
    counts = line.get("token_counts")
    each = [
        one.get("output_tokens") if isinstance(one, dict) else None
        for one in (counts if isinstance(counts, list) else [])
    ]
    known = [n for n in each if isinstance(n, int)]
    return sum(known) if known and len(known) == len(each) else None


def _type(line: Mapping[str, Any], name: str) -> str | None:
    value = line.get(name)
    return str(value) if value else None


def _score(value: object) -> float | None:
    """Return a number, a truth value, or the score in a record as some tasks write it."""
    if isinstance(value, dict):
        value = value.get("score")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
