"""Messages to a process with a vLLM engine: how to start, and what to time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.option_values import argument_parts, read_bool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint

# Requests that an engine answers, at least, before its first time is taken.
N_WARM_UP = 16
ALONE = "share_images=no"
# Arguments that could share work between requests.
CACHES = ("share_images", "enable_prefix_caching", "mm_processor_cache_gb")


def changes_k_live(model_args: str) -> bool:
    """Whether one engine can time all k: with ``enforce_eager`` nothing is compiled for a k."""
    given = dict(part.partition("=")[::2] for part in argument_parts(model_args))
    return read_bool("enforce_eager", given.get("enforce_eager", "false"))


@dataclass(frozen=True)
class EngineStart:
    """How an engine is started; the fields are plain data."""

    model_args: str
    """Arguments of ``moe_vllm``, with k."""
    of_the_host: Mapping[str, Any]
    """Options of lmms-eval that are the model's: batch size and device."""
    tasks: Sequence[str]
    """Names of the tasks whose questions are timed."""
    include_path: str | None
    """A folder with more tasks."""
    gen_kwargs: str | None
    """Generation arguments of the answering pass."""

    @classmethod
    def of(cls, plan: SweepPlan, point: SweepPoint) -> EngineStart:
        """Return how the engine of a point starts: as in the answering pass, without caches."""
        parts = [part for part in argument_parts(plan.model_args) if part]
        kept = [part for part in parts if part.partition("=")[0].strip() not in CACHES]
        return cls(
            model_args=",".join([*kept, point.model_args, ALONE]),
            of_the_host={"batch_size": plan.batch_size, "device": plan.device},
            tasks=plan.tasks,
            include_path=plan.include_path,
            gen_kwargs=plan.gen_kwargs,
        )


@dataclass(frozen=True)
class TimingOrder:
    """Questions to time at one k; the fields are plain data."""

    task: str
    """Name of the task."""
    positions: Sequence[int]
    """Positions of the questions in the data of the task."""
    batch_size: int
    """Requests that vLLM has at once, at most."""
    experts_k: str
    """The schedule of k as text; without ``enforce_eager`` it is that of the engine."""
    n_warm_up: int = 0
    """Requests to answer before the clock runs."""
