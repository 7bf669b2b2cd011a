"""Read the results files of lmms-eval, of our models or of others, as runs.

A results file is ``<date>_results.json``; the samples files ``<date>_samples_<task>.jsonl`` are in
the same folder if the run was made with ``--log_samples``. A file of another tool, one that is cut
off and one without the expected parts raise ``DataError``.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import is_file
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.results.record import RunRecord
from moe_eval_plugin.results.run import (
    UNKNOWN,
    Run,
    ScoreRow,
    TaskData,
    TaskMetric,
    TaskRun,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NO_RESULTS = "lmms-eval wrote no results file; see its output"

RESULTS = "results.json"
SAMPLES = "samples"
# The host begins names with the date; a submission written to the same folder has no date.
RESULTS_FILES = f"[0-9]*_{RESULTS}"
NEEDED_KEYS = ("results", "configs", "config")
HOST = "lmms-eval"
# What changes answers: of the host's settings, of a task's definition, and of its metadata.
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
DATA_SETTINGS = ("version", "scoring", "answer_set", "origin", "revision", "sha256")


def find_runs(path: Path) -> list[Run]:
    """Return the run of a results file, or the runs of all in a folder and below, by path.

    Raises ``DataError`` where there is none.
    """
    if path.is_file():
        return [read_run(path)]
    found = sorted(file for file in path.rglob(RESULTS_FILES) if file.is_file())
    if not found:
        what = f"holds no results (*_{RESULTS})" if path.exists() else "does not exist"
        message = (
            f"{path} {what}. Pass a results file, or the folder that you gave to "
            "`moe-eval sweep --output` or `lmms-eval --output_path`."
        )
        raise DataError(message)
    return [read_run(file) for file in found]


def find_run(path: Path) -> Run:
    """Return the only run at a path; ``DataError`` lists them if there are several."""
    runs = find_runs(path)
    if len(runs) > 1:
        files = "\n  ".join(str(run.path) for run in runs)
        message = f"{path} holds {len(runs)} runs, and one is needed. Pass one of:\n  {files}"
        raise DataError(message)
    return runs[0]


def read_run(path: Path) -> Run:
    """Return the run of one results file; ``DataError`` for any other file."""
    content = _read_json(path)
    missing = [key for key in NEEDED_KEYS if not isinstance(content.get(key), dict)]
    if missing:
        message = (
            f"{path} is not a results file of lmms-eval: it has no {' and no '.join(missing)}. "
            f"Pass the file that ends in _{RESULTS}."
        )
        raise DataError(message)
    config = content["config"]
    options = {**_mapping(config, "resolved_cli_args"), **config}
    limit = _as_typed(_number(options.get("limit")))
    tasks = tuple(_tasks(path, content))
    recorded = (task.record.setup.pretrained for task in tasks if task.record)
    return Run(
        path=path,
        tasks=tasks,
        backend=str(config.get("model") or content.get("model_source")),
        checkpoint=str(next(filter(None, recorded), None) or content.get("model_name") or UNKNOWN),
        host=HOST,
        host_version=_text(content, "lmms_eval_version"),
        code_revision=_text(content, "git_hash"),
        date=_date(content),
        date_text=_text(content, "date"),
        limit=limit,
        include_path=_text(options, "include_path"),
        settings={**{name: config.get(name) for name in RUN_SETTINGS}, "limit": limit},
        options={**options, "limit": limit},
    )


def _samples_path(path: Path, task: str) -> Path:
    """Return the samples file of a task that belongs to a results file."""
    return path.parent / f"{path.name.removesuffix(RESULTS)}{SAMPLES}_{task}.jsonl"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error}."
        raise DataError(message) from error
    except (ValueError, RecursionError) as error:
        message = (
            f"{path} is not complete JSON: {error}. It may have been cut off, or be of another "
            "tool. Pass a results file of lmms-eval."
        )
        raise DataError(message) from error
    if not isinstance(content, dict):
        message = (
            f"{path} holds a {type(content).__name__} where a JSON object was expected. Pass a "
            f"results file of lmms-eval, which ends in _{RESULTS}."
        )
        raise DataError(message)
    return content


def _tasks(path: Path, content: Mapping[str, Any]) -> Iterator[TaskRun]:
    records = _mapping(content, "moe_eval")
    for task, rows in content["results"].items():
        if task not in content["configs"]:  # a group: its tasks are listed for themselves
            continue
        if not isinstance(rows, dict):
            message = f"{path}: the results of {task} are {rows!r}, where rows were expected."
            raise DataError(message)
        config = _mapping(content["configs"], task)
        metadata = _mapping(config, "metadata")
        counts = _mapping(_mapping(content, "n-samples"), task)
        prompt = _mapping(config, "lmms_eval_specific_kwargs")
        samples = _samples_path(path, task)
        record = JsonObject(_mapping(records, task), str(path), f"moe_eval.{task}")
        yield TaskRun(
            task=task,
            scores=tuple(_scores(rows, _mapping(_mapping(content, "higher_is_better"), task))),
            n_samples=_count(counts.get("effective")),
            record=RunRecord.from_dict(record) if record.values else None,
            samples=samples if is_file(samples) else None,
            main_metric=_text(config, "score_key"),
            metrics=tuple(_metrics(config)),
            scoring=_scoring(config, metadata),
            n_by_answer_type=_n_by_answer_type(content, task),
            data=_data(config, metadata, counts),
            prompt_prefix=_text(prompt, "pre_prompt") or "",
            prompt_suffix=_text(prompt, "post_prompt") or "",
            settings={
                **{name: config.get(name) for name in TASK_SETTINGS},
                **{name: metadata.get(name) for name in DATA_SETTINGS},
            },
        )


def _metrics(config: Mapping[str, Any]) -> Iterator[TaskMetric]:
    """Yield the metrics that the definition of a task lists."""
    listed = config.get("metric_list")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and "metric" in one:
            yield TaskMetric(str(one["metric"]), _text(one, "aggregation"))


def _scoring(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, str]:
    """Map metrics to how they compare answers; a task may state it for its main metric alone."""
    main, matching = _text(config, "score_key"), metadata.get("matching")
    of_main = {main: str(matching)} if main and matching else {}
    return {**of_main, **_mapping(metadata, "scoring")}


def _n_by_answer_type(content: Mapping[str, Any], task: str) -> dict[str, int]:
    types = _mapping(_mapping(_mapping(content, "moe_eval_scores"), task), "answer_types")
    counts = {name: _count(_mapping(types, name).get("n")) for name in types}
    return {name: n for name, n in counts.items() if n is not None}


def _data(
    config: Mapping[str, Any], metadata: Mapping[str, Any], counts: Mapping[str, Any]
) -> TaskData:
    n_left_out = _count(metadata.get("n_left_out"))
    n_used = _count(metadata.get("n_questions", counts.get("original")))
    return TaskData(
        dataset=_text(config, "dataset_path"),
        dataset_config=_text(config, "dataset_name"),
        split=_text(config, "test_split"),
        source=_text(_mapping(config, "dataset_kwargs"), "source"),
        origin=_text(metadata, "origin"),
        revision=_text(metadata, "revision"),
        sha256=_mapping(metadata, "sha256"),
        answer_set=_text(metadata, "answer_set"),
        n_questions=None if n_used is None else n_used + (n_left_out or 0),
        n_left_out=n_left_out,
        left_out_because=_text(metadata, "left_out_because"),
    )


def _date(content: Mapping[str, Any]) -> datetime | None:
    """Return the date of a run, which the host writes in the time zone of its option."""
    try:
        zone = ZoneInfo(content["config"]["resolved_cli_args"]["timezone"])
        return datetime.strptime(content["date"], "%Y%m%d_%H%M%S").replace(tzinfo=zone)
    except (KeyError, TypeError, ValueError, OSError):
        return None


def _scores(rows: Mapping[str, Any], higher_is_better: Mapping[str, bool]) -> Iterator[ScoreRow]:
    """Yield the rows; the host calls them ``metric,filter``, with standard errors in between."""
    for name, value in rows.items():
        metric, _, filter_name = name.partition(",")
        number = _number(value)
        if not filter_name or number is None or "_stderr" in metric:
            continue
        yield ScoreRow(
            metric=metric,
            value=number,
            stderr=_number(rows.get(f"{metric}_stderr,{filter_name}")),
            higher_is_better=higher_is_better.get(metric),
        )


def _mapping(whole: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object under a key; an empty one where there is none, or something else."""
    part = whole.get(key)
    return part if isinstance(part, dict) else {}


def _text(whole: Mapping[str, Any], key: str) -> str | None:
    """Return a string or a number as text; ``None`` for nothing and for other types."""
    value = whole.get(key)
    return str(value) if isinstance(value, str | int | float) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float | None:
    """Return a finite number; ``None`` for what the host could not compute."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _as_typed(value: float | None) -> float | None:
    """Return a number as users type it: the host reads ``--limit 48`` as 48.0."""
    return int(value) if value is not None and value.is_integer() else value


def find_results(folder: Path) -> Path:
    """Return the results file that was written to a folder; ``RuntimeError`` without one.

    The host ignores all errors while it writes, so the file is read again, and each task must
    have its samples.
    """
    found = sorted(folder.rglob(RESULTS_FILES))
    if not found:
        raise RuntimeError(NO_RESULTS)
    path = found[-1]
    for task in _read_json(path)["configs"]:
        if not is_file(_samples_path(path, task)):
            message = f"lmms-eval wrote no samples of {task}; see its output"
            raise RuntimeError(message)
    return path
