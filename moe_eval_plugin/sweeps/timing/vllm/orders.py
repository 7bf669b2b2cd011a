"""Messages to a process with a vLLM engine: how to start, and what to time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.option_values import argument_parts, read_bool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint

# Requests that an engine answers, at least, before its first time is taken.
N_WARM_UP = 16
# By host, arguments with which no request gets anything from another one.
ALONE = {LMMS_EVAL: "share_images=no", LM_EVAL: "enable_prefix_caching=False"}
# Arguments that could share work between requests.
CACHES = ("share_images", "enable_prefix_caching", "mm_processor_cache_gb")


def changes_k_live(model_args: str, host: str = LMMS_EVAL) -> bool:
    """Whether one engine can time all k: with ``enforce_eager`` nothing is compiled for a k.

    The models of lm-eval keep their k.
    """
    if host == LM_EVAL:
        return False
    given = dict(part.partition("=")[::2] for part in argument_parts(model_args))
    return read_bool("enforce_eager", given.get("enforce_eager", "false"))


@dataclass(frozen=True)
class EngineStart:
    """How an engine is started; the fields are plain data."""

    host: str
    """The harness whose questions are timed."""
    run: Mapping[str, Any]
    """The fields of the ``HostRun`` that the engine serves: the answering pass, without caches."""

    @classmethod
    def of(cls, plan: SweepPlan, point: SweepPoint) -> EngineStart:
        """Return how the engine of a point starts: as in the answering pass, without caches."""
        parts = [part for part in argument_parts(plan.model_args) if part]
        kept = [part for part in parts if part.partition("=")[0].strip() not in CACHES]
        given = replace(plan, model_args=",".join(kept)).run(point)
        # The seed is an argument of our models in lmms-eval.
        seed = f"seed={given.seed}" if plan.host == LMMS_EVAL and given.seed is not None else ""
        texts = (given.model_args, seed, ALONE[plan.host])
        return cls(
            host=plan.host,
            run=asdict(replace(given, model_args=",".join(text for text in texts if text))),
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
