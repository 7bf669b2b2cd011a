"""Load the data of the VQA tasks, for any host: a package, official files, or the hub.

Hosts load data from the hub alone, and some try five times whatever the error. Here an error is
raised once, and it says what would have been used.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import datasets

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.tasks.vqa import answers_of
from moe_eval_plugin.vqa.dataset import (
    DATA_VARIABLE,
    Questions,
    data_folder,
    is_strict,
    load_easy_vqa,
    without_hub,
)
from moe_eval_plugin.vqa.official_data import load_official, read_annotations
from moe_eval_plugin.vqa.official_files import not_loaded_text
from moe_eval_plugin.vqa.stemming import RAW, STEMMED, detect_answer_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

HUB_TIMEOUT_S = 10
EASY_VQA = "easy_vqa"
IMAGE = "image"
# Keys of a definition that its class reads, and the host does not get: what a task asks, and so the
# digest of its definition, does not depend on them.
NOT_OF_THE_HOST = ("class", "training_split")
NEEDED_COLUMNS = frozenset({"question_id", "question", IMAGE})
FEATURES = datasets.Features(
    {
        "question_id": datasets.Value("int64"),
        "image_id": datasets.Value("int64"),
        "question": datasets.Value("string"),
        IMAGE: datasets.Image(decode=False),
        "answers": datasets.List(datasets.Value("string")),
        "question_type": datasets.Value("string"),
        "answer_type": datasets.Value("string"),
    }
)


class TaskSettings(Protocol):
    """The settings of a task, as the hosts name them."""

    task: str
    """Name of the task."""
    dataset_path: str | None
    """Data set on the hub."""
    test_split: str
    """Name of the split on the hub."""


@dataclass(frozen=True)
class DataSource:
    """Where the data of a task are, as its definition says."""

    task: str
    """Name of the task."""
    source: str
    """``easy_vqa`` (the package), or a key of ``OFFICIAL_FILES``."""
    split: str
    """Name of the split on the hub; of easy-VQA ``test`` or ``train``."""
    path: str | None = None
    """Data set on the hub; ``None`` where there is none."""
    answer_set: str | None = None
    """Expected set of answers, ``stemmed`` or ``raw``; ``None`` where the data have one set."""

    @classmethod
    def of_task(cls, settings: TaskSettings, dataset_kwargs: Mapping[str, str]) -> DataSource:
        """Return the source that the definition of a task names, in the words of either host."""
        return cls(
            task=settings.task,
            source=dataset_kwargs["source"],
            split=settings.test_split,
            path=settings.dataset_path,
            answer_set=dataset_kwargs.get("answer_set"),
        )


@dataclass(frozen=True)
class TaskData:
    """The questions of a task, and what is recorded about them."""

    rows: datasets.Dataset
    """One row a question. Images are encoded or paths; none has been opened."""
    facts: dict[str, object]
    """Origin, number of questions, hashes, and the like: for the metadata of the task."""


def load_data(wanted: DataSource) -> TaskData:
    """Return the data of a task: from its package, else from official files, else from the hub.

    Official files are used if ``MOE_EVAL_DATA`` is set. Raises ``DataError`` for data that are
    missing, broken, or of another kind than the task needs.
    """
    folder = data_folder()
    if wanted.source == EASY_VQA:
        return _data_of(wanted, load_easy_vqa(wanted.split))
    if folder is not None:
        return _load_files(wanted, folder)
    return _load_from_hub(wanted)


def _data_of(wanted: DataSource, questions: Questions) -> TaskData:
    rows = datasets.Dataset.from_list(list(questions.records), features=FEATURES)
    facts: dict[str, object] = {
        "origin": questions.origin,
        "n_questions": len(rows),
        "n_left_out": questions.n_left_out,
        "sha256": questions.sha256,
    }
    if questions.n_left_out:
        facts["left_out_because"] = questions.reason
        logger.warning(
            "%s: %s of %s questions are used; %s were left out because %s.",
            wanted.task,
            f"{len(rows):,}",
            f"{len(rows) + questions.n_left_out:,}",
            f"{questions.n_left_out:,}",
            questions.reason,
        )
    return TaskData(rows, facts)


def _load_files(wanted: DataSource, folder: Path) -> TaskData:
    """Load the data set from its official files."""
    raw = RAW if wanted.answer_set == RAW else None
    data = _data_of(
        wanted, load_official(wanted.source, folder, strict=is_strict(), answer_set=raw)
    )
    if wanted.answer_set is None:
        return data
    # All of them: those of questions with an image may be too few for a detection.
    annotations = read_annotations(wanted.source, folder, raw) or {}
    return _with_answer_set(wanted, data, [a.answers for a in annotations.values()])


def _load_from_hub(wanted: DataSource) -> TaskData:
    """Load the data set from the hub, or from the cache of an earlier run."""
    path = str(wanted.path)
    revision, reason = _hub_revision(path)
    try:
        with without_hub(active=revision is None):
            rows = datasets.load_dataset(path, split=wanted.split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        message = not_loaded_text(wanted.task, path, wanted.source, reason or error)
        raise DataError(message) from error
    missing = NEEDED_COLUMNS.difference(rows.column_names)
    if missing:
        message = (
            f"The data set {path} has no column {', '.join(sorted(missing))}; it has "
            f"{', '.join(rows.column_names)}. Set {DATA_VARIABLE} to use official files."
        )
        raise DataError(message)
    if isinstance(rows.features[IMAGE], datasets.Image):
        # Left to `doc_to_visual`, which decodes these images as it does those of official files.
        rows = rows.cast_column(IMAGE, datasets.Image(decode=False))
    facts = {"origin": f"hub: {path}", "n_questions": len(rows), "revision": revision}
    data = TaskData(rows, facts)
    if wanted.answer_set is None:
        return data
    column = rows["answers"] if "answers" in rows.column_names else ()
    return _with_answer_set(wanted, data, [answers_of({"answers": one}) for one in column])


def _with_answer_set(
    wanted: DataSource, data: TaskData, answers: Sequence[Sequence[str]]
) -> TaskData:
    """Return the data with their set of answers; warn or raise if another one is expected."""
    found = detect_answer_set(answers)
    if (wanted.answer_set, found) == (STEMMED, RAW):
        logger.warning(
            "%s: the answers are as people wrote them (%s). Published scores use the stemmed "
            "answers, which changes a score by up to about one point. Set %s to a folder with "
            "the official files, or run okvqa_raw, which uses the raw answers.",
            wanted.task,
            data.facts["origin"],
            DATA_VARIABLE,
        )
    if (wanted.answer_set, found) == (RAW, STEMMED):
        message = (
            f"{wanted.task} needs the answers as people wrote them, but these are "
            f"stemmed ({data.facts['origin']}). Run okvqa for stemmed answers."
        )
        raise DataError(message)
    return TaskData(data.rows, {**data.facts, "answer_set": found})


def _hub_revision(path: str) -> tuple[str | None, str]:
    """Return the commit of a data set on the hub; or ``None``, and why it is unknown."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(path, timeout=HUB_TIMEOUT_S).sha, ""
    except Exception as error:  # noqa: BLE001  (errors of whichever HTTP library the hub uses)
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__
