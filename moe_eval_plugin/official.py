"""The official files of VQA data sets: questions, answers, and where their images lie.

Every file is checked while it is read: one that is missing, broken, or at odds with another one
raises ``DataError``, which names it and says what was expected.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from moe_eval_plugin.data import DATA_VARIABLE, STRICT_VARIABLE, Questions, Record
from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEARCH_DEPTH = 2
MAX_IDS_IN_MESSAGE = 5
MAX_ENTRY_CHARACTERS = 200

Value = TypeVar("Value")
Json = dict[str, object]


@dataclass(frozen=True)
class OfficialFiles:
    """The files of one split, as the site of the data set names them.

    ``annotations`` is ``None`` where the answers are not public. ``image_name`` is a template for
    the image id.
    """

    site: str
    questions: str
    annotations: str | None
    image_folder: str
    image_name: str

    def describe(self) -> str:
        """Say which files are expected, for an error message."""
        names = [self.questions, *([self.annotations] if self.annotations else [])]
        image = self.image_name.format(42)
        return (
            f"{', '.join(names)} and the folder {self.image_folder} with images named like "
            f"{image} (from {self.site})"
        )


VQA_SITE = "https://visualqa.org/download.html"
VAL_IMAGES = ("val2014", "COCO_val2014_{:012d}.jpg")
TEST_IMAGES = ("test2015", "COCO_test2015_{:012d}.jpg")

OFFICIAL_FILES = {
    "okvqa": OfficialFiles(
        "https://okvqa.allenai.org/download.html",
        "OpenEnded_mscoco_val2014_questions.json",
        "mscoco_val2014_annotations.json",
        *VAL_IMAGES,
    ),
    "vqa_v2_val": OfficialFiles(
        VQA_SITE,
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_mscoco_val2014_annotations.json",
        *VAL_IMAGES,
    ),
    "vqa_v2_test_dev": OfficialFiles(
        VQA_SITE, "v2_OpenEnded_mscoco_test-dev2015_questions.json", None, *TEST_IMAGES
    ),
    "vqa_v2_test": OfficialFiles(
        VQA_SITE, "v2_OpenEnded_mscoco_test2015_questions.json", None, *TEST_IMAGES
    ),
}


def load_official(name: str, folder: Path, *, strict: bool = False) -> Questions:
    """Read the questions of a split, and their answers if public, from its official files.

    ``name`` is a key of ``OFFICIAL_FILES``. The files may lie in ``folder`` or up to two folders
    below it. Questions without an image are left out; with ``strict`` they are a ``DataError``,
    as are the absence of every image and any file that is missing, broken or inconsistent.
    """
    files = OFFICIAL_FILES[name]
    expected = f"{name} needs {files.describe()}"
    path = _find(folder, files.questions, expected)
    questions, sha256 = _read_json(path, "questions")
    hashes = {path.name: sha256}
    by_id = {_field(question, "question_id", int, path): question for question in questions}
    _raise_if_repeated(questions, path)
    answers: dict[int, list[str]] = {}
    if files.annotations is not None:
        annotations_path = _find(folder, files.annotations, expected)
        answers, hashes[annotations_path.name] = _read_answers(annotations_path)
        _raise_if_unanswered(by_id, answers, annotations_path)
    images = _find(folder, files.image_folder, expected)
    records = [
        Record(
            question_id=question_id,
            image_id=(image_id := _field(question, "image_id", int, path)),
            question=_field(question, "question", str, path),
            image=str(images / files.image_name.format(image_id)),
            answers=answers.get(question_id, []),
        )
        for question_id, question in by_id.items()
    ]
    found = Questions("official files", records, sha256=hashes)
    return _leave_out(name, found, images, strict=strict)


def _find(folder: Path, name: str, expected: str) -> Path:
    """Find the only file or folder of that name, in ``folder`` or up to two folders below it."""
    found = {
        (place / name).resolve(): place / name
        for place in _folders_below(folder, SEARCH_DEPTH)
        if (place / name).exists()
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        paths = " and ".join(str(path) for path in found.values())
        message = (
            f"{name} was found more than once: {paths}. Set {DATA_VARIABLE} to a folder that "
            "holds one of them."
        )
        raise DataError(message)
    message = (
        f"{name} was found neither in {folder} nor up to {SEARCH_DEPTH} folders below it. "
        f"{expected}. Put the files there, or set {DATA_VARIABLE} to the folder that holds them."
    )
    raise DataError(message)


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir())
    except OSError as error:
        message = f"The folder {folder} cannot be listed: {error}. Give the right to read it."
        raise DataError(message) from error
    for path in below:
        yield from _folders_below(Path(path), depth - 1)


def _read_json(path: Path, key: str) -> tuple[list[Json], str]:
    """Return the list under ``key`` of an official file, and the SHA-256 of the file."""
    try:
        content = path.read_bytes()
        parsed = json.loads(content.decode("utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error}."
        raise DataError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text: {error}. Download it again, and unpack it."
        raise DataError(message) from error
    except json.JSONDecodeError as error:
        message = (
            f"{path} is not complete JSON: {error}. It has {len(content):,} bytes; it may have "
            "been cut off. Download it again."
        )
        raise DataError(message) from error
    items = parsed.get(key) if isinstance(parsed, dict) else None
    if not isinstance(items, list) or not items or not all(isinstance(i, dict) for i in items):
        message = (
            f'{path} has an unexpected form: a JSON object with a list "{key}" of one or more '
            f"objects was expected, as in the official file. It is {_outline(parsed)}."
        )
        raise DataError(message)
    return items, hashlib.sha256(content).hexdigest()


def _outline(parsed: object) -> str:
    if isinstance(parsed, dict):
        return f"an object with the keys {', '.join(map(str, parsed)) or '(none)'}"
    return f"a {type(parsed).__name__}"


def _field(item: Json, key: str, kind: type[Value], path: Path) -> Value:
    value = item.get(key)
    if isinstance(value, kind):
        return value
    shown = "is absent" if key not in item else f"is {value!r}"
    message = (
        f'{path}: "{key}" {shown} in an entry, where a value of type {kind.__name__} was '
        f"expected: {json.dumps(item)[:MAX_ENTRY_CHARACTERS]}. Take the official file."
    )
    raise DataError(message)


def _read_answers(path: Path) -> tuple[dict[int, list[str]], str]:
    """Map each question id to its answers, and return the SHA-256 of the file as well."""
    annotations, sha256 = _read_json(path, "annotations")
    answers: dict[int, list[str]] = {}
    for annotation in annotations:
        question_id = _field(annotation, "question_id", int, path)
        given = _field(annotation, "answers", list, path)
        if not given or not all(isinstance(answer, dict) for answer in given):
            message = (
                f"{path}: question {question_id} has no answers, where a list of objects with "
                'an "answer" was expected. Take the official file.'
            )
            raise DataError(message)
        answers[question_id] = [_field(answer, "answer", str, path) for answer in given]
    _raise_if_repeated(annotations, path)
    return answers, sha256


def _raise_if_repeated(items: Iterable[Json], path: Path) -> None:
    counts = Counter(item["question_id"] for item in items)
    repeated = [question_id for question_id, count in counts.items() if count > 1]
    if repeated:
        message = (
            f"{path} has more than one entry for {len(repeated):,} question ids (first: "
            f"{_first(repeated)}), where each must occur once. Take the official file."
        )
        raise DataError(message)


def _raise_if_unanswered(
    questions: Iterable[int], answers: dict[int, list[str]], path: Path
) -> None:
    unanswered = [question_id for question_id in questions if question_id not in answers]
    if unanswered:
        message = (
            f"{path} has no answers for {len(unanswered):,} of the questions (first: "
            f"{_first(unanswered)}). Take the questions and annotations of the same release."
        )
        raise DataError(message)


def _leave_out(name: str, questions: Questions, images: Path, *, strict: bool) -> Questions:
    """Keep the questions whose image lies in the folder."""
    try:
        present = {str(path) for path in images.iterdir()}
    except OSError as error:
        message = f"The folder {images} cannot be listed: {error}. Give the right to read it."
        raise DataError(message) from error
    missing = [record["image"] for record in questions.records if record["image"] not in present]
    if not missing:
        return questions
    kept = [record for record in questions.records if record["image"] in present]
    if strict or not kept:
        message = (
            f"{name}: {len(missing):,} of {len(questions.records):,} questions have no image in "
            f"{images} (first: {Path(missing[0]).name}). Put the images of "
            f"{OFFICIAL_FILES[name].site} there"
        )
        advice = f", or unset {STRICT_VARIABLE} to leave these questions out." if kept else "."
        raise DataError(message + advice)
    reason = f"their image is not in {images}"
    return replace(questions, records=kept, n_left_out=len(missing), reason=reason)


def _first(ids: Sequence[object]) -> str:
    more = ", ..." if len(ids) > MAX_IDS_IN_MESSAGE else ""
    return ", ".join(str(item) for item in ids[:MAX_IDS_IN_MESSAGE]) + more
