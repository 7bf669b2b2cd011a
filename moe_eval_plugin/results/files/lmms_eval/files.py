"""Read the results files of lmms-eval, of our models or of others, as runs.

A results file is ``<date>_results.json``; the samples files ``<date>_samples_<task>.jsonl`` are in
the same folder if the run was made with ``--log_samples``. A file of another tool, one that is cut
off and one without the expected parts raise ``DataError``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from moe_eval_plugin.files import is_file
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.results.files.content import (
    as_typed,
    count,
    mapping,
    metrics,
    number,
    score_rows,
    text,
)
from moe_eval_plugin.results.files.task_parts import (
    DATA_SETTINGS,
    checkpoint_of,
    n_by_answer_type,
    rows_of_tasks,
    scoring,
    task_data,
)
from moe_eval_plugin.results.record import RunRecord
from moe_eval_plugin.results.run import Run, TaskRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RESULTS = "results.json"
SAMPLES = "samples"
HOST = "lmms-eval"
# What changes answers: of the host's settings, and of a task's definition.
RUN_SETTINGS = (
    "model_args",
    "batch_size",
    "gen_kwargs",
    "limit",
    "offset",
    "random_seed",
    "torch_seed",
)
TASK_SETTINGS = ("generation_kwargs", "lmms_eval_specific_kwargs", "num_fewshot", "dataset_path")


def run_of(path: Path, content: Mapping[str, Any]) -> Run:
    """Return the run of one results file, from its content."""
    config = content["config"]
    options = {**mapping(config, "resolved_cli_args"), **config}
    limit = as_typed(number(options.get("limit")))
    tasks = tuple(_tasks(path, content))
    return Run(
        path=path,
        tasks=tasks,
        backend=str(config.get("model") or content.get("model_source")),
        checkpoint=checkpoint_of(tasks, content),
        host=HOST,
        host_version=text(content, "lmms_eval_version"),
        code_revision=text(content, "git_hash"),
        date=_date(content),
        date_text=text(content, "date"),
        limit=limit,
        include_path=text(options, "include_path"),
        settings={**{name: config.get(name) for name in RUN_SETTINGS}, "limit": limit},
        options={**options, "limit": limit},
    )


def _samples_path(path: Path, task: str) -> Path:
    """Return the samples file of a task that belongs to a results file."""
    return path.parent / f"{path.name.removesuffix(RESULTS)}{SAMPLES}_{task}.jsonl"


def _tasks(path: Path, content: Mapping[str, Any]) -> Iterator[TaskRun]:
    records = mapping(content, "moe_eval")
    for task, rows in rows_of_tasks(path, content):
        config = mapping(content["configs"], task)
        metadata = mapping(config, "metadata")
        counts = mapping(mapping(content, "n-samples"), task)
        prompt = mapping(config, "lmms_eval_specific_kwargs")
        samples = _samples_path(path, task)
        higher = mapping(mapping(content, "higher_is_better"), task)
        record = JsonObject(mapping(records, task), str(path), f"moe_eval.{task}")
        yield TaskRun(
            task=task,
            scores=tuple(row for _, row in score_rows(rows, higher)),
            n_samples=count(counts.get("effective")),
            record=RunRecord.from_dict(record) if record.values else None,
            samples=samples if is_file(samples) else None,
            main_metric=text(config, "score_key"),
            metrics=tuple(metrics(config)),
            scoring=scoring(text(config, "score_key"), metadata),
            n_by_answer_type=n_by_answer_type(content, task),
            data=task_data(config, metadata, counts),
            prompt_prefix=text(prompt, "pre_prompt") or "",
            prompt_suffix=text(prompt, "post_prompt") or "",
            settings={
                **{name: config.get(name) for name in TASK_SETTINGS},
                **{name: metadata.get(name) for name in DATA_SETTINGS},
            },
        )


def _date(content: Mapping[str, Any]) -> datetime | None:
    """Return the date of a run, which the host writes in the time zone of its option."""
    try:
        zone = ZoneInfo(content["config"]["resolved_cli_args"]["timezone"])
        return datetime.strptime(content["date"], "%Y%m%d_%H%M%S").replace(tzinfo=zone)
    except (KeyError, TypeError, ValueError, OSError):
        return None
