"""Measure the steady decode speed of a loaded model, for ``profile=full``."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.engines.transformers import TransformersEngine
from moe_eval_plugin.bench.plan import LEAST_REPEATS, BenchPlan
from moe_eval_plugin.bench.runner import measure
from moe_eval_plugin.bench.summary import summarise
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.results.steady_decode import SteadyDecode, SteadyPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.bench.measurement import MeasuredPoint
    from moe_eval_plugin.bench.runner import Progress

# Larger ones are left to `moe-eval bench`: this run is part of an evaluation, and must be short.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
TOKENS = 128


def steady_decode(
    model: Any,  # noqa: ANN401  (one of many model classes)
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    prompt_tokens: int = TOKENS,
    new_tokens: int = TOKENS,
    repeats: int = LEAST_REPEATS,
    seed: int = 0,
    progress: Progress = lambda _text: None,
) -> SteadyDecode:
    """Time steady decode of a loaded transformers model at the k that it has now.

    Batch sizes grow until one does not fit into memory. Prompts are random tokens without images.
    The k of the model is not changed, so verify it before.
    """
    plan = BenchPlan((None,), tuple(batch_sizes), prompt_tokens, new_tokens, repeats, seed=seed)
    engine = TransformersEngine(model, BenchInputs.for_model(model, seed=seed))
    measured = measure(engine, plan, progress)
    return SteadyDecode(tuple(map(_steady_point, measured.points)), measured.notes)


def _steady_point(found: MeasuredPoint) -> SteadyPoint:
    distinct = found.observed.decode_distinct_experts
    return SteadyPoint(
        batch_size=found.setting.batch_size,
        observed_num_experts_per_tok=found.observed.verified.observed,
        distinct_experts_per_decode_step=fmean(distinct) if distinct else None,
        speed=summarise(found.repetitions),
    )
