"""The questions of a task, where they may come from, and how an image is read.

Official files are read in ``official``. What is missing or broken raises ``DataError``, which
names it and says what was expected. Images are opened one by one when they are needed, and nothing
is copied.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from moe_eval_plugin.errors import DataError, InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


DATA_VARIABLE = "MOE_EVAL_DATA"
STRICT_VARIABLE = "MOE_EVAL_DATA_STRICT"
TRUE_VALUES = frozenset({"1", "true", "yes", "on"})
FALSE_VALUES = frozenset({"", "0", "false", "no", "off"})


class Record(TypedDict):
    """One question: ids, its text, the path of its image, and the answers that people gave.

    The types of the question and of its answers are empty where they are not known.
    """

    question_id: int
    image_id: int
    question: str
    image: str
    answers: list[str]
    question_type: str
    answer_type: str


@dataclass(frozen=True)
class Questions:
    """The questions of a task that can be asked, and what is known about where they come from.

    ``n_left_out`` counts the questions that had to be left out, and ``reason`` says why; it is
    empty where there are none. ``sha256`` maps the name of each file to the hash of its content.
    """

    origin: str
    records: Sequence[Record]
    n_left_out: int = 0
    reason: str = ""
    sha256: dict[str, str] = field(default_factory=dict)


def data_folder() -> Path | None:
    """Return the folder that ``MOE_EVAL_DATA`` names, or ``None`` where it is not set.

    Raises ``DataError`` if there is no such folder.
    """
    text = os.environ.get(DATA_VARIABLE, "")
    if not text:
        return None
    folder = Path(text).expanduser()
    if not folder.is_dir():
        message = (
            f"{DATA_VARIABLE}={text} is not a folder. Set it to the folder that holds the "
            "official files, or unset it to take the data from the hub."
        )
        raise DataError(message)
    return folder


def is_strict() -> bool:
    """Tell whether ``MOE_EVAL_DATA_STRICT`` asks to fail rather than leave questions out."""
    text = os.environ.get(STRICT_VARIABLE, "").strip().lower()
    if text not in TRUE_VALUES | FALSE_VALUES:
        message = f"{STRICT_VARIABLE}={text} is not a yes or a no. Set it to 1 or 0."
        raise InvalidArgumentError(message)
    return text in TRUE_VALUES


def load_easy_vqa() -> Questions:
    """Read the test split of the package ``easy-vqa``: 9,673 questions about 1,000 drawings."""
    try:
        import easy_vqa
    except ImportError as error:
        message = "The task easy_vqa needs the package easy-vqa. Run `pip install easy-vqa`."
        raise MissingDependencyError(message) from error
    try:
        questions = zip(*easy_vqa.get_test_questions(), strict=True)
        images = easy_vqa.get_test_image_paths()
        records = [
            Record(
                question_id=row,
                image_id=image_id,
                question=text,
                image=str(images[image_id]),
                answers=[answer],
                question_type="",
                answer_type="",
            )
            for row, (text, answer, image_id) in enumerate(questions)
        ]
    except (OSError, KeyError, ValueError) as error:
        message = (
            f"The installed package easy-vqa is incomplete: {error!r}. "
            "Run `pip install --force-reinstall easy-vqa`."
        )
        raise DataError(message) from error
    return Questions(f"package easy-vqa {version('easy-vqa')}", records)


@contextmanager
def without_hub(*, active: bool = True) -> Iterator[None]:
    """Keep ``datasets`` from the hub: it would try for half a minute before it says so."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or active
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
