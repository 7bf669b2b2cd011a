"""List the official files of VQA data sets by name, and find them in a folder."""

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
    """The files of one split, as the site of the data set names them."""

    site: str
    """Page to download them from."""
    questions: str
    """Name of the questions file."""
    annotations: str | None
    """Name of the annotations file; ``None`` if the answers are not public."""
    image_folder: str
    """Name of the folder with the images."""
    image_name: str
    """Template of an image's name, with its id."""
    n_questions: int
    """Number of questions of the whole split."""
    subtypes: tuple[str, ...]
    """Values under ``SUBTYPE_KEY`` that the files may have."""

    @property
    def entry_files(self) -> list[str]:
        """The files with the questions and, where they are published, the answers."""
        return [file for file in (self.questions, self.annotations) if file is not None]

    def describe(self) -> str:
        """Return which files are expected, for an error message."""
        image = self.image_name.format(42)
        return (
            f"{', '.join(self.entry_files)} and the folder {self.image_folder} with images like "
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
        # Its questions are a part of those of test2015, about the same images.
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
    """Paths of the files of a split; ``annotations`` is ``None`` if they are not public."""

    questions: Path
    annotations: Path | None
    images: Path


def locate(name: str, folder: Path) -> OfficialPaths:
    """Return the paths of a split's files in ``folder`` or up to two folders below it.

    Raises ``DataError`` for a file that is missing, or found more than once.
    """
    files = OFFICIAL_FILES[name]
    return OfficialPaths(
        find_one(name, folder, files.questions),
        find_one(name, folder, files.annotations) if files.annotations else None,
        find_one(name, folder, files.image_folder),
    )


def find_one(name: str, folder: Path, wanted: str) -> Path:
    """Return the path of one file or folder of a split; errors as in ``locate``."""
    found = find_all(folder, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        paths = " and ".join(str(path) for path in found)
        message = (
            f"{wanted} was found more than once: {paths}. Keep one of them, or set "
            f"{DATA_VARIABLE} to a folder that holds only one."
        )
        raise DataError(message)
    message = (
        f"{wanted} was found neither in {folder} nor up to {SEARCH_DEPTH} folders below it. "
        f"{name} needs {OFFICIAL_FILES[name].describe()}. Put the files there, or set "
        f"{DATA_VARIABLE} to the folder that holds them."
    )
    raise DataError(message)


def find_all(folder: Path, wanted: str) -> list[Path]:
    """List the files or folders of a name; one that links lead to is listed once.

    Raises ``DataError`` if ``folder`` is not a folder, or cannot be read.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder. Pass the folder that holds the official files."
        raise DataError(message)
    found = {
        (parent / wanted).resolve(): parent / wanted
        for parent in _folders_below(folder, SEARCH_DEPTH)
        if (parent / wanted).exists()
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
        message = f"The folder {folder} cannot be listed: {error}. Allow this user to read it."
        raise DataError(message) from error
    for path in below:
        yield from _folders_below(Path(path), depth - 1)


def list_images(folder: Path) -> dict[str, str]:
    """Return the path of each file in an image folder by its name."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.path for entry in entries}
    except OSError as error:
        message = f"The folder {folder} cannot be listed: {error}. Allow this user to read it."
        raise DataError(message) from error


def not_loaded_text(task: str, dataset: str, source: str, cause: object) -> str:
    """Return the message for a task whose data set could not be loaded from the Hub."""
    return (
        f"{task} needs the data set {dataset}, which could not be loaded from the hub: "
        f"{str(cause).rstrip('.')}. Set {DATA_VARIABLE} to a folder that holds "
        f"{OFFICIAL_FILES[source].describe()}."
    )
