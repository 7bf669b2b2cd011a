"""What a bench found, as one record: settings, machine, versions, medians and every repetition."""

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
from moe_eval_plugin.bench.summary import SpeedSummary, Spread, speed_up, summarise
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.bench.plan import BenchPlan, Repetition
    from moe_eval_plugin.bench.runner import Measured, MeasuredPoint

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class BenchPoint:
    """One k at one batch size.

    ``num_experts_per_tok`` is the k that was asked for, ``None`` for a model as it was;
    ``observed_num_experts_per_tok`` the one that tokens used. Speed-ups are against the reference
    k at the same batch size, pairwise by rounds. Distinct experts are those of one forward pass,
    averaged over layers. ``prefill`` and ``decode`` are ``None`` where the sizes of the model are
    not known.
    """

    num_experts_per_tok: int | None
    observed_num_experts_per_tok: float | None
    batch_size: int
    speed: SpeedSummary
    prefill_speedup: Spread | None
    decode_speedup: Spread | None
    prefill: PhaseEfficiency | None
    decode: PhaseEfficiency | None
    distinct_experts_per_prefill: float | None
    distinct_experts_per_decode_step: float | None
    distinct_experts_per_decode_step_by_layer: tuple[float, ...]
    expert_layer_s: float | None
    load_entropy: float | None
    repetitions: tuple[Repetition, ...]


@dataclass(frozen=True)
class BenchReport:
    """A whole bench.

    ``model`` and ``device`` are facts as plain data. ``reference_num_experts_per_tok`` is the k
    that gains are measured against: the published one, or the largest that was measured; ``None``
    where only one k was. ``decode_step_fit`` and ``expert_layer_fit`` are lines through the times
    of a decode step, and of the routed experts of one layer in it, over distinct experts.
    ``reasons`` tell why something is not known.
    """

    model: Mapping[str, Any]
    device: Mapping[str, Any]
    energy: Mapping[str, Any]
    plan: BenchPlan
    reference_num_experts_per_tok: int | None
    points: tuple[BenchPoint, ...]
    decode_step_fit: LatencyFit | None
    expert_layer_fit: LatencyFit | None
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    versions: Mapping[str, str | None] = field(default_factory=installed_versions)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain data, ready for JSON."""
        return {"schema_version": SCHEMA_VERSION, "kind": "bench", **asdict(self)}

    def save(self, path: Path) -> None:
        """Write the report as JSON: whole, or not at all. Raises ``DataError``."""
        text = json.dumps(self.to_dict(), indent=1)
        try:
            write_whole(path, f"{text}\n")
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}. Name another file as output."
            raise DataError(message) from error


def reference_k(plan: BenchPlan, baseline: int | None) -> int | None:
    """Choose the k that gains are measured against; ``None`` where there is nothing to compare."""
    ks = [k for k in plan.experts_k if k is not None]
    if len(ks) <= 1:
        return None
    return baseline if baseline in ks else max(ks)


def make_points(
    measured: Measured, plan: BenchPlan, reference: int | None, judge: EfficiencyModel | None
) -> tuple[BenchPoint, ...]:
    """Summarise and judge each point; without a ``judge`` only times are compared."""
    bases = {
        found.point.batch_size: found
        for found in measured.points
        if reference is not None and found.point.experts_k == reference
    }
    return tuple(
        _bench_point(found, bases.get(found.point.batch_size), plan, judge)
        for found in measured.points
    )


def fit_over_experts(
    points: Iterable[BenchPoint], seconds: Callable[[BenchPoint], float | None]
) -> LatencyFit | None:
    """Fit a time over the distinct experts of a decode step, over all points that have both."""
    pairs = ((point.distinct_experts_per_decode_step, seconds(point)) for point in points)
    return fit_latency((x, y) for x, y in pairs if x is not None and y is not None)


def _bench_point(
    found: MeasuredPoint, base: MeasuredPoint | None, plan: BenchPlan, judge: EfficiencyModel | None
) -> BenchPoint:
    own, others = found.repetitions, base.repetitions if base else ()
    prefill_gain = speed_up(own, others, lambda r: r.prefill_s) if base else None
    decode_gain = speed_up(own, others, lambda r: r.tpot_s) if base else None
    seen = found.observed
    return BenchPoint(
        num_experts_per_tok=found.point.experts_k,
        observed_num_experts_per_tok=seen.verified.observed,
        batch_size=found.point.batch_size,
        speed=summarise(own),
        prefill_speedup=prefill_gain,
        decode_speedup=decode_gain,
        prefill=_judged(judge.prefill if judge else None, found, base, prefill_gain, _prefill_step),
        decode=_judged(
            judge.decode if judge else None,
            found,
            base,
            decode_gain,
            lambda point: _decode_step(point, plan.new_tokens),
        ),
        distinct_experts_per_prefill=_mean(seen.prefill_distinct_experts),
        distinct_experts_per_decode_step=_mean(seen.decode_distinct_experts),
        distinct_experts_per_decode_step_by_layer=seen.decode_distinct_experts,
        expert_layer_s=seen.expert_layer_s,
        load_entropy=seen.load_entropy,
        repetitions=own,
    )


def _judged(
    judge: Callable[[Step, Step | None, float | None], PhaseEfficiency] | None,
    found: MeasuredPoint,
    base: MeasuredPoint | None,
    gain: Spread | None,
    step_of: Callable[[MeasuredPoint], Step | None],
) -> PhaseEfficiency | None:
    step = step_of(found)
    if judge is None or step is None:
        return None
    return judge(step, step_of(base) if base else None, gain.median if gain else None)


def _prefill_step(found: MeasuredPoint) -> Step | None:
    k, first = _cost_k(found), found.repetitions[0]
    if k is None:
        return None
    return Step(
        experts_k=k,
        batch_size=first.batch_size,
        context_length=first.n_input_tokens // first.batch_size,
        seconds=median(r.prefill_s for r in found.repetitions),
        distinct_experts=found.observed.prefill_distinct_experts,
    )


def _decode_step(found: MeasuredPoint, new_tokens: int) -> Step | None:
    k, first = _cost_k(found), found.repetitions[0]
    if k is None:
        return None
    prompt = first.n_input_tokens // first.batch_size
    return Step(
        experts_k=k,
        batch_size=first.batch_size,
        # The tokens that are decoded stand at the positions prompt + 1 to prompt + new - 1.
        context_length=prompt + new_tokens // 2,
        seconds=median(r.tpot_s for r in found.repetitions),
        distinct_experts=found.observed.decode_distinct_experts,
    )


def _cost_k(found: MeasuredPoint) -> int | None:
    """Give the one k of all tokens that were observed; ``None`` where they differ."""
    observed = found.observed.verified.observed
    return int(observed) if observed is not None and observed == int(observed) else None


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
