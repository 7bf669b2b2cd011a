"""Compare the settings of two runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.setting_kind import kind_of
from moe_eval_plugin.results.compare.comparison import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.results.run import Run, TaskRun

# Always shown where one of the runs records them: runs are mostly compared for these.
ALWAYS = (
    *("backend", "model", "k requested", "k observed", "k baseline"),
    "answers from a cache",
)
EXPERTS = {
    "k requested": "requested",
    "k observed": "observed",
    "k baseline": "baseline",
    "experts_k": "experts_k",
    "experts_policy": "experts_policy",
    "renorm": "renorm",
}
# Parts of the provenance that have another name, or are listed one by one.
SHOWN_ALREADY = ("pretrained", "versions", "host", "routed_flop_share", "tuning")


def compare_settings(a: tuple[Run, TaskRun], b: tuple[Run, TaskRun]) -> tuple[Setting, ...]:
    """List k, model and backend, and all other settings that differ or that one run lacks."""
    of_a, of_b = dict(_settings(*a)), dict(_settings(*b))
    pairs = [Setting(name, of_a.get(name), of_b.get(name)) for name in {**of_a, **of_b}]
    return tuple(one for one in pairs if one.name in ALWAYS or one.a != one.b)


def setting_kind(task: TaskRun) -> str | None:
    """Return whether a setting is a uniform k, a schedule or a policy; ``None`` if not known."""
    experts = task.record.experts if task.record else None
    if experts is None:
        return None
    schedule = experts.experts_k if experts.requested is None else None
    return kind_of(experts.experts_policy, schedule, task.setup.tuning).value


def _settings(run: Run, task: TaskRun) -> Iterator[tuple[str, str]]:
    """Yield each setting that is known, as text."""
    for name, value in _values(run, task):
        if value not in (None, "", [], {}):
            yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _values(run: Run, task: TaskRun) -> Iterator[tuple[str, Any]]:
    experts = task.record.experts if task.record else None
    setup = task.setup
    yield "host", run.host
    yield "backend", run.backend
    yield "model", setup.pretrained or run.checkpoint
    for name, field in EXPERTS.items():
        yield name, getattr(experts, field, None)
    yield "kind", setting_kind(task)
    yield "chosen as", setup.tuning.name if setup.tuning else None
    yield "answers from a cache", (task.record.n_answers_from_cache if task.record else 0) or None
    share = setup.routed_flop_share
    yield "routed FLOP share", None if share is None else f"{share:.1%}"
    for name, value in setup.values.items():
        if name not in EXPERTS and name not in SHOWN_ALREADY:
            yield name, value
    for name, version in setup.versions.items():
        yield f"version of {name}", version
    for name, value in run.settings.items():
        if name not in setup.values:
            yield name, value
    for name, value in task.settings.items():
        yield f"task: {name}", value
