"""Read the results files of lm-eval, of our models or of others, as runs.

A results file is ``results_<date>.json``, or ``<name>_<date>.json`` where the host was given a file
name; the samples files ``samples_<task>_<date>.jsonl`` are in the same folder if the run was made
with ``--log_samples``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.files import is_file
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.results.files.content import as_typed, count, mapping, number, text
from moe_eval_plugin.results.files.lm_eval.scores import (
    filters_of,
    main_score,
    named_metrics,
    named_rows,
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

HOST = "lm-eval"
# What changes answers: of the host's settings, of the prompts of all tasks, and of one task.
RUN_SETTINGS = (
    "model_args",
    "batch_size",
    "gen_kwargs",
    "use_cache",
    "random_seed",
    "numpy_seed",
    "torch_seed",
    "fewshot_seed",
)
PROMPT_SETTINGS = ("system_instruction", "chat_template_sha", "fewshot_as_multiturn")
TASK_SETTINGS = ("output_type", "generation_kwargs", "num_fewshot", "dataset_path", "dataset_name")
# In the metadata of a task, and not settings of it: the file that defines the task.
NOT_SETTINGS = frozenset({"config_source", "matching", "n_questions", "n_left_out"})


def run_of(path: Path, content: Mapping[str, Any]) -> Run:
    """Return the run of one results file, from its content."""
    config = content["config"]
    command = mapping(mapping(content, "moe_eval_command"), "options")
    options = {**_prompt_options(content), **config, **command}
    limit = as_typed(number(config.get("limit")))
    tasks = tuple(_tasks(path, content))
    return Run(
        path=path,
        tasks=tasks,
        backend=str(config.get("model") or content.get("model_source")),
        checkpoint=checkpoint_of(tasks, content),
        host=HOST,
        host_version=text(content, "lm_eval_version"),
        code_revision=text(content, "git_hash"),
        date=_date(content),
        date_text=text(content, "date"),
        limit=limit,
        include_path=text(options, "include_path"),
        settings={
            **{name: config.get(name) for name in RUN_SETTINGS},
            **{name: content.get(name) for name in PROMPT_SETTINGS},
            "limit": limit,
        },
        options={**options, "limit": limit},
    )


def _prompt_options(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of prompts, as far as results show them without the command's own."""
    examples = {count(n) for n in mapping(content, "n-shot").values()}
    found: dict[str, Any] = {"system_instruction": text(content, "system_instruction")}
    if len(examples) == 1:
        found["num_fewshot"] = examples.pop()
    if content.get("chat_template"):
        multiturn = content.get("fewshot_as_multiturn")
        found |= {"apply_chat_template": True, "fewshot_as_multiturn": multiturn}
    return found


def _samples_path(path: Path, task: str) -> Path:
    """Return the samples file of a task that belongs to a results file."""
    return path.parent / f"samples_{task}_{path.stem.rpartition('_')[2]}.jsonl"


def _tasks(path: Path, content: Mapping[str, Any]) -> Iterator[TaskRun]:
    for task, rows in rows_of_tasks(path, content):
        yield _task(path, content, task, rows)


def _task(path: Path, content: Mapping[str, Any], task: str, rows: Mapping[str, Any]) -> TaskRun:
    config = mapping(content["configs"], task)
    metadata = _own_metadata(content, config)
    counts = mapping(mapping(content, "n-samples"), task)
    samples = _samples_path(path, task)
    filters = filters_of(config)
    higher = mapping(mapping(content, "higher_is_better"), task)
    scores = tuple(named_rows(rows, higher))
    metrics = tuple(named_metrics(config, filters))
    stored = JsonObject(mapping(mapping(content, "moe_eval"), task), str(path), f"moe_eval.{task}")
    record = RunRecord.from_dict(stored) if stored.values else None
    main = main_score(record.score.metric if record and record.score else None, metrics, scores)
    split = {"test_split": config.get("test_split") or config.get("validation_split")}
    return TaskRun(
        task=task,
        host=HOST,
        scores=scores,
        n_samples=count(counts.get("effective")),
        record=record,
        samples=samples if is_file(samples) else None,
        main_metric=main,
        metrics=metrics,
        filters=filters,
        scoring=scoring(main, metadata),
        n_by_answer_type=n_by_answer_type(content, task),
        data=task_data({**config, **split}, metadata, counts),
        settings={
            **{name: config.get(name) for name in TASK_SETTINGS},
            **{name: metadata.get(name) for name in DATA_SETTINGS},
            "filters": None if len(filters) == 1 else list(filters),
            "metadata": {
                name: value
                for name, value in metadata.items()
                if name not in NOT_SETTINGS.union(DATA_SETTINGS)
            },
            "prompts and targets": mapping(content, "task_hashes").get(task),
        },
    )


def _own_metadata(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a task without the model's arguments, which the host adds to it."""
    model_args = mapping(content["config"], "model_args")
    metadata = mapping(config, "metadata")
    return {name: value for name, value in metadata.items() if name not in model_args}


def _date(content: Mapping[str, Any]) -> datetime | None:
    """Return the date of a run, which the host writes as seconds since 1970."""
    try:
        return datetime.fromtimestamp(number(content.get("date")) or float("nan"), UTC)
    except (ValueError, OverflowError, OSError):
        return None
