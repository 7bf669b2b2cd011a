"""What a sweep will take: questions, memory, and time as far as finished points tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweep.manifest import load_manifest
from moe_eval_plugin.sweep.runner import changes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.sweep.manifest import Manifest
    from moe_eval_plugin.sweep.plan import SweepPlan

MINUTE = 60
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Estimate:
    """What is to be done and what it takes; ``None`` stands for "not known".

    ``states`` has each point with its state. ``seconds_left`` is estimated from the points of this
    folder that are done, all at the rate of the slowest; loading is not in it. ``changed`` lists
    settings that are not those of the points in the folder, so that the sweep would be refused.
    """

    states: Mapping[str, str]
    model_args: Mapping[str, str]
    n_questions: Mapping[str, int]
    memory_bytes: int | None
    free_bytes: int | None
    seconds_left: float | None
    changed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain JSON data."""
        return asdict(self)


def estimate(
    plan: SweepPlan,
    wanted: EngineOptions,
    n_questions: Mapping[str, int],
    folder: Path,
    settings: Mapping[str, Any],
) -> Estimate:
    """Look at the plan, at what is done in the folder, and at this machine; nothing is changed."""
    from moe_eval_plugin.engines.memory_check import bytes_needed
    from moe_eval_plugin.hardware.memory import free_memory
    from moe_eval_plugin.models.weight_files import weight_size

    manifest = load_manifest(folder)
    changed = changes(manifest, plan, settings) if manifest and manifest.has_done else []
    if changed:
        manifest = None
    states = {point.name: "pending" for point in plan.points}
    for name, entry in (manifest.entries if manifest else {}).items():
        if name in states and entry.state == "done":
            states[name] = "done"
    size = weight_size(wanted.pretrained, wanted.revision)
    memory = free_memory(_device(plan), wanted.device_map)
    return Estimate(
        states=states,
        model_args={point.name: point.model_args for point in plan.points},
        n_questions=n_questions,
        memory_bytes=None if size is None else bytes_needed(size),
        free_bytes=memory.free_bytes if memory else None,
        seconds_left=_seconds_left(states, manifest),
        changed=tuple(changed),
    )


def render_estimate(found: Estimate) -> str:
    """Write an estimate for a terminal."""
    from moe_eval_plugin.text import gib_text

    width = max(map(len, found.states))
    points = [
        f"  {name.ljust(width)}  {found.states[name].ljust(7)}  {arguments}"
        for name, arguments in found.model_args.items()
    ]
    questions = ", ".join(f"{n:,} of {task}" for task, n in found.n_questions.items())
    total = sum(found.n_questions.values()) * sum(s != "done" for s in found.states.values())
    memory = NOT_KNOWN if found.memory_bytes is None else gib_text(found.memory_bytes)
    free = NOT_KNOWN if found.free_bytes is None else gib_text(found.free_bytes)
    lines = [
        f"{len(points)} points, the baseline first:",
        *points,
        f"questions at each point: {questions}; {total:,} answers to go",
        f"memory: {memory} for the weights and a tenth more; {free} free",
        f"time: {_time_text(found.seconds_left)}",
    ]
    if found.changed:
        lines.append("refused without --restart, because settings changed:")
        lines += [f"  {change}" for change in found.changed]
    return "\n".join(lines)


def _seconds_left(states: Mapping[str, str], manifest: Manifest | None) -> float | None:
    entries = manifest.entries if manifest else {}
    took = [entries[name].seconds or 0.0 for name, state in states.items() if state == "done"]
    n_left = sum(state != "done" for state in states.values())
    if n_left == 0:
        return 0.0
    return max(took) * n_left if took else None


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return (
            f"{NOT_KNOWN}, since no point is done yet. Sweep with --limit 32 into another folder "
            "to see how fast this machine answers."
        )
    return f"about {seconds / MINUTE:.1f} min, at the rate of the slowest point that is done"


def _device(plan: SweepPlan) -> str:
    import torch

    return plan.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
