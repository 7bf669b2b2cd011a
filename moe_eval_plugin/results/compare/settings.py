"""What two runs were made with, and where that differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.compare.comparison import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.results.run import Run, TaskRun

# Always shown where one of the runs knows them, since they are what runs are mostly compared for.
ALWAYS = ("backend", "model", "k requested", "k observed", "k baseline")
EXPERTS = {
    "k requested": "requested",
    "k observed": "observed",
    "k baseline": "baseline",
    "experts_k": "experts_k",
    "experts_policy": "experts_policy",
    "renorm": "renorm",
}
# Fields of the host's settings that change answers; our models record better ones of their own.
HOST = ("model_args", "batch_size", "gen_kwargs", "limit", "offset", "random_seed", "torch_seed")
TASK = ("generation_kwargs", "lmms_eval_specific_kwargs", "num_fewshot", "dataset_path")
DATA = ("version", "scoring", "answer_set", "origin", "revision", "sha256")


def compare_settings(a: tuple[Run, TaskRun], b: tuple[Run, TaskRun]) -> tuple[Setting, ...]:
    """List k, model and backend, and whatever else both tell differently or only one tells."""
    of_a, of_b = dict(_settings(*a)), dict(_settings(*b))
    pairs = [Setting(name, of_a.get(name), of_b.get(name)) for name in {**of_a, **of_b}]
    return tuple(one for one in pairs if one.name in ALWAYS or one.a != one.b)


def _settings(run: Run, task: TaskRun) -> Iterator[tuple[str, str]]:
    """Yield each setting that is known, as text."""
    for name, value in _values(run, task):
        if value not in (None, "", [], {}):
            yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _values(run: Run, task: TaskRun) -> Iterator[tuple[str, Any]]:
    record = task.record or {}
    experts, provenance = _part(record, "experts"), dict(_part(record, "provenance"))
    versions = _part(provenance, "versions")
    yield "backend", run.model
    yield "model", provenance.pop("pretrained", None) or run.checkpoint
    for name, field in EXPERTS.items():
        yield name, experts.get(field)
    for name, value in provenance.items():
        if name not in EXPERTS and name != "versions":
            yield name, value
    for name, value in versions.items():
        yield f"version of {name}", value
    config = run.content["config"]
    for name in HOST:
        if name not in provenance:
            yield name, config.get(name)
    yield from _of_task(_part(run.content["configs"], task.task), task)


def _of_task(config: Mapping[str, Any], task: TaskRun) -> Iterator[tuple[str, Any]]:
    for name in TASK:
        yield f"task: {name}", config.get(name)
    for name in DATA:
        yield f"task: {name}", task.metadata.get(name)


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = whole.get(key)
    return part if isinstance(part, dict) else {}
