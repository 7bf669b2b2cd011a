"""What lmms-eval leaves behind: results files and samples files, of our models or of others.

A results file is ``<date>_results.json``; beside it lie ``<date>_samples_<task>.jsonl`` where the
run was made with ``--log_samples``. Nothing is taken on trust: a file of another tool, one that is
cut off and one without the expected parts raise ``DataError``.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.run import Run, ScoreRow, TaskRun, mapping_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NO_RESULTS = "lmms-eval left no results file; its output tells why"

RESULTS = "results.json"
SAMPLES = "samples"
# The host puts the date in front. A submission that is written beside a run has no date there.
RESULTS_FILES = f"[0-9]*_{RESULTS}"
NEEDED_KEYS = ("results", "configs", "config")


def find_runs(path: Path) -> list[Run]:
    """Read a results file, or all of them in a folder and below it, ordered by their path.

    Raises ``DataError`` where there is none.
    """
    if path.is_file():
        return [read_run(path)]
    found = sorted(file for file in path.rglob(RESULTS_FILES) if file.is_file())
    if not found:
        message = (
            f"{path} is no results file of lmms-eval, and no folder with one (*_{RESULTS}). Give "
            "the folder that --output_path named."
        )
        raise DataError(message)
    return [read_run(file) for file in found]


def find_run(path: Path) -> Run:
    """Read the only results file at a path; ``DataError`` lists them if there are several."""
    runs = find_runs(path)
    if len(runs) > 1:
        files = "\n  ".join(str(run.path) for run in runs)
        message = f"{path} holds {len(runs)} runs, and one is needed. Give one of:\n  {files}"
        raise DataError(message)
    return runs[0]


def read_run(path: Path) -> Run:
    """Read one results file."""
    content = _read_json(path)
    missing = [key for key in NEEDED_KEYS if not isinstance(content.get(key), dict)]
    if missing:
        message = (
            f"{path} is not a results file of lmms-eval: it has no {' and no '.join(missing)}. "
            f"Give the file that ends in _{RESULTS}."
        )
        raise DataError(message)
    return Run(path, content, tuple(_tasks(path, content)))


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a file one by one; ``DataError`` names the line that is broken.

    A file that was cut off between two lines reads like a whole one: compare the number of its
    samples with ``TaskRun.n_samples``.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _sample(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}. Give the files as lmms-eval wrote them."
        raise DataError(message) from error


def _sample(path: Path, number: int, line: str) -> dict[str, Any]:
    cause = "a JSON object was expected"
    try:
        sample = json.loads(line)
    except (ValueError, RecursionError) as error:
        sample, cause = None, str(error)
    if not isinstance(sample, dict):
        message = (
            f"{path}, line {number}, is not a sample of lmms-eval: {cause}. The file may have "
            "been cut off; run the evaluation again."
        )
        raise DataError(message)
    return sample


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error}."
        raise DataError(message) from error
    except (ValueError, RecursionError) as error:
        message = (
            f"{path} is not complete JSON: {error}. It may have been cut off, or be of another "
            "tool. Give a results file of lmms-eval."
        )
        raise DataError(message) from error
    if not isinstance(content, dict):
        message = (
            f"{path} holds a {type(content).__name__} where a JSON object was expected. Give a "
            f"results file of lmms-eval, which ends in _{RESULTS}."
        )
        raise DataError(message)
    return content


def _tasks(path: Path, content: Mapping[str, Any]) -> Iterator[TaskRun]:
    records = mapping_at(content, "moe_eval")
    for task, rows in content["results"].items():
        if task not in content["configs"]:  # a group: its tasks are listed for themselves
            continue
        if not isinstance(rows, dict):
            message = f"{path}: the results of {task} are {rows!r}, where rows were expected."
            raise DataError(message)
        samples = path.with_name(path.name.removesuffix(RESULTS) + f"{SAMPLES}_{task}.jsonl")
        yield TaskRun(
            task=task,
            scores=tuple(_scores(rows, mapping_at(mapping_at(content, "higher_is_better"), task))),
            n_samples=_count(mapping_at(mapping_at(content, "n-samples"), task).get("effective")),
            metadata=mapping_at(mapping_at(content["configs"], task), "metadata"),
            record=mapping_at(records, task) or None,
            samples=samples if samples.is_file() else None,
        )


def _scores(rows: Mapping[str, Any], higher_is_better: Mapping[str, bool]) -> Iterator[ScoreRow]:
    """Yield the rows; the host names them ``metric,filter`` and puts standard errors between."""
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


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float | None:
    """Return a number of the host; what it could not compute is text, or not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def find_results(folder: Path) -> Path:
    """Return the results file that was written into a folder; ``RuntimeError`` without one.

    The host swallows every error while it writes, so the file is read again, and each task must
    have its samples.
    """
    found = sorted(folder.rglob(RESULTS_FILES))
    if not found:
        raise RuntimeError(NO_RESULTS)
    path = found[-1]
    content = json.loads(path.read_text(encoding="utf-8"))
    for task in content["configs"]:
        samples = path.with_name(path.name.replace("_results.json", f"_samples_{task}.jsonl"))
        if not samples.is_file():
            message = f"lmms-eval left no samples of {task}; its output tells why"
            raise RuntimeError(message)
    return path
