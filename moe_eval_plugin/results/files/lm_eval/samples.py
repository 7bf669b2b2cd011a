"""Read the samples files of lm-eval: a line for each question and filter.

A line has the row of the data set, ``doc``; what the host asked, ``arguments``: contexts with their
continuations or generation settings; and the answers of the model, ``filtered_resps``, where
log-likelihoods are pairs of texts.
"""

from __future__ import annotations

import ast
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files.lines import read_lines
from moe_eval_plugin.results.files.lm_eval.scores import (
    AGGREGATIONS,
    NO_FILTER,
    filter_of,
    score_name,
    value_of,
)
from moe_eval_plugin.results.run import DOC_ID, FROM_CACHE, IMAGE_ID, QUESTION_ID, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.results.run import TaskRun

    Line = Mapping[str, Any]

# The host calls all that a task returns for a question its metrics.
NOT_SCORES = frozenset({QUESTION_ID, IMAGE_ID, FROM_CACHE})


def samples_of(task: TaskRun) -> Iterator[Sample]:
    """Yield the samples of a task, one for each question with the scores of all filters.

    The answer is that after the filter of the main score. Raises ``DataError`` for a broken line,
    and where a question has no line for one of the filters.
    """
    filters = task.filters or (NO_FILTER,)
    main = filter_of(task.main_metric, filters)
    for lines in _by_question(task, filters):
        yield _sample(task, lines.get(main) or next(iter(lines.values())), lines)


def _by_question(task: TaskRun, filters: Sequence[str]) -> Iterator[Mapping[str, Line]]:
    """Yield the lines of each question by their filters, in the order of the first filter."""
    all_lines = read_lines(task.samples) if task.samples else ()
    if len(filters) == 1:
        yield from ({filters[0]: line} for line in all_lines)
        return
    found: dict[tuple[str, int], dict[str, Line]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for line in all_lines:
        doc_id, name = str(line.get(DOC_ID)), str(line.get("filter", NO_FILTER))
        # A question that is there twice stays apart: its file cannot be used, and that is said.
        found.setdefault((doc_id, seen[doc_id, name]), {})[name] = line
        seen[doc_id, name] += 1
    for (question, _), lines in found.items():
        missing = [name for name in filters if name not in lines]
        if missing:
            message = (
                f"{task.samples} has no line of question {question} for the filter {missing[0]}. "
                "The file may have been cut off; run the evaluation again."
            )
            raise DataError(message)
        yield lines


def _sample(task: TaskRun, line: Line, lines: Mapping[str, Line]) -> Sample:
    choices = _choices(line)
    image = _field(line, IMAGE_ID)
    question_id = _id(_field(line, QUESTION_ID))
    answers = _chosen(line, choices) if choices else _texts(line)
    prompt = str(_argument(line, 0, 0) or "")
    return Sample(
        question_id=question_id,
        doc_id=_id(line.get(DOC_ID)),
        answers=answers,
        target=_target(line, choices),
        prompt=prompt,
        image=None if image is None else str(image),
        scores=dict(_scores(task, lines)),
        answer_type=_type(line, "answer_type"),
        question_type=_type(line, "question_type"),
        n_output_tokens=None,
        submission=_submission(line, question_id, answers),
        question=_question(line, prompt),
    )


def _scores(task: TaskRun, lines: Mapping[str, Line]) -> Iterator[tuple[str, float]]:
    """Yield the scores that each line names, after its filter."""
    aggregations = {metric.name: metric.aggregation for metric in task.metrics}
    for filter_name, line in lines.items():
        named = line.get("metrics")
        for metric in named if isinstance(named, list) else ():
            if not isinstance(metric, str) or metric in NOT_SCORES:
                continue
            name = score_name(metric, filter_name)
            aggregation = aggregations.get(name, AGGREGATIONS.get(metric))
            value = value_of(line.get(metric), aggregation)
            if value is not None:
                yield name, value


def _arguments(line: Line) -> list[Mapping[str, Any]]:
    """List the arguments of the requests of a question."""
    arguments = line.get("arguments")
    if not isinstance(arguments, dict):
        return []
    return [one for one in arguments.values() if isinstance(one, dict)]


def _argument(line: Line, request: int, number: int) -> object:
    arguments = _arguments(line)
    return arguments[request].get(f"arg_{number}") if request < len(arguments) else None


def _choices(line: Line) -> list[str]:
    """List the texts among which the model chose; none unless log-likelihoods decided.

    They are the continuations of one context, or else contexts that differ, without what they have
    in common. Continuations without their context, which some metrics need, come last and are no
    choices.
    """
    given = [(one.get("arg_0"), one.get("arg_1")) for one in _arguments(line)]
    pairs = [(a, b) for a, b in given if isinstance(a, str) and isinstance(b, str)]
    half = len(pairs) // 2
    if half and [("", text) for _, text in pairs[:half]] == pairs[half:]:
        pairs = pairs[:half]
    if len(pairs) < 2 or len(pairs) < len(given) // 2:  # noqa: PLR2004  (one text is no choice)
        return []
    texts = [text for _, text in pairs]
    if len(set(texts)) == 1:
        contexts = [context for context, _ in pairs]
        columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*contexts, strict=False))
        same = "".join(letters[0] for letters in columns)
        start = max(same.rfind(" "), same.rfind("\n")) + 1
        texts = [context[start:] for context in contexts]
    return [text.strip() for text in texts]


def _chosen(line: Line, choices: Sequence[str]) -> tuple[str, ...] | None:
    """Return the choice with the largest log-likelihood, the first one of several."""
    answers = line.get("filtered_resps")
    found = answers[: len(choices)] if isinstance(answers, list) else []
    try:
        values = [float(one[0]) for one in found]
        return (choices[values.index(max(values))],)
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _texts(line: Line) -> tuple[str, ...] | None:
    """Return the generated answers; ``None`` for log-likelihoods, which are written as texts."""
    if not isinstance(_argument(line, 0, 1), dict):
        return None
    answers = line.get("filtered_resps")
    each = [
        text
        for answer in (answers if isinstance(answers, list) else [answers])
        for text in (answer if isinstance(answer, list) else [answer])
    ]
    texts = tuple(text for text in each if isinstance(text, str))
    return texts if texts and len(texts) == len(each) else None


def _target(line: Line, choices: Sequence[str]) -> str:
    """Return the expected answer: the text of a choice, where the target is its number."""
    target = str(line.get("target", ""))
    if not choices:
        return target
    try:
        numbers = ast.literal_eval(target)
        wanted = numbers if isinstance(numbers, list) else [numbers]
        return ", ".join(choices[number] for number in wanted if number >= 0) or target
    except (IndexError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return target


def _question(line: Line, prompt: str) -> str | None:
    """Return the end of a prompt from the question of the row on: examples come before it."""
    question = _field(line, "question")
    if not isinstance(question, str) or not question or question not in prompt:
        return None
    return prompt[prompt.rindex(question) :]


def _field(line: Line, name: str) -> object:
    """Return a field of what is submitted, or else of the line or of the row of the data set."""
    for part in (line.get("submission"), line, line.get("doc")):
        if isinstance(part, dict) and part.get(name) is not None:
            return part[name]
    return None


def _submission(
    line: Line, question_id: object, answers: Sequence[str] | None
) -> tuple[object, object]:
    submission = line.get("submission")
    if isinstance(submission, dict):
        return submission.get(QUESTION_ID), submission.get("answer")
    if answers is None:
        return question_id, None
    return question_id, answers[0] if len(answers) == 1 else list(answers)


def _id(value: object) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _type(line: Line, name: str) -> str | None:
    value = _field(line, name)
    return str(value) if value else None
