"""List the faults that official files can have, with the fix of each, and count them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.dataset import STRICT_VARIABLE
from moe_eval_plugin.vqa.official_data import ANSWER_KEYS, N_ANSWERS, RAW
from moe_eval_plugin.vqa.official_files import SUBTYPE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.official_files import OfficialFiles

N_EXAMPLES = 5
OFFICIAL_FILE = "Use the official file."
ONE_RELEASE = "Use the questions and the annotations of one release."

Severity = Literal["error", "warning"]


class Fault(NamedTuple):
    """A fault, and how to fix it."""

    kind: Severity
    what: str
    remedy: str


UNANSWERED = Fault("error", "questions without an annotation", ONE_RELEASE)
UNASKED = Fault("error", "annotations without a question", ONE_RELEASE)
OTHER_IMAGE = Fault("error", "annotations of another image than their question", ONE_RELEASE)
NOT_TEN = Fault("error", f"annotations with other than {N_ANSWERS} answers", OFFICIAL_FILE)
NO_TEXT = Fault("error", "annotations with an answer that is not text", OFFICIAL_FILE)
NO_TYPES = Fault(
    "warning",
    "annotations without the type of the question or of the answer",
    f"{OFFICIAL_FILE} Until then, scores by type are incomplete.",
)


@dataclass(frozen=True)
class Finding:
    """A fault that was found, with its number."""

    kind: Severity
    """``error`` or ``warning``."""
    what: str
    """Description of the fault."""
    remedy: str
    """How to fix it; empty if the description says so."""
    count: int
    """How often it was found."""
    first: tuple[int | str, ...]
    """First few question ids, or numbers of entries."""


class Notes:
    """Counts faults, and stores the first few examples of each."""

    def __init__(self) -> None:
        self._counts: dict[Fault, int] = {}
        self._examples: dict[Fault, list[int | str]] = {}

    def add(self, fault: Fault, example: int | str | None = None) -> None:
        """Count a fault; the example is a question id, or the number of an entry."""
        self._counts[fault] = self._counts.get(fault, 0) + 1
        examples = self._examples.setdefault(fault, [])
        if example is not None and len(examples) < N_EXAMPLES:
            examples.append(example)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn a ``DataError`` of the block into a finding."""
        try:
            yield
        except DataError as error:
            self.add(Fault("error", str(error), ""))

    def findings(self) -> tuple[Finding, ...]:
        """List the findings, errors first."""
        return tuple(
            Finding(*fault, count, tuple(self._examples[fault]))
            for fault, count in sorted(self._counts.items(), key=lambda item: item[0].kind)
        )


def repeated(file: str) -> Fault:
    """Return the fault of a question id that occurs again in a file."""
    return Fault("error", f"question ids that occur again in {file}", OFFICIAL_FILE)


def lacks(file: str, name: str, type_: type) -> Fault:
    """Return the fault of an entry without a value, or with one of another type."""
    what = f'entries of {file} whose "{name}" is absent or not of type {type_.__name__}'
    return Fault("error", what, OFFICIAL_FILE)


def other_number(file: str, n_found: int, n_expected: int) -> Fault:
    """Return the fault of a file with another number of questions than the split has."""
    what = f"{file} has {n_found:,} questions instead of {n_expected:,}"
    remedy = f"{OFFICIAL_FILE} Scores on another set of questions cannot be compared."
    return Fault("error", what, remedy)


def other_split(file: str, subtype: object, expected: Sequence[str]) -> Fault:
    """Return the fault of a file of another split; ``subtype`` is ``None`` if it has none."""
    wanted = " or ".join(expected)
    if subtype is None:
        what = f"{file} does not name its split: {SUBTYPE_KEY} is missing"
        return Fault("warning", what, f"{OFFICIAL_FILE} Its {SUBTYPE_KEY} is {wanted}.")
    what = f"{file} is of another split: {SUBTYPE_KEY} is {subtype} instead of {wanted}"
    return Fault("error", what, OFFICIAL_FILE)


def some_raw(file: str, n_without: int) -> Fault:
    """Return the fault of annotations of which only some have the answers as written."""
    what = f'{n_without:,} annotations of {file} have no "{ANSWER_KEYS[RAW]}", but others have it'
    return Fault("warning", what, f"{OFFICIAL_FILE} Until then, answer_set={RAW} is refused.")


def no_images(files: OfficialFiles, folder: Path, *, strict: bool, n_left: int) -> Fault:
    """Return the fault of questions without an image; ``n_left`` questions have one."""
    what = f"questions without an image in {folder}"
    remedy = f"Put the images of {files.site} there, with names like {files.image_name.format(42)}."
    if not n_left:
        return Fault("error", f"{what}: no question has one", remedy)
    if strict:
        return Fault("error", f"{what} ({STRICT_VARIABLE} is set)", remedy)
    return Fault("warning", what, f"{remedy} Until then, these questions are left out.")
