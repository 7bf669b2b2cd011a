"""Read the answers of a run, and check that they are complete and valid for a submission."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.exports.failures import FAILED, IncompleteRunError
from moe_eval_plugin.results.files import read_samples
from moe_eval_plugin.text import first_few
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from moe_eval_plugin.results.run import Run, TaskRun


LONG_CHARACTERS = 1_000
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# Word for a fault in a list of all faults, and its text in a message.
FAULTS = {
    "missing": "questions have no answer",
    "repeated": "questions are answered more than once",
    "empty": "questions have an empty answer",
    FAILED: "questions have a message about a failed request in place of an answer",
    "not-unicode": "questions have an answer that is not valid Unicode",
    "unknown": "answers are to questions that are not in the split",
}


@dataclass(frozen=True)
class Answers:
    """Answers of a samples file by question id; of several to one question, the first.

    White space around an answer is removed, as in every task of this package and in the official
    script.
    """

    texts: Mapping[int, str]
    """The answers."""
    repeated: Sequence[int]
    """Ids of further answers to a question."""
    failures: Mapping[int, str]
    """What the host wrote in place of an answer, where the request failed."""

    @property
    def n_samples(self) -> int:
        """Number of samples in the file."""
        return len(self.texts) + len(self.repeated)


def read_answers(run: Run, task: TaskRun) -> Answers:
    """Read the answers of a task from its samples file.

    Raises ``DataError`` if there is no such file, if it is damaged, and for samples without a
    question id and an answer.
    """
    if task.samples is None:
        message = (
            f"{run.path} has no samples file of {task.task}, which would contain the answers. Run "
            "the task again with --log_samples."
        )
        raise DataError(message)
    texts: dict[int, str] = {}
    repeated: list[int] = []
    failures: dict[int, str] = {}
    for number, sample in enumerate(read_samples(task), start=1):
        question_id, answer = sample.submission
        if sample.failure and type(question_id) is int:
            failures[question_id] = sample.failure
            answer = sample.failure
        if type(question_id) is not int or not isinstance(answer, str):
            message = (
                f"{task.samples}, line {number}, has question_id {question_id!r:.100} and answer "
                f"{answer!r:.100}; expected an integer and one string. Check that these are "
                f"samples of {task.task}."
            )
            raise DataError(message)
        if question_id in texts:
            repeated.append(question_id)
        texts.setdefault(question_id, answer.strip())
    return Answers(texts, repeated, failures)


def check_answers(
    answers: Answers, expected: Collection[int] | None, data: str, run: Run, task: TaskRun
) -> None:
    """Raise ``IncompleteRunError`` unless each question has exactly one valid answer.

    ``expected`` holds the ids of the split ``data``, a key of ``OFFICIAL_FILES``. If they are not
    known, ``None``, only the number of questions is checked.
    """
    faults = {word: ids for word, ids in _faults(answers, expected) if ids}
    lines = [
        f"{len(ids):,} {FAULTS[word]} (first: {first_few(ids)})" for word, ids in faults.items()
    ]
    if expected is None:
        lines += _miscounted(answers, data)
    if not lines:
        return
    message = "\n  ".join([f"{task.samples} cannot be submitted:", *lines])
    advice = ["Run the whole task again.", *["Add --list-missing to list them all."] * bool(faults)]
    message = "\n".join([message, *_causes(answers, run, task), " ".join(advice)])
    raise IncompleteRunError(
        message, [f"{word} {question_id}" for word, ids in faults.items() for question_id in ids]
    )


def describe_oddities(answers: Answers) -> Iterator[str]:
    """Yield a line for each property of answers that is allowed but rarely intended."""
    control = [key for key, text in answers.texts.items() if CONTROL_CHARACTER.search(text)]
    if control:
        yield (
            f"{len(control):,} answers contain control characters, which are written as escapes "
            f"(questions: {first_few(control)})"
        )
    long = [key for key, text in answers.texts.items() if len(text) > LONG_CHARACTERS]
    if long:
        yield (
            f"{len(long):,} answers are longer than {LONG_CHARACTERS:,} characters (questions: "
            f"{first_few(long)})"
        )


def _faults(
    answers: Answers, expected: Collection[int] | None
) -> Iterator[tuple[str, Sequence[int]]]:
    texts = answers.texts
    if expected is not None:
        yield "missing", sorted(key for key in expected if key not in texts)
        yield "unknown", sorted(key for key in texts if key not in expected)
    yield "repeated", sorted(answers.repeated)
    yield "empty", sorted(key for key, text in texts.items() if not text)
    yield FAILED, sorted(answers.failures)
    yield "not-unicode", sorted(key for key, text in texts.items() if not _is_unicode(text))


def _miscounted(answers: Answers, data: str) -> Iterator[str]:
    files = OFFICIAL_FILES[data]
    if len(answers.texts) != files.n_questions:
        yield (
            f"{len(answers.texts):,} questions are answered, and the split has "
            f"{files.n_questions:,}; to see which ones, set {DATA_VARIABLE} to a folder with "
            f"{files.questions}"
        )


def _causes(answers: Answers, run: Run, task: TaskRun) -> Iterator[str]:
    """Yield each reason for missing or empty answers that the run records."""
    if task.data.n_left_out:
        reason = task.data.left_out_because or "of their data"
        yield f"The run left out {task.data.n_left_out} questions because {reason}."
    if run.limit:
        yield f"The run was limited by --limit {run.limit}."
    if task.n_samples is not None and task.n_samples > answers.n_samples:
        yield (
            f"The run asked {task.n_samples:,} questions, and its samples file has "
            f"{answers.n_samples:,}: it may be truncated."
        )
    if answers.failures:
        first, said = next(iter(answers.failures.items()))
        yield f"The message of question {first}: {said}"
    n_unanswered = task.record.setup.n_unanswered if task.record else None
    if n_unanswered:
        yield (
            f"{n_unanswered:,} questions could not be put to the model: provenance.unanswered in "
            f"{run.path} lists them, and why."
        )
    elif "" in answers.texts.values():
        yield (
            "An answer may be empty because the model spent its tokens on thinking: allow more, "
            "for instance --gen_kwargs max_new_tokens=512."
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
