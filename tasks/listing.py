"""List the tasks of this package and of its plugins from their YAML files, without a host."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import yaml

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.models.checkpoint import cache_folder
from moe_eval_plugin.plugins.manager import task_folders
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE, data_folder, load_easy_vqa
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES, locate

if TYPE_CHECKING:
    from pathlib import Path

EASY_VQA = "easy_vqa"


@dataclass(frozen=True)
class ListedTask:
    """A task or a group of tasks, as its definition describes it."""

    name: str
    """Name for ``--tasks``."""
    n_questions: int | None
    """Number of its questions; ``None`` where its definition alone does not say."""
    scores: tuple[str, ...]
    """Names of its scores."""
    members: tuple[str, ...]
    """Tasks of a group; empty for a task."""
    is_there: bool | None
    """Whether its data are on this machine; ``None`` where they are downloaded when asked for."""
    data: str
    """Where its data are, or come from."""
    definition: str
    """Path of its definition."""


class _Loader(yaml.SafeLoader):
    """Reads the definition of a task without the functions that it names."""


_Loader.add_multi_constructor("!function", lambda *_: None)


def read_definition(path: Path) -> dict[str, Any]:
    """Return the definition of a task, joined with the file that it includes."""
    found: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506  (a safe one)
    included = found.pop("include", None)
    return found if included is None else {**read_definition(path.parent / included), **found}


def list_tasks(host: str = "lmms-eval") -> list[ListedTask]:
    """Return the tasks and groups of this package and of installed plugins for a host, by name."""
    paths = [path for folder in task_folders(host) for path in folder.glob("*.yaml")]
    named = [path for path in paths if not path.name.startswith("_")]
    return sorted(map(_listed, named), key=lambda one: one.name)


def _listed(path: Path) -> ListedTask:
    definition = read_definition(path)
    members = _members(definition)
    source = definition.get("dataset_kwargs", {}).get("source")
    is_there, data = _data(source, definition.get("dataset_path"))
    if members:
        is_there, data = None, f"the group of {' and '.join(members)}"
    return ListedTask(
        name=definition["group"] if members else definition["task"],
        n_questions=_n_questions(source),
        scores=_scores(definition),
        members=members,
        is_there=is_there,
        data=data,
        definition=str(path),
    )


def _members(definition: dict[str, Any]) -> tuple[str, ...]:
    """Return the tasks of a group, some with settings of the group; empty for a task."""
    listed = definition["task"] if isinstance(definition.get("task"), list) else []
    return tuple(one if isinstance(one, str) else one["task"] for one in listed)


def _n_questions(source: str | None) -> int | None:
    if source == EASY_VQA and find_spec(EASY_VQA):
        return len(load_easy_vqa().records)
    return OFFICIAL_FILES[source].n_questions if source in OFFICIAL_FILES else None


def _scores(definition: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the rows that a definition names in one of three ways."""
    scoring = definition.get("metadata", {}).get("scoring", {})
    listed = definition.get("metric_list") or definition.get("aggregate_metric_list") or []
    return tuple(scoring) or tuple(one["metric"].partition(",")[0] for one in listed)


def _data(source: str | None, dataset: str | None) -> tuple[bool | None, str]:
    """Return whether the data of a task are on this machine, and where."""
    folder = data_folder()
    if source == EASY_VQA:
        return find_spec(EASY_VQA) is not None, "the package easy-vqa"
    if source in OFFICIAL_FILES and folder is not None:
        try:
            locate(source, folder)
        except DataError as error:
            return False, str(error)
        return True, f"{folder} ({DATA_VARIABLE})"
    if dataset is None:
        return None, "as its definition says"
    cached = cache_folder() / f"datasets--{dataset.replace('/', '--')}"
    return True if cached.is_dir() else None, f"{dataset} of the Hub"
