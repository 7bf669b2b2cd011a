"""The official files of VQA data sets: how they are called, and where they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

SEARCH_DEPTH = 2
SUBTYPE_KEY = "data_subtype"


@dataclass(frozen=True)
class OfficialFiles:
    """The files of one split, as the site of the data set names them.

    ``annotations`` is ``None`` where the answers are not public. ``image_name`` is a template for
    the image id. ``n_questions`` counts the questions of the whole split, and ``subtypes`` lists
    the values under ``SUBTYPE_KEY`` that its files may have.
    """

    site: str
    questions: str
    annotations: str | None
    image_folder: str
    image_name: str
    n_questions: int
    subtypes: tuple[str, ...]

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
        n_questions=5_046,
        subtypes=("val2014",),
    ),
    "vqa_v2_val": OfficialFiles(
        VQA_SITE,
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_mscoco_val2014_annotations.json",
        *VAL_IMAGES,
        n_questions=214_354,
        subtypes=("val2014",),
    ),
    "vqa_v2_test_dev": OfficialFiles(
        VQA_SITE,
        "v2_OpenEnded_mscoco_test-dev2015_questions.json",
        None,
        *TEST_IMAGES,
        n_questions=107_394,
        # Its questions are a part of those of test2015, and asked about the same images.
        subtypes=("test-dev2015", "test2015"),
    ),
    "vqa_v2_test": OfficialFiles(
        VQA_SITE,
        "v2_OpenEnded_mscoco_test2015_questions.json",
        None,
        *TEST_IMAGES,
        n_questions=447_793,
        subtypes=("test2015",),
    ),
}


class OfficialPaths(NamedTuple):
    """Where the files of a split lie; ``annotations`` is ``None`` where none are public."""

    questions: Path
    annotations: Path | None
    images: Path


def locate(name: str, folder: Path) -> OfficialPaths:
    """Find all files of a split in ``folder`` or up to two folders below it.

    Raises ``DataError`` for what is not there, and for what is there more than once.
    """
    files = OFFICIAL_FILES[name]
    return OfficialPaths(
        find(name, folder, files.questions),
        find(name, folder, files.annotations) if files.annotations else None,
        find(name, folder, files.image_folder),
    )


def find(name: str, folder: Path, wanted: str) -> Path:
    """Find the only file or folder called ``wanted`` of a split, as ``locate`` does for all."""
    found = find_all(folder, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        paths = " and ".join(str(path) for path in found)
        message = (
            f"{wanted} was found more than once: {paths}. Keep one of them, or name a folder "
            f"that holds one of them ({DATA_VARIABLE})."
        )
        raise DataError(message)
    message = (
        f"{wanted} was found neither in {folder} nor up to {SEARCH_DEPTH} folders below it. "
        f"{name} needs {OFFICIAL_FILES[name].describe()}. Put the files there, or set "
        f"{DATA_VARIABLE} to the folder that holds them."
    )
    raise DataError(message)


def find_all(folder: Path, wanted: str) -> list[Path]:
    """List the files or folders of a name; those that are one by several ways are listed once.

    Raises ``DataError`` if ``folder`` is no folder, or one that may not be read.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder. Name the folder that holds the official files."
        raise DataError(message)
    found = {
        (place / wanted).resolve(): place / wanted
        for place in _folders_below(folder, SEARCH_DEPTH)
        if (place / wanted).exists()
    }
    return list(found.values())


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


def list_images(folder: Path) -> dict[str, str]:
    """Map the name of each file in an image folder to its path."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.path for entry in entries}
    except OSError as error:
        message = f"The folder {folder} cannot be listed: {error}. Give the right to read it."
        raise DataError(message) from error
