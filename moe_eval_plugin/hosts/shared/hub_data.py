"""Data sets of the Hub, or copies of them on this disk, and the check that they can be had.

A copy is a folder with Parquet files below ``MOE_EVAL_DATA``, named as the data set:
``allenai/openbookqa``. Two layouts are found: ``main/train-00000-of-00001.parquet`` as in most
data sets, and ``main/train/0000.parquet`` as in the branch that the Hub converts itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.models.checkpoint import HUB_TIMEOUT_S, cache_folder, network_errors
from moe_eval_plugin.text import one_line
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE, data_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What `dataset_kwargs.source` says in the definition of a task with such data.
HUB = "hub"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class HubData:
    """A data set of the Hub that a task reads."""

    task: str
    """Name of the task."""
    dataset: str
    """Id of the data set: ``allenai/openbookqa``."""
    configuration: str | None = None
    """Name of the part of the data set; ``None`` where it has one part."""

    @classmethod
    def of_definition(cls, task: str, definition: Mapping[str, Any]) -> HubData | None:
        """Return the data of a task; ``None`` where its definition names another source."""
        if (definition.get("dataset_kwargs") or {}).get("source") != HUB:
            return None
        return cls(task, definition["dataset_path"], definition.get("dataset_name"))

    def files(self, folder: Path) -> dict[str, list[str]]:
        """Return the Parquet files of each split in the copy below a folder; empty for none."""
        here = folder / self.dataset / (self.configuration or "")
        found = sorted(here.rglob("*.parquet"))
        of_split = {
            split: [str(path) for path in found if _is_of_split(path, split)] for split in SPLITS
        }
        return {split: paths for split, paths in of_split.items() if paths}

    @property
    def is_cached(self) -> bool:
        """Whether an earlier run left the data set in a cache of the Hub's libraries."""
        from huggingface_hub import constants

        if (cache_folder() / f"datasets--{self.dataset.replace('/', '--')}").is_dir():
            return True
        prepared = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")
        parts = Path(prepared, self.dataset.lower().replace("/", "___"))
        return any(parts.glob(f"{self.configuration or '*'}*"))


def check_hub_data(wanted: Iterable[HubData]) -> None:
    """Raise ``DataError`` that names all data sets that are neither here nor on the Hub.

    With ``MOE_EVAL_DATA`` they must be in that folder. Otherwise the Hub is asked for those that no
    cache has, and once only where it cannot be reached.
    """
    data, folder = list(wanted), data_folder()
    if folder is not None:
        missing, cause = [one for one in data if not one.files(folder)], ""
    else:
        missing, cause = _not_on_the_hub([one for one in data if not one.is_cached])
    if missing:
        raise DataError(missing_text(missing, folder, cause))


def missing_text(missing: Iterable[HubData], folder: Path | None, cause: str = "") -> str:
    """Return the message for data sets that are missing, with the ways to provide them."""
    tasks: dict[str, list[str]] = {}
    for one in missing:
        tasks.setdefault(one.dataset, []).append(one.task)
    named = ", ".join(f"{dataset} (for {' and '.join(of)})" for dataset, of in tasks.items())
    where = folder or "FOLDER"
    first = next(iter(tasks))
    if folder is None:
        problem = f"not in a cache, and not on the Hub: {cause.rstrip('.')}"
        way = f"With a network they are downloaded; without one, set {DATA_VARIABLE}=FOLDER"
    else:
        problem = f"not in {folder}, the folder that {DATA_VARIABLE} names"
        way = f"Unset {DATA_VARIABLE} to use the Hub"
    copied = "copy each data set into" if folder is None else "or copy each data set into"
    return (
        f"Data sets are missing: {named}. They are {problem}. {way}"
        f"{' and' if folder is None else ','} {copied} its own folder there, on a machine with a "
        f"network: `hf download {first} --repo-type dataset --local-dir {where}/{first}`."
    )


def _is_of_split(path: Path, split: str) -> bool:
    return path.parent.name == split or path.stem.partition("-")[0] == split


def _not_on_the_hub(wanted: Iterable[HubData]) -> tuple[list[HubData], str]:
    """Return the data sets that the Hub does not have, and the first reason."""
    from huggingface_hub import HfApi

    missing: list[HubData] = []
    causes: list[str] = []
    is_reachable = True
    for one in wanted:
        try:
            if is_reachable:
                HfApi().dataset_info(one.dataset, timeout=HUB_TIMEOUT_S)
                continue
        except network_errors() as error:
            # An answer, such as 404, is of this data set alone.
            is_reachable = getattr(error, "response", None) is not None
            causes.append(one_line(error))
        missing.append(one)
    return missing, causes[0] if causes else ""
