"""Read the parts of a results file that are about its tasks, whichever host wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.files.content import count, mapping, text
from moe_eval_plugin.results.run import UNKNOWN, TaskData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.results.run import TaskRun

# What changes answers or scores, of the metadata of a task.
DATA_SETTINGS = ("version", "scoring", "answer_set", "origin", "revision", "sha256")


def checkpoint_of(tasks: Iterable[TaskRun], content: Mapping[str, Any]) -> str:
    """Return the checkpoint as our adapter recorded it, or else as the host shows it."""
    recorded = (task.record.setup.pretrained for task in tasks if task.record)
    return str(next(filter(None, recorded), None) or content.get("model_name") or UNKNOWN)


def rows_of_tasks(
    path: Path, content: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each task with its rows, without groups, whose tasks are listed for themselves.

    Raises ``DataError`` for rows of another form.
    """
    for task, rows in content["results"].items():
        if task not in content["configs"]:
            continue
        if not isinstance(rows, dict):
            message = f"{path}: the results of {task} are {rows!r}, where rows were expected."
            raise DataError(message)
        yield task, rows


def scoring(main: str | None, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Map metrics to how they compare answers; a task may state it for its main metric alone."""
    matching = metadata.get("matching")
    of_main = {main: str(matching)} if main and matching else {}
    return {**of_main, **mapping(metadata, "scoring")}


def n_by_answer_type(content: Mapping[str, Any], task: str) -> dict[str, int]:
    """Count the questions of each answer type, where scores were split by it."""
    types = mapping(mapping(mapping(content, "moe_eval_scores"), task), "answer_types")
    counts = {name: count(mapping(types, name).get("n")) for name in types}
    return {name: n for name, n in counts.items() if n is not None}


def task_data(
    config: Mapping[str, Any], metadata: Mapping[str, Any], counts: Mapping[str, Any]
) -> TaskData:
    """Return what a task and its metadata say about its data."""
    n_left_out = count(metadata.get("n_left_out"))
    n_used = count(metadata.get("n_questions", counts.get("original")))
    return TaskData(
        dataset=text(config, "dataset_path"),
        dataset_config=text(config, "dataset_name"),
        split=text(config, "test_split"),
        source=text(mapping(config, "dataset_kwargs"), "source"),
        origin=text(metadata, "origin"),
        revision=text(metadata, "revision"),
        sha256=mapping(metadata, "sha256"),
        answer_set=text(metadata, "answer_set"),
        n_questions=None if n_used is None else n_used + (n_left_out or 0),
        n_left_out=n_left_out,
        left_out_because=text(metadata, "left_out_because"),
    )
