"""Questions of a finished task with their answers and scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.results.files import read_samples
from moe_eval_plugin.results.run import DOC_ID, QUESTION_ID

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from moe_eval_plugin.results.run import Run, Sample, TaskRun
    from moe_eval_plugin.results.setup import Setup

# What identifies a question; a task without ids of its own has the host's number of the document.
KEYS = (QUESTION_ID, DOC_ID)


@dataclass(frozen=True)
class Question:
    """One sample of a task, with its id within the task."""

    key: str
    """The id, unique within the task."""
    answer: str | None
    """Answers without surrounding white space, one in a line; ``None`` where they are no text."""
    target: str
    """Expected answer."""
    image: str | None
    """Id of the image; ``None`` is not known."""
    prompt: str
    """Text that the model was asked."""
    scores: Mapping[str, float]
    """Every number of the sample that may be a score, by its name."""
    answer_type: str | None = None
    """Answer type, where the data have one."""
    question_type: str | None = None
    """Question type, where the data have one."""
    failure: str | None = None
    """What the host wrote in place of an answer, where the request failed."""
    n_output_tokens: int | None = None
    """Tokens of the answer; ``None`` where they were not counted."""
    doc_id: str | None = None
    """The host's number of the question within its task, as text."""
    text: str | None = None
    """The prompt without examples and instructions, where the host says which part that is."""

    @classmethod
    def of(cls, key: str, sample: Sample) -> Question:
        """Build the question of a sample."""
        answers = None if sample.answers is None else [text.strip() for text in sample.answers]
        return cls(
            key=key,
            answer=None if answers is None else "\n".join(answers),
            target=sample.target,
            image=sample.image,
            prompt=sample.prompt,
            scores=sample.scores,
            answer_type=sample.answer_type,
            question_type=sample.question_type,
            failure=sample.failure,
            n_output_tokens=sample.n_output_tokens,
            doc_id=None if sample.doc_id is None else str(sample.doc_id),
            text=sample.question,
        )


def images_of(questions: Iterable[Question]) -> list[str] | None:
    """List the image of each question; ``None`` unless it is known of all."""
    images = [question.image for question in questions]
    return None if None in images else [str(image) for image in images]


@dataclass(frozen=True)
class AnsweredTask:
    """A task of a run with its questions."""

    run: Run
    """The run."""
    task: TaskRun
    """The task."""
    key_name: str
    """Field of the samples that identifies a question."""
    questions: Mapping[str, Question]
    """The questions by their ids, in the order of the file."""
    main_metric: str | None
    """Score that the task is compared by; ``None`` where there is none, or it is not clear."""
    n_left_out: int = 0
    """Questions that are left out, because they took part in choosing a setting."""

    @property
    def metrics(self) -> list[str]:
        """Names of the scores that every question has."""
        return shared_metrics(self.questions.values())

    def by_doc_id(self) -> AnsweredTask | None:
        """Return the task with its questions by the host's numbers; ``None`` without these."""
        numbered = ((one.doc_id, one) for one in self.questions.values())
        found = {doc_id: replace(one, key=doc_id) for doc_id, one in numbered if doc_id is not None}
        if len(found) < len(self.questions):
            return None
        return replace(self, key_name=DOC_ID, questions=found)

    def without(self, doc_ids: Collection[str]) -> AnsweredTask | None:
        """Return the task without the questions of these numbers of the host.

        ``None`` if there are such numbers, and a question has none: then it is not known which.
        """
        if doc_ids and any(one.doc_id is None for one in self.questions.values()):
            return None
        kept = {key: one for key, one in self.questions.items() if one.doc_id not in doc_ids}
        return replace(self, questions=kept, n_left_out=len(self.questions) - len(kept))

    @property
    def failed(self) -> list[str]:
        """Ids of the questions whose answer is a message of the host about a failure."""
        return [key for key, question in self.questions.items() if question.failure]


def calibration_doc_ids(setups: Iterable[Setup], task: str) -> frozenset[str]:
    """Return the host's numbers of a task's questions that took part in choosing a setting.

    ``setups`` are those of all settings that are shown together: each is judged without them.
    """
    records = [one.tuning for one in setups if one.tuning is not None]
    return frozenset(str(doc_id) for one in records for doc_id in one.doc_ids(task))


@dataclass(frozen=True)
class AnswerFaults:
    """Answers of a samples file that may not be the model's."""

    failed: Sequence[str]
    """Ids of the questions whose answer is a message of the host about a failure."""
    n_empty: int
    """Empty answers, which some models return after an error."""


def find_faults(task: TaskRun) -> AnswerFaults | None:
    """Return the faults in the answers of a task; ``None`` without samples that can be read."""
    if task.samples is None:
        return None
    failed: list[str] = []
    n_empty = 0
    try:
        for number, sample in enumerate(read_samples(task), start=1):
            ids = (sample.question_id, sample.doc_id, f"line {number}")
            if sample.failure:
                failed.append(str(next(one for one in ids if one is not None)))
            n_empty += sample.is_empty
    except DataError:
        return None
    return AnswerFaults(failed, n_empty)


def failure_note(n_failed: int, n_questions: int | None) -> str:
    """Return a sentence on answers that are messages about failures, to stand beside scores."""
    of = "" if n_questions is None else f" of {n_questions:,}"
    return (
        f"{n_failed:,}{of} answers are no answers but messages of the host about failed requests, "
        "which count as wrong: the score is not that of the model."
    )


def read_task(run: Run, task: TaskRun) -> AnsweredTask:
    """Return the questions of a task.

    Raises ``DataError`` if there is no samples file, if it is empty or broken, and if no field
    identifies its questions.
    """
    if task.samples is None:
        message = (
            f"{run.path} has no samples file of {task.task} in its folder, which would hold the "
            "answers. Run the task again with --log_samples."
        )
        raise DataError(message)
    samples = list(read_samples(task))
    if not samples:
        message = f"{task.samples} has no samples. Run the task again with --log_samples."
        raise DataError(message)
    key_name, keys = _keys(samples, task)
    questions = {key: Question.of(key, sample) for key, sample in zip(keys, samples, strict=True)}
    main = _main_metric(task, shared_metrics(questions.values()))
    return AnsweredTask(run, task, key_name, questions, main)


def shared_metrics(questions: Iterable[Question]) -> list[str]:
    """List the scores that each of the questions has, in the order of the first one."""
    known = [question.scores for question in questions]
    return [name for name in known[0] if all(name in scores for scores in known)]


def choose_metrics(a: AnsweredTask, b: AnsweredTask, requested: Sequence[str]) -> list[str]:
    """Return the scores to compare: the requested ones, or else the main one of the task.

    There is none where a task has no scores, because only its organisers know them. Raises
    ``InvalidArgumentError`` for a score that a run does not have, and where the main one is not
    clear.
    """
    common = [name for name in a.metrics if name in b.metrics]
    listed = ", ".join(common) or "none"
    unknown = [name for name in requested if name not in common]
    if unknown:
        message = (
            f"{a.task.task} has no score {unknown[0]!r} for each question of both runs. Pass one "
            f"of these with --metric: {listed}."
        )
        raise InvalidArgumentError(message)
    if requested or not common:
        return list(dict.fromkeys(requested))
    if a.main_metric is None or a.main_metric != b.main_metric:
        message = (
            f"Which score {a.task.task} is compared by is not clear. Pass one or more with "
            f"--metric: {listed}."
        )
        raise InvalidArgumentError(message)
    return [a.main_metric]


def _main_metric(task: TaskRun, metrics: Sequence[str]) -> str | None:
    """Return the metric that the task says to compare by, or the only one that has a row."""
    if task.main_metric in metrics:
        return task.main_metric
    rows = [score.metric for score in task.scores if score.metric in metrics]
    candidates = rows or list(metrics)
    return candidates[0] if len(candidates) == 1 else None


def _keys(samples: Sequence[Sample], task: TaskRun) -> tuple[str, list[str]]:
    """Return the field that identifies the questions, and its values."""
    ids = {
        QUESTION_ID: [sample.question_id for sample in samples],
        DOC_ID: [sample.doc_id for sample in samples],
    }
    for name, values in ids.items():
        if None not in values and len(set(values)) == len(values):
            return name, [str(value) for value in values]
    message = (
        f"Questions in {task.samples} cannot be distinguished: some have the same "
        f"{' and the same '.join(KEYS)}, or have none. Were several runs written into one file? "
        "Run the task again into an empty folder."
    )
    raise DataError(message)
