"""The record of a bench: settings, machine, versions, medians and every repetition."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.efficiency import (
    EfficiencyModel,
    LatencyFit,
    PhaseEfficiency,
    Step,
    fit_latency,
)
from moe_eval_plugin.bench.summary import speed_up, summarise
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.bench.measurement import Measured, MeasuredPoint, Repetition
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.measure.speed import LatencyStart
    from moe_eval_plugin.results.steady_decode import SpeedSummary
    from moe_eval_plugin.stats.speed import Spread

SCHEMA_VERSION = 1
LATENCY_FROM: LatencyStart = "call"


@dataclass(frozen=True)
class BenchPoint:
    """One k at one batch size: speed, speed-up, efficiency and experts."""

    num_experts_per_tok: int | None
    """The requested k; ``None`` for a model as it is."""
    observed_num_experts_per_tok: float | None
    """The observed k; ``None`` for a dense model."""
    batch_size: int
    """Sequences in the batch."""
    speed: SpeedSummary
    """Times, rates, energy and memory, summarised over the rounds."""
    prefill_speedup: Spread | None
    """Speed-up of prefill over the reference k at this batch size, computed in each round."""
    decode_speedup: Spread | None
    """Speed-up of decode over the reference k at this batch size, computed in each round."""
    prefill: PhaseEfficiency | None
    """Efficiency of prefill; ``None`` if the sizes of the model are unknown."""
    decode: PhaseEfficiency | None
    """Efficiency of decode; ``None`` if the sizes of the model are unknown."""
    distinct_experts_per_prefill: float | None
    """Touched experts of a layer in prefill, averaged over layers."""
    distinct_experts_per_decode_step: float | None
    """Touched experts of a layer in one decode step, averaged over steps and layers."""
    distinct_experts_per_decode_step_by_layer: tuple[float, ...]
    """The same for each MoE layer; empty if the experts were not observed."""
    expert_layer_s: float | None
    """Time of one layer's routed experts in a decode step: median over steps, mean over layers."""
    load_entropy: float | None
    """How evenly tokens are spread over the experts: 1 is perfectly even."""
    repetitions: tuple[Repetition, ...]
    """Every timed generation, in the order of the rounds."""


@dataclass(frozen=True)
class BenchReport:
    """A whole bench."""

    model: Mapping[str, Any]
    """Name, ``backend`` (``hf`` or ``vllm``), ``weights`` (``trained`` or ``random``), type, sizes,
    published k and implementations; for random weights ``routing``, ``seed`` and
    ``config_changes``; for vLLM ``engine``."""
    device: Mapping[str, Any]
    """The hardware and its ceilings."""
    energy: Mapping[str, Any]
    """What measured the energy."""
    plan: BenchPlan
    """What was requested."""
    reference_num_experts_per_tok: int | None
    """The k that speed-ups compare with: the published k, or else the largest k; ``None`` with a
    single k."""
    points: tuple[BenchPoint, ...]
    """One entry per k and batch size that fits into memory."""
    decode_step_fit: LatencyFit | None
    """Straight line through ``tpot_s`` over touched experts of all points."""
    expert_layer_fit: LatencyFit | None
    """Straight line through ``expert_layer_s`` over touched experts of all points."""
    notes: tuple[str, ...] = ()
    """What to know about the numbers, for instance series that ended early."""
    reasons: tuple[str, ...] = ()
    """Why something is unknown."""
    versions: Mapping[str, str | None] = field(default_factory=installed_versions)
    """Package versions by name."""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When the report was made, in UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        # Latencies of a bench count from the call of the engine; those of a task from other starts.
        head = {"schema_version": SCHEMA_VERSION, "kind": "bench", "latency_from": LATENCY_FROM}
        return {**head, **asdict(self)}

    def save(self, path: Path) -> None:
        """Write the report as JSON: whole, or not at all. Raises ``DataError``."""
        text = json.dumps(self.to_dict(), indent=1)
        try:
            write_whole(path, f"{text}\n")
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}. Name another file as output."
            raise DataError(message) from error


def reference_k(plan: BenchPlan, baseline: int | None) -> int | None:
    """Return the k of the speed-ups: the published, else the largest; ``None`` for a single k."""
    ks = [k for k in plan.experts_k if k is not None]
    if len(ks) <= 1:
        return None
    return baseline if baseline in ks else max(ks)


def make_points(
    measured: Measured,
    plan: BenchPlan,
    reference: int | None,
    efficiency: EfficiencyModel | None,
) -> tuple[BenchPoint, ...]:
    """Summarise each setting; without an ``efficiency`` model only times are compared."""
    bases = {
        found.setting.batch_size: found
        for found in measured.points
        if reference is not None and found.setting.experts_k == reference
    }
    return tuple(
        _bench_point(found, bases.get(found.setting.batch_size), plan, efficiency)
        for found in measured.points
    )


def fit_over_experts(
    points: Iterable[BenchPoint], seconds: Callable[[BenchPoint], float | None]
) -> LatencyFit | None:
    """Fit a time over the distinct experts of a decode step, from all points that have both."""
    pairs = ((point.distinct_experts_per_decode_step, seconds(point)) for point in points)
    return fit_latency((x, y) for x, y in pairs if x is not None and y is not None)


def _bench_point(
    found: MeasuredPoint,
    base: MeasuredPoint | None,
    plan: BenchPlan,
    efficiency: EfficiencyModel | None,
) -> BenchPoint:
    own, others = found.repetitions, base.repetitions if base else ()
    prefill_gain = speed_up(own, others, lambda r: r.prefill_s) if base else None
    decode_gain = speed_up(own, others, lambda r: r.tpot_s) if base else None
    seen = found.observed
    prefill = decode = None
    if efficiency is not None:
        step, reference = _prefill_step(found), _prefill_step(base)
        prefill = _compare(efficiency.prefill, step, reference, prefill_gain)
        step, reference = _decode_step(found, plan.new_tokens), _decode_step(base, plan.new_tokens)
        decode = _compare(efficiency.decode, step, reference, decode_gain)
    return BenchPoint(
        num_experts_per_tok=found.setting.experts_k,
        observed_num_experts_per_tok=seen.verified.observed,
        batch_size=found.setting.batch_size,
        speed=summarise(own),
        prefill_speedup=prefill_gain,
        decode_speedup=decode_gain,
        prefill=prefill,
        decode=decode,
        distinct_experts_per_prefill=_mean(seen.prefill_distinct_experts),
        distinct_experts_per_decode_step=_mean(seen.decode_distinct_experts),
        distinct_experts_per_decode_step_by_layer=seen.decode_distinct_experts,
        expert_layer_s=seen.expert_layer_s,
        load_entropy=seen.load_entropy,
        repetitions=own,
    )


def _compare(
    efficiency_of: Callable[[Step, Step | None, float | None], PhaseEfficiency],
    step: Step | None,
    reference: Step | None,
    gain: Spread | None,
) -> PhaseEfficiency | None:
    if step is None:
        return None
    return efficiency_of(step, reference, gain.median if gain else None)


def _prefill_step(found: MeasuredPoint | None) -> Step | None:
    k = _observed_k(found)
    if found is None or k is None:
        return None
    first = found.repetitions[0]
    return Step(
        experts_k=k,
        batch_size=first.batch_size,
        context_length=first.n_input_tokens // first.batch_size,
        seconds=median(r.prefill_s for r in found.repetitions),
        distinct_experts=found.observed.prefill_distinct_experts,
    )


def _decode_step(found: MeasuredPoint | None, new_tokens: int) -> Step | None:
    k = _observed_k(found)
    if found is None or k is None:
        return None
    first = found.repetitions[0]
    prompt = first.n_input_tokens // first.batch_size
    return Step(
        experts_k=k,
        batch_size=first.batch_size,
        # Decoded tokens have the positions prompt + 1 to prompt + new - 1.
        context_length=prompt + new_tokens // 2,
        seconds=median(r.tpot_s for r in found.repetitions),
        distinct_experts=found.observed.decode_distinct_experts,
    )


def _observed_k(found: MeasuredPoint | None) -> int | None:
    """Return the one k that all tokens used; ``None`` where they differ."""
    observed = found.observed.verified.observed if found else None
    return int(observed) if observed is not None and observed == int(observed) else None


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
