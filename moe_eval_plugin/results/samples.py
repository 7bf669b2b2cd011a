"""The questions of a finished task with answers and scores, read from its samples file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.results.lmms_eval_files import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.results.run import Run, TaskRun

IMAGE_ID = "image_id"
# What stands for a question; a task without ids of its own has the host's number of the document.
KEYS = ("question_id", "doc_id")
# Numbers of a sample that are no scores.
NOT_SCORES = frozenset({*KEYS, IMAGE_ID, "token_counts"})


@dataclass(frozen=True)
class Question:
    """One sample. ``answer`` is ``None`` where it is no text: log-probabilities, for instance.

    ``scores`` has every number of the sample that may be a score, by its name.
    """

    key: str
    answer: str | None
    target: str
    image: str | None
    prompt: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class AnsweredTask:
    """A task of a run with its questions by their keys, in the order of the file.

    ``key_name`` is the field that the keys are from. ``main_metric`` is the score that stands for
    the task, ``None`` where there is none or it cannot be told which.
    """

    run: Run
    task: TaskRun
    key_name: str
    questions: Mapping[str, Question]
    main_metric: str | None

    @property
    def metrics(self) -> list[str]:
        """The names of the scores that every question has."""
        return shared_metrics(self.questions.values())


def read_task(run: Run, task: TaskRun) -> AnsweredTask:
    """Read the questions of a task.

    Raises ``DataError`` if there is no samples file, if it is empty or broken, and if its questions
    cannot be told apart.
    """
    if task.samples is None:
        message = (
            f"{run.path} has no samples file of {task.task} beside it, and the answers stand "
            "there. Run the task again with --log_samples."
        )
        raise DataError(message)
    samples = list(read_samples(task.samples))
    if not samples:
        message = f"{task.samples} has no samples. Run the task again with --log_samples."
        raise DataError(message)
    key_name, keys = _keys(samples, task)
    questions = {key: _question(key, sample) for key, sample in zip(keys, samples, strict=True)}
    main = _main_metric(run, task, shared_metrics(questions.values()))
    return AnsweredTask(run, task, key_name, questions, main)


def shared_metrics(questions: Iterable[Question]) -> list[str]:
    """Name the scores that each of the questions has, in the order of the first one."""
    known = [question.scores for question in questions]
    return [name for name in known[0] if all(name in scores for scores in known)]


def choose_metrics(a: AnsweredTask, b: AnsweredTask, asked: Sequence[str]) -> list[str]:
    """Choose the scores to compare: those asked for, or else the one that stands for the task.

    Nothing is chosen where a task has no scores, because only its organisers know them. Raises
    ``InvalidArgumentError`` for a score that a run does not have, and where it cannot be told which
    one to take.
    """
    common = [name for name in a.metrics if name in b.metrics]
    listed = ", ".join(common) or "none"
    unknown = [name for name in asked if name not in common]
    if unknown:
        message = (
            f"{a.task.task} has no score {unknown[0]!r} for each question of both runs. Name one "
            f"of these with --metric: {listed}."
        )
        raise InvalidArgumentError(message)
    if asked or not common:
        return list(dict.fromkeys(asked))
    if a.main_metric is None or a.main_metric != b.main_metric:
        message = (
            f"It cannot be told which score stands for {a.task.task}. Name one or more with "
            f"--metric: {listed}."
        )
        raise InvalidArgumentError(message)
    return [a.main_metric]


def _main_metric(run: Run, task: TaskRun, metrics: Sequence[str]) -> str | None:
    """Name the score that the task says to compare by, or the only one that has a row."""
    config = run.content["configs"][task.task]
    score_key = config.get("score_key") if isinstance(config, dict) else None
    if score_key in metrics:
        return str(score_key)
    rows = [score.metric for score in task.scores if score.metric in metrics]
    candidates = rows or list(metrics)
    return candidates[0] if len(candidates) == 1 else None


def _keys(samples: Sequence[Mapping[str, Any]], task: TaskRun) -> tuple[str, list[str]]:
    """Find the field that tells questions apart, and its values."""
    for name in KEYS:
        values = [_field(sample, name) for sample in samples]
        if None not in values and len(set(values)) == len(values):
            return name, [str(value) for value in values]
    message = (
        f"The questions in {task.samples} cannot be told apart: some have the same "
        f"{' and the same '.join(KEYS)}, or have none. Were several runs written into one file? "
        "Run the task again into an empty folder."
    )
    raise DataError(message)


def _question(key: str, sample: Mapping[str, Any]) -> Question:
    image = sample.get(IMAGE_ID)
    return Question(
        key=key,
        answer=_answer(sample),
        target=str(sample.get("target", "")),
        image=None if image is None else str(image),
        prompt=str(sample.get("input", "")),
        scores={
            name: number
            for name, value in sample.items()
            if name not in NOT_SCORES and (number := _score(value)) is not None
        },
    )


def _field(sample: Mapping[str, Any], name: str) -> object:
    """Return a field of a sample, or of what it submits to organisers."""
    submission = sample.get("submission")
    if name not in sample and isinstance(submission, dict):
        sample = submission
    value = sample.get(name)
    return value if isinstance(value, int | str) else None


def _answer(sample: Mapping[str, Any]) -> str | None:
    """Return the answer, without white space around it; several of them one in a line."""
    answers = sample.get("filtered_resps")
    given = answers if isinstance(answers, list) else [answers]
    texts = [text.strip() for text in given if isinstance(text, str)]
    return "\n".join(texts) if texts and len(texts) == len(given) else None


def _score(value: object) -> float | None:
    """Return a number, a truth value, or the score in a record as some tasks write it."""
    if isinstance(value, dict):
        value = value.get("score")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
