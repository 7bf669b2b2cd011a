"""The faults that official files can have, what to do about each, and a count of them."""

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
OFFICIAL_FILE = "Take the official file."
ONE_RELEASE = "Take the questions and the annotations of one release."

Kind = Literal["error", "warning"]


class Fault(NamedTuple):
    """A kind of fault, and what to do about it."""

    kind: Kind
    what: str
    remedy: str


UNANSWERED = Fault("error", "questions without an annotation", ONE_RELEASE)
UNASKED = Fault("error", "annotations without a question", ONE_RELEASE)
OTHER_IMAGE = Fault("error", "annotations of another image than their question", ONE_RELEASE)
NOT_TEN = Fault("error", f"annotations with other than {N_ANSWERS} answers", OFFICIAL_FILE)
NO_TEXT = Fault("error", "annotations with an answer that is no text", OFFICIAL_FILE)
NO_TYPES = Fault(
    "warning",
    "annotations without the type of the question or of the answer",
    f"{OFFICIAL_FILE} Until then, scores by type are incomplete.",
)


@dataclass(frozen=True)
class Finding:
    """A fault that was found: how often, and the first few ids or places of it."""

    kind: Kind
    what: str
    remedy: str
    count: int
    first: tuple[int | str, ...]


class Notes:
    """Counts faults as they are found, and keeps the first few examples of each."""

    def __init__(self) -> None:
        self._counts: dict[Fault, int] = {}
        self._examples: dict[Fault, list[int | str]] = {}

    def add(self, fault: Fault, example: int | str | None = None) -> None:
        """Count a fault; the example is a question id, or another word for its place."""
        self._counts[fault] = self._counts.get(fault, 0) + 1
        examples = self._examples.setdefault(fault, [])
        if example is not None and len(examples) < N_EXAMPLES:
            examples.append(example)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make a finding of a file that cannot be used, and go on behind the block."""
        try:
            yield
        except DataError as error:
            self.add(Fault("error", str(error), ""))

    def findings(self) -> tuple[Finding, ...]:
        """List what was found, errors first."""
        return tuple(
            Finding(*fault, count, tuple(self._examples[fault]))
            for fault, count in sorted(self._counts.items(), key=lambda item: item[0].kind)
        )


def repeated(file: str) -> Fault:
    """A question id must occur once in a file."""
    return Fault("error", f"question ids that occur again in {file}", OFFICIAL_FILE)


def lacks(file: str, name: str, kind: type) -> Fault:
    """Each entry must have what the official one has."""
    what = f'entries of {file} whose "{name}" is absent or not of type {kind.__name__}'
    return Fault("error", what, OFFICIAL_FILE)


def other_number(file: str, n_found: int, n_expected: int) -> Fault:
    """The number of questions is known for each split."""
    what = f"{file} has {n_found:,} questions, where {n_expected:,} were expected"
    remedy = f"{OFFICIAL_FILE} Scores on another set of questions cannot be compared."
    return Fault("error", what, remedy)


def other_split(file: str, subtype: object, expected: Sequence[str]) -> Fault:
    """A file says of which split it is; ``subtype`` is ``None`` if it does not."""
    wanted = " or ".join(expected)
    if subtype is None:
        what = f"{file} does not say of which split it is: {SUBTYPE_KEY} is absent"
        return Fault("warning", what, f"{OFFICIAL_FILE} There it is {wanted}.")
    what = f"{file} is of another split: {SUBTYPE_KEY} is {subtype}, where {wanted} was expected"
    return Fault("error", what, OFFICIAL_FILE)


def some_raw(file: str, n_without: int) -> Fault:
    """All annotations have their answers as they were written, or none has."""
    what = f'{n_without:,} annotations of {file} have no "{ANSWER_KEYS[RAW]}", and others have it'
    return Fault("warning", what, f"{OFFICIAL_FILE} Until then, answer_set={RAW} is refused.")


def no_images(files: OfficialFiles, folder: Path, *, strict: bool, n_left: int) -> Fault:
    """A question needs its image; ``n_left`` counts the questions that have one."""
    what = f"questions without an image in {folder}"
    remedy = f"Put the images of {files.site} there, named like {files.image_name.format(42)}."
    if not n_left:
        return Fault("error", f"{what}: no question has one", remedy)
    if strict:
        return Fault("error", f"{what} ({STRICT_VARIABLE} is set)", remedy)
    return Fault("warning", what, f"{remedy} Until then, these questions are left out.")
