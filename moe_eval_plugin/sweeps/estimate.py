"""Estimate a sweep: its questions, memory, and the time left by the rate of finished points."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.runner import changes
from moe_eval_plugin.sweeps.timing.options import TimingOptions
from moe_eval_plugin.sweeps.timing.vllm.orders import changes_k_live
from moe_eval_plugin.text import wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan

MINUTE = 60
# The drivers of NVIDIA, of AMD, and of Windows below Linux make one of these.
GPU_FILES = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Estimate:
    """The work of a sweep and what it needs; ``None`` where it is not known."""

    states: Mapping[str, str]
    """``done`` or ``pending``, by setting."""
    model_args: Mapping[str, str]
    """Model arguments that each setting adds, by setting."""
    n_questions: Mapping[str, int]
    """Questions in each setting, by task."""
    memory_bytes: int | None
    """What the weights need, plus 10%."""
    free_bytes: int | None
    """What is free on the device."""
    seconds_left: float | None
    """Seconds for the pending settings at the rate of the slowest finished one, without loading."""
    batch_size: str = "1"
    """Questions in a batch, or ``auto``."""
    changed: tuple[str, ...] = ()
    """Options that changed since the results in the folder; the sweep would be refused."""
    timing: TimingOptions = field(default_factory=TimingOptions)
    """Options of the timed pass, whose time is not part of ``seconds_left``."""
    over_engines: bool = False
    """Whether the timed pass needs a separate engine for each k."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


def estimate(
    plan: SweepPlan,
    options: EngineOptions,
    n_questions: Mapping[str, int],
    folder: Path,
    settings: Mapping[str, Any],
    timing: TimingOptions,
) -> Estimate:
    """Estimate from the plan, the finished points of a folder, and this machine; read-only."""
    from moe_eval_plugin.engines.checks.memory import bytes_needed
    from moe_eval_plugin.hardware.memory import free_memory
    from moe_eval_plugin.models.weights.size import weight_size

    manifest = load_manifest(folder)
    changed = changes(manifest, plan, settings) if manifest and manifest.has_done else []
    if changed:
        manifest = None
    states = {point.name: "pending" for point in plan.points}
    for name, entry in (manifest.entries if manifest else {}).items():
        if name in states and entry.state == "done":
            states[name] = "done"
    size = weight_size(options.pretrained, options.revision)
    memory = free_memory(_device(plan), options.device_map)
    return Estimate(
        states=states,
        model_args={point.name: point.model_args for point in plan.points},
        n_questions=n_questions,
        memory_bytes=None if size is None else bytes_needed(size),
        free_bytes=memory.free_bytes if memory else None,
        seconds_left=_seconds_left(states, manifest),
        batch_size=plan.batch_size,
        changed=tuple(changed),
        timing=timing,
        over_engines=plan.model.startswith("moe_vllm")
        and (timing.rounds is not None or not changes_k_live(plan.model_args, plan.host)),
    )


def render_estimate(found: Estimate) -> str:
    """Return an estimate as text for a terminal."""
    width = max(map(len, found.states))
    points = [
        line
        for name, arguments in found.model_args.items()
        for line in wrap(
            arguments,
            first=f"  {name.ljust(width)}  {found.states[name].ljust(7)}  ",
            rest=" " * (width + len("    pending  ")),
        )
    ]
    questions = ", ".join(f"{n:,} of {task}" for task, n in found.n_questions.items())
    total = sum(found.n_questions.values()) * sum(s != "done" for s in found.states.values())
    memory = _size_text(found.memory_bytes)
    free = _size_text(found.free_bytes)
    lines = [
        f"{len(found.states)} settings, the published k first:",
        *points,
        *wrap(f"questions in each setting: {questions}; {total:,} answers to go", rest="  "),
        f"batch size: {found.batch_size}",
        f"memory: {memory} (weights plus 10%); {free} free",
        *wrap(f"time: {_time_text(found.seconds_left)}", rest="  "),
        *wrap(f"timed pass: {_timing_text(found)}", rest="  "),
    ]
    if found.changed:
        lines.append("refused without --restart, because settings changed:")
        lines += [line for one in found.changed for line in wrap(one, first="  ", rest="    ")]
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
            f"{UNKNOWN} until the first setting is done. For a quick estimate: add --limit 32 "
            "--output runs/try"
        )
    return f"about {seconds / MINUTE:.1f} min, at the rate of the slowest setting so far"


def _timing_text(found: Estimate) -> str:
    timing = found.timing
    if timing.is_off:
        return "none, because of --speed-budget 0"
    if found.over_engines:
        usual = "3, or 1 where an engine takes a minute to start"
        return f"rounds with an engine for each setting: {timing.rounds or usual}"
    until = f"until each speed-up is known to {timing.precision:.1%}"
    if timing.budget_s is not None:
        return f"{until}, for {timing.budget_s:,.0f} s at most"
    return f"{until}, or for the time of 1,000 answers at each setting"


def _size_text(n_bytes: int | None) -> str:
    from moe_eval_plugin.text import GIB, MIB, gib_text

    if n_bytes is None:
        return UNKNOWN
    return gib_text(n_bytes) if n_bytes >= GIB else f"{n_bytes / MIB:,.0f} MiB"


def _device(plan: SweepPlan) -> str:
    """Return the device of a plan; torch is imported only where this machine may have a GPU."""
    if plan.device is not None or not any(path.exists() for path in GPU_FILES):
        return plan.device or "cpu"
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"
