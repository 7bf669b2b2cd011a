"""Values of a record that a report shows, by the names of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.measure.speed import PhaseTotals, TaskSpeed
    from moe_eval_plugin.report.series import FinishedTask
    from moe_eval_plugin.results.record import RunRecord

    Read = Callable[[FinishedTask], float | None]


def samples_per_s(run: FinishedTask) -> float | None:
    """Return the questions per second; ``None`` where they were not measured."""
    return run.record.speed.samples_per_s if run.record else None


def _record(read: Callable[[RunRecord], float | None]) -> Read:
    return lambda run: read(run.record) if run.record else None


def _speed(read: Callable[[TaskSpeed], float | None]) -> Read:
    return _record(lambda record: read(record.speed))


def _phase(read: Callable[[PhaseTotals], float | None]) -> Read:
    return _speed(lambda speed: read(speed.phases) if speed.phases else None)


def _peak_memory(record: RunRecord) -> float | None:
    peak = record.hardware.peak_memory
    return peak.used_bytes if peak else None


MEASURED: dict[str, Read] = {
    "observed_num_experts_per_tok": _record(lambda r: r.experts.observed if r.experts else None),
    "n_samples": _speed(lambda speed: speed.n_samples),
    "wall_s": _speed(lambda speed: speed.wall_s),
    "output_tokens_per_s": _speed(lambda speed: speed.output_tokens_per_s),
    "total_tokens_per_s": _speed(lambda speed: speed.total_tokens_per_s),
    "prefill_tokens_per_s": _speed(lambda speed: speed.prefill_tokens_per_s),
    "decode_tokens_per_s": _speed(lambda speed: speed.decode_tokens_per_s),
    "steady_decode_tokens_per_s": _record(lambda record: record.steady_decode_tokens_per_s),
    "ttft_s": _speed(lambda speed: speed.ttft_s.median if speed.ttft_s else None),
    "ttft_s_p95": _speed(lambda speed: speed.ttft_s.p95 if speed.ttft_s else None),
    "e2e_latency_s": _speed(lambda s: s.e2e_latency_s.median if s.e2e_latency_s else None),
    "e2e_latency_s_p95": _speed(lambda s: s.e2e_latency_s.p95 if s.e2e_latency_s else None),
    "output_tokens_per_sample": _speed(lambda speed: speed.mean_output_tokens),
    "joules_per_sample": _record(lambda record: record.joules_per_sample),
    "peak_memory_bytes": _record(_peak_memory),
    "vision_s": _phase(lambda phases: phases.vision_s),
    "prefill_s": _phase(lambda phases: phases.prefill_s),
    "decode_s": _phase(lambda phases: phases.decode_s),
    "host_gap_s": _phase(lambda phases: phases.host_gap_s),
}
