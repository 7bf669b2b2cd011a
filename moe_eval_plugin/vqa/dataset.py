"""Records of a VQA data set, its settings (``MOE_EVAL_DATA``), and the loader of easy-VQA.

Official files are read in ``official_data``. Missing or broken data raise ``DataError``, which
names them and says what was expected.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from moe_eval_plugin.errors import DataError, MissingDependencyError
from moe_eval_plugin.option_values import read_bool, variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


DATA_VARIABLE = "MOE_EVAL_DATA"
STRICT_VARIABLE = "MOE_EVAL_DATA_STRICT"


class Record(TypedDict):
    """One question with its image and the answers that people gave."""

    question_id: int
    """Id of the question."""
    image_id: int
    """Id of the image."""
    question: str
    """Text of the question."""
    image: str
    """Path of the image."""
    answers: list[str]
    """Answers that people gave; empty where they are not public."""
    question_type: str
    """Type of the question; empty if unknown."""
    answer_type: str
    """Type of the answers; empty if unknown."""


@dataclass(frozen=True)
class Questions:
    """The usable questions of a task, and where they come from."""

    origin: str
    """Source of the data: official files, or a package with its version."""
    records: Sequence[Record]
    """Questions in the order of the source."""
    n_left_out: int = 0
    """Number of questions that had to be left out."""
    reason: str = ""
    """Why questions were left out; empty if none was."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Hash of each file by its name."""


def data_folder() -> Path | None:
    """Return the folder that ``MOE_EVAL_DATA`` names; ``None`` if it is not set.

    Raises ``DataError`` if the folder does not exist.
    """
    text = os.environ.get(DATA_VARIABLE, "")
    if not text:
        return None
    folder = Path(text).expanduser()
    if not folder.is_dir():
        message = (
            f"{DATA_VARIABLE}={text} is not a folder. Set it to the folder that holds the "
            "official files, or unset it to load the data from the hub."
        )
        raise DataError(message)
    return folder


def is_strict() -> bool:
    """Whether ``MOE_EVAL_DATA_STRICT`` is set: fail rather than leave questions out."""
    return bool(variable(STRICT_VARIABLE, read_bool))


def load_easy_vqa(split: str = "test") -> Questions:
    """Return a split of the package ``easy-vqa``.

    ``test`` has 9,673 questions on 1,000 drawings, ``train`` 38,575 on 4,000 others.
    """
    try:
        import easy_vqa
    except ImportError as error:
        message = "The task easy_vqa needs the package easy-vqa. Run `pip install easy-vqa`."
        raise MissingDependencyError(message) from error
    try:
        is_test = split == "test"
        read = easy_vqa.get_test_questions if is_test else easy_vqa.get_train_questions
        paths = easy_vqa.get_test_image_paths if is_test else easy_vqa.get_train_image_paths
        questions, images = zip(*read(), strict=True), paths()
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
    """Keep ``datasets`` off the hub, which it would retry for half a minute before it fails."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or active
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
