"""Read the JSON files of any host: the whole file, and parts whose form is not certain."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.run import ScoreRow, TaskMetric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILES = "a results file of lmms-eval (*_results.json) or of lm-eval (results_*.json)"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; ``DataError`` for a file that is cut off, or of no host."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} cannot be read: {error}."
        raise DataError(message) from error
    except (ValueError, RecursionError) as error:
        message = (
            f"{path} is not complete JSON: {error}. It may have been cut off, or be of another "
            f"tool. Pass {FILES}."
        )
        raise DataError(message) from error
    if not isinstance(content, dict):
        message = (
            f"{path} holds a {type(content).__name__} where a JSON object was expected. Pass "
            f"{FILES}."
        )
        raise DataError(message)
    return content


def mapping(whole: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object under a key; an empty one where there is none, or something else."""
    part = whole.get(key)
    return part if isinstance(part, dict) else {}


def text(whole: Mapping[str, Any], key: str) -> str | None:
    """Return a string or a number as text; ``None`` for nothing and for other types."""
    value = whole.get(key)
    return str(value) if isinstance(value, str | int | float) else None


def count(value: object) -> int | None:
    """Return a whole number; ``None`` for anything else."""
    return value if isinstance(value, int) else None


def number(value: object) -> float | None:
    """Return a finite number; ``None`` for what the host could not compute."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def as_typed(value: float | None) -> float | None:
    """Return a number as users type it: hosts read ``--limit 48`` as 48.0."""
    return int(value) if value is not None and value.is_integer() else value


def metrics(config: Mapping[str, Any]) -> Iterator[TaskMetric]:
    """Yield the metrics that the definition of a task lists."""
    listed = config.get("metric_list")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and "metric" in one:
            yield TaskMetric(str(one["metric"]), text(one, "aggregation"))


def score_rows(
    rows: Mapping[str, Any], higher_is_better: Mapping[str, bool]
) -> Iterator[tuple[str, ScoreRow]]:
    """Yield filter and row; hosts call them ``metric,filter``, with standard errors in between."""
    for name, value in rows.items():
        metric, _, filter_name = name.partition(",")
        found = number(value)
        if not filter_name or found is None or "_stderr" in metric:
            continue
        yield (
            filter_name,
            ScoreRow(
                metric=metric,
                value=found,
                stderr=number(rows.get(f"{metric}_stderr,{filter_name}")),
                higher_is_better=higher_is_better.get(metric),
            ),
        )
