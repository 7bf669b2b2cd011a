"""Read the questions and answers of VQA data sets from their official files.

Every file is checked while it is read: one that is missing, broken, or inconsistent with another
one raises ``DataError``, which names it and says what was expected. Only what is requested is kept
in memory.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.text import first_few
from moe_eval_plugin.vqa.dataset import STRICT_VARIABLE, Questions, Record
from moe_eval_plugin.vqa.json_entries import EntryReader
from moe_eval_plugin.vqa.official_files import (
    OFFICIAL_FILES,
    find_one,
    list_images,
    locate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.json_entries import Json
    from moe_eval_plugin.vqa.official_files import OfficialPaths

N_ANSWERS = 10
AS_GIVEN = "as-given"
RAW = "raw"
# Each set of answers, and its key in an answer of the annotations.
ANSWER_KEYS = {AS_GIVEN: "answer", RAW: "raw_answer"}
MAX_ENTRY_CHARACTERS = 200

Value = TypeVar("Value")


class Question(NamedTuple):
    """A question and the id of its image."""

    image_id: int
    question: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """The ten answers to a question, and the types of both; an unknown type is empty."""

    answers: list[str]
    question_type: str
    answer_type: str


def read_questions(name: str, folder: Path) -> dict[int, Question]:
    """Return the questions of a split by their ids, in the order of the official file.

    Answers and images are not needed. ``name`` is a key of ``OFFICIAL_FILES``, and the file may be
    in ``folder`` or up to two folders below it. Raises ``DataError`` if it is missing or broken, or
    has a question id twice.
    """
    path = find_one(name, folder, OFFICIAL_FILES[name].questions)
    return dict(_questions(EntryReader(path, "questions")))


def read_annotations(
    name: str, folder: Path, answer_set: str | None = None
) -> dict[int, Annotation] | None:
    """Return the annotations of a split by question id; ``None`` if no answers are public.

    ``name`` and ``folder`` are those of ``read_questions``. ``answer_set`` is ``as-given`` or
    ``None`` for the answers of the official scores, or ``raw`` for the answers as people wrote
    them, which only OK-VQA has as well. Raises ``DataError`` for a file that is missing or broken,
    and for a question without exactly ten answers.
    """
    key = _answer_key(name, answer_set)
    wanted = OFFICIAL_FILES[name].annotations
    if wanted is None:
        return None
    return dict(_annotations(EntryReader(find_one(name, folder, wanted), "annotations"), key))


def load_official(
    name: str, folder: Path, *, strict: bool = False, answer_set: str | None = None
) -> Questions:
    """Return the questions of a split, and their answers if public, from its official files.

    ``name``, ``folder`` and ``answer_set`` are those of ``read_annotations``. Questions without an
    image are left out; with ``strict`` they are a ``DataError``, as are the absence of every image
    and any file that is missing, broken or inconsistent.
    """
    key = _answer_key(name, answer_set)
    files, paths = OFFICIAL_FILES[name], locate(name, folder)
    images = list_images(paths.images)
    answered, hashes = _answered(paths.annotations, key)
    questions = EntryReader(paths.questions, "questions")
    records: list[Record] = []
    unanswered: list[int] = []
    n_without_image, first_without_image = 0, ""
    for question_id, question in _questions(questions):
        annotation = Annotation([], "", "") if answered is None else answered.get(question_id)
        image_name = files.image_name.format(question.image_id)
        if annotation is None:
            unanswered.append(question_id)
        elif image_name in images:
            records.append(_record(question_id, question, annotation, images[image_name]))
        else:
            n_without_image += 1
            first_without_image = first_without_image or image_name
    if unanswered:
        raise _no_answers(unanswered, paths)
    if n_without_image and (strict or not records):
        counts = n_without_image, n_without_image + len(records)
        raise _no_images(name, paths.images, first_without_image, counts)
    return Questions(
        "official files",
        records,
        n_left_out=n_without_image,
        reason=f"their image is not in {paths.images}" if n_without_image else "",
        sha256={paths.questions.name: questions.sha256, **hashes},
    )


def _question_in(entry: Json, path: Path) -> tuple[int, Question]:
    """Return the id and the question of an entry of the questions file ``path``.

    Raises ``DataError`` if a value is missing or of another type.
    """
    question_id = _field(entry, "question_id", int, path)
    image_id = _field(entry, "image_id", int, path)
    return question_id, Question(image_id, _field(entry, "question", str, path))


def _annotation_in(entry: Json, path: Path, key: str = "answer") -> tuple[int, Annotation]:
    """Return the id and the annotation of an entry of the annotations file ``path``.

    ``key`` is a value of ``ANSWER_KEYS``. Raises ``DataError`` if a value is missing or of another
    type, or if there are not exactly ten answers.
    """
    question_id = _field(entry, "question_id", int, path)
    given = _field(entry, "answers", list, path)
    if len(given) != N_ANSWERS:
        message = (
            f"{path}: question {question_id} has {len(given)} answers instead of {N_ANSWERS}, for "
            "which the official score is defined. Use the official file."
        )
        raise DataError(message)
    answers = [_answer_in(answer, key, question_id, path) for answer in given]
    types = [_type_in(entry, of, path) for of in ("question_type", "answer_type")]
    return question_id, Annotation(answers, *types)


def _field(entry: Json, key: str, type_: type[Value], path: Path) -> Value:
    """Return a value of an entry of ``path``; ``DataError`` if missing or of another type."""
    value = entry.get(key)
    if isinstance(value, type_) and is_of_type(entry, key, type_):
        return value
    shown = "is missing" if key not in entry else f"is {value!r}"
    message = (
        f'{path}: "{key}" {shown} in an entry and must be of type {type_.__name__}: '
        f"{json.dumps(entry)[:MAX_ENTRY_CHARACTERS]}. Use the official file."
    )
    raise DataError(message)


def is_of_type(entry: Json, key: str, type_: type) -> bool:
    """Whether an entry has a value of this type."""
    value = entry.get(key)
    # True and False are integers to Python, but no ids.
    return isinstance(value, type_) and not isinstance(value, bool)


def _questions(reader: EntryReader) -> Iterator[tuple[int, Question]]:
    return _each_once((_question_in(entry, reader.path) for entry in reader), reader.path)


def _annotations(reader: EntryReader, key: str) -> Iterator[tuple[int, Annotation]]:
    return _each_once((_annotation_in(entry, reader.path, key) for entry in reader), reader.path)


def _answered(path: Path | None, key: str) -> tuple[dict[int, Annotation] | None, dict[str, str]]:
    """Return the annotations, if there are any, and the hash of their file."""
    if path is None:
        return None, {}
    reader = EntryReader(path, "annotations")
    return dict(_annotations(reader, key)), {path.name: reader.sha256}


def _each_once(entries: Iterable[tuple[int, Value]], path: Path) -> Iterator[tuple[int, Value]]:
    """Yield the entries; then raise ``DataError`` if a question id occurred more than once."""
    seen: set[int] = set()
    repeated: dict[int, None] = {}
    for question_id, value in entries:
        if question_id in seen:
            repeated[question_id] = None
        else:
            seen.add(question_id)
            yield question_id, value
    if repeated:
        message = (
            f"{path} has more than one entry for {len(repeated):,} question ids (first: "
            f"{first_few([*repeated])}); each must occur once. Use the official file."
        )
        raise DataError(message)


def _answer_key(name: str, answer_set: str | None) -> str:
    """Return the key of the answers in the annotations."""
    if answer_set is not None and answer_set not in ANSWER_KEYS:
        message = f"answer_set={answer_set} is unknown. Use {' or '.join(ANSWER_KEYS)}."
        raise InvalidArgumentError(message)
    key = ANSWER_KEYS[answer_set or AS_GIVEN]
    if key == ANSWER_KEYS[RAW] and OFFICIAL_FILES[name].annotations is None:
        message = (
            f"answer_set={answer_set} is not possible for {name}, whose answers are not public. "
            f"Use answer_set={AS_GIVEN}."
        )
        raise DataError(message)
    return key


def _answer_in(answer: object, key: str, question_id: int, path: Path) -> str:
    if not isinstance(answer, dict):
        message = (
            f"{path}: question {question_id} has an answer that is {answer!r} instead of an "
            'object with an "answer". Use the official file.'
        )
        raise DataError(message)
    if key not in answer and key == ANSWER_KEYS[RAW]:
        message = (
            f'{path} has no "{key}" for question {question_id}, the answer as it was written. Of '
            "the official files, only the annotations of OK-VQA v1.1 have it "
            f"({OFFICIAL_FILES['okvqa'].site}). Use them, or run the task okvqa, "
            f"which uses answer_set={AS_GIVEN}."
        )
        raise DataError(message)
    # Millions of answers are a few thousand words: each is kept once.
    return sys.intern(_field(answer, key, str, path))


def _type_in(entry: Json, key: str, path: Path) -> str:
    if entry.get(key) is None:
        return ""
    return sys.intern(_field(entry, key, str, path))


def _record(question_id: int, question: Question, annotation: Annotation, image: str) -> Record:
    return Record(
        question_id=question_id,
        image_id=question.image_id,
        question=question.question,
        image=image,
        answers=annotation.answers,
        question_type=annotation.question_type,
        answer_type=annotation.answer_type,
    )


def _no_answers(question_ids: Sequence[int], paths: OfficialPaths) -> DataError:
    return DataError(
        f"{paths.annotations} has no answers for {len(question_ids):,} of the questions (first: "
        f"{first_few(question_ids)}). Use questions and annotations of the same release."
    )


def _no_images(name: str, folder: Path, first: str, counts: tuple[int, int]) -> DataError:
    """Return the error of ``counts[0]`` questions of ``counts[1]`` without an image."""
    n_missing, n_all = counts
    message = (
        f"{name}: {n_missing:,} of {n_all:,} questions have no image in {folder} (first: {first}). "
        f"Put the images of {OFFICIAL_FILES[name].site} there"
    )
    if n_missing < n_all:
        return DataError(f"{message}, or unset {STRICT_VARIABLE} to leave these questions out.")
    return DataError(f"{message}.")
