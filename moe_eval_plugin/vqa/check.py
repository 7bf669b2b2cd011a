"""Check whether the official files of VQA data sets are complete and consistent.

Unlike the loader, which stops at the first fault, this reads everything, counts each fault and
stores its first few question ids. Of the files themselves, only ids are kept in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from moe_eval_plugin.vqa import check_faults
from moe_eval_plugin.vqa.json_entries import EntryReader, read_value
from moe_eval_plugin.vqa.official_data import ANSWER_KEYS, AS_GIVEN, N_ANSWERS, RAW, is_of_type
from moe_eval_plugin.vqa.official_files import (
    OFFICIAL_FILES,
    SUBTYPE_KEY,
    find_all,
    find_one,
    list_images,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.check_faults import Fault, Finding, Severity
    from moe_eval_plugin.vqa.json_entries import Json

    Progress = Callable[[int], object]

QUESTION_FIELDS = {"question_id": int, "image_id": int, "question": str}
ANNOTATION_FIELDS = {"question_id": int, "answers": list}
TYPE_FIELDS = ("question_type", "answer_type")


@dataclass(frozen=True)
class SplitReport:
    """What was found of a split."""

    name: str
    """Name of the split, a key of ``OFFICIAL_FILES``."""
    is_there: bool
    """Whether any of its files was found."""
    files: dict[str, str | None]
    """SHA-256 of each opened file by its path; ``None`` for one that could not be read to its end.
    """
    n_questions: int | None
    """Number of questions; ``None`` if they could not be read."""
    n_images: int | None
    """Number of images that the questions are about."""
    answer_sets: tuple[str, ...]
    """Sets of answers that the annotations hold: ``as-given``, ``raw``."""
    findings: tuple[Finding, ...]
    """Faults, errors first."""

    def count(self, severity: Severity) -> int:
        """Return the number of findings that are errors, or warnings."""
        return sum(finding.kind == severity for finding in self.findings)


def check_folder(
    folder: Path, *, strict: bool = False, progress: Progress | None = None
) -> list[SplitReport]:
    """Check every split whose files lie in ``folder`` or up to two folders below it.

    With ``strict``, a question without an image is an error instead of a warning. ``progress`` is
    called with the number of bytes of each piece that was read. Raises ``DataError`` if the folder
    does not exist.
    """
    return [_check_split(name, folder, progress, strict=strict) for name in OFFICIAL_FILES]


def count_bytes(folder: Path) -> int:
    """Return the total size of the files that ``check_folder`` will read, in bytes."""
    paths = [
        path
        for files in OFFICIAL_FILES.values()
        for wanted in files.entry_files
        for path in find_all(folder, wanted)
    ]
    return sum(path.stat().st_size for path in paths)


def exit_code(reports: Sequence[SplitReport]) -> int:
    """Return 1 if a split has an error, or no split was found; else 0."""
    found = [report for report in reports if report.is_there]
    return int(not found or any(report.count("error") for report in found))


def _check_split(
    name: str, folder: Path, progress: Progress | None, *, strict: bool
) -> SplitReport:
    if any(find_all(folder, file) for file in OFFICIAL_FILES[name].entry_files):
        return _SplitCheck(name, folder, progress).run(strict=strict)
    return SplitReport(
        name,
        is_there=False,
        files={},
        n_questions=None,
        n_images=None,
        answer_sets=(),
        findings=(),
    )


class _SplitCheck:
    """Reads the files of one split, and collects their faults."""

    def __init__(self, name: str, folder: Path, progress: Progress | None) -> None:
        self._name = name
        self._folder = folder
        self._official = OFFICIAL_FILES[name]
        self._progress = progress
        self._notes = check_faults.Notes()
        self._hashes: dict[str, str | None] = {}
        # The image of each question; None while the questions could not be read.
        self._asked: dict[int, int] | None = None
        self._answer_sets: tuple[str, ...] = ()

    def run(self, *, strict: bool) -> SplitReport:
        with self._notes.reading():
            self._asked = self._questions(self._official.questions)
        if self._official.annotations is not None:
            with self._notes.reading():
                self._answer_sets = self._annotations(self._official.annotations)
        with self._notes.reading():
            self._images(self._asked or {}, strict=strict)
        return self._report()

    def _report(self) -> SplitReport:
        asked = self._asked
        return SplitReport(
            self._name,
            is_there=True,
            files=self._hashes,
            n_questions=None if asked is None else len(asked),
            n_images=None if asked is None else len(set(asked.values())),
            answer_sets=self._answer_sets,
            findings=self._notes.findings(),
        )

    def _questions(self, file: str) -> dict[int, int]:
        """Check the questions; return the image id of each by its question id."""
        asked: dict[int, int] = {}
        for question_id, entry in self._entries(file, "questions", QUESTION_FIELDS):
            if question_id in asked:
                self._notes.add(check_faults.repeated(file), question_id)
            else:
                asked[question_id] = cast("int", entry["image_id"])
        if len(asked) != self._official.n_questions:
            self._notes.add(check_faults.other_number(file, len(asked), self._official.n_questions))
        return asked

    def _annotations(self, file: str) -> tuple[str, ...]:
        """Check the annotations against the questions; return the sets of answers in them."""
        seen: set[int] = set()
        n_entries = n_raw = 0
        for question_id, entry in self._entries(file, "annotations", ANNOTATION_FIELDS):
            if question_id in seen:
                self._notes.add(check_faults.repeated(file), question_id)
            seen.add(question_id)
            for fault in _faults_of(entry, question_id, self._asked):
                self._notes.add(fault, question_id)
            n_entries += 1
            n_raw += _has_answers(entry, ANSWER_KEYS[RAW])
        for question_id in self._asked or {}:
            if question_id not in seen:
                self._notes.add(check_faults.UNANSWERED, question_id)
        if 0 < n_raw < n_entries:
            self._notes.add(check_faults.some_raw(file, n_entries - n_raw))
        return (AS_GIVEN, RAW) if 0 < n_raw == n_entries else (AS_GIVEN,)

    def _entries(
        self, file: str, key: str, fields: Mapping[str, type]
    ) -> Iterator[tuple[int, Json]]:
        """Yield the entries that have every field, with their question ids."""
        reader = EntryReader(find_one(self._name, self._folder, file), key, self._progress)
        self._hashes[str(reader.path)] = None
        for number, entry in enumerate(reader, start=1):
            lacking = [name for name, type_ in fields.items() if not is_of_type(entry, name, type_)]
            for name in lacking:
                self._notes.add(check_faults.lacks(file, name, fields[name]), f"entry {number:,}")
            if not lacking:
                yield cast("int", entry["question_id"]), entry
        self._hashes[str(reader.path)] = reader.sha256
        subtype = read_value(reader.path, SUBTYPE_KEY)
        if subtype not in self._official.subtypes:
            self._notes.add(check_faults.other_split(file, subtype, self._official.subtypes))

    def _images(self, asked: Mapping[int, int], *, strict: bool) -> None:
        """Check that each question has an image."""
        if not asked:
            return
        folder = find_one(self._name, self._folder, self._official.image_folder)
        present = list_images(folder)
        name = self._official.image_name
        missing = [i for i, image_id in asked.items() if name.format(image_id) not in present]
        n_left = len(asked) - len(missing)
        fault = check_faults.no_images(self._official, folder, strict=strict, n_left=n_left)
        for question_id in missing:
            self._notes.add(fault, question_id)


def _faults_of(entry: Json, question_id: int, asked: Mapping[int, int] | None) -> Iterator[Fault]:
    """Yield the faults of one annotation; ``asked`` is ``None`` if no questions were read."""
    if asked is not None and question_id not in asked:
        yield check_faults.UNASKED
    elif asked is not None and entry.get("image_id", asked[question_id]) != asked[question_id]:
        yield check_faults.OTHER_IMAGE
    if len(cast("list[object]", entry["answers"])) != N_ANSWERS:
        yield check_faults.NOT_TEN
    if not _has_answers(entry, ANSWER_KEYS[AS_GIVEN]):
        yield check_faults.NO_TEXT
    if not all(is_of_type(entry, name, str) for name in TYPE_FIELDS):
        yield check_faults.NO_TYPES


def _has_answers(entry: Json, key: str) -> bool:
    """Whether each answer is a text under this key."""
    answers = cast("list[object]", entry["answers"])
    return all(isinstance(a, dict) and is_of_type(a, key, str) for a in answers)
