"""What a record says of speed, memory and energy, as numbers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.report.series import FinishedTask


def number(run: FinishedTask, *path: str) -> float | None:
    """Return a number of the record by the names that lead to it."""
    found: Any = run.record
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _of(*path: str) -> Callable[[FinishedTask], float | None]:
    return lambda run: number(run, *path)


def _peak_memory(run: FinishedTask) -> float | None:
    """Return the memory in tensors on the GPUs, or that of the process where none is used."""
    allocated = number(run, "hardware", "peak_memory", "allocated_bytes")
    process = number(run, "hardware", "peak_memory", "process_bytes")
    return process if allocated is None else allocated


def _steady_decode(run: FinishedTask) -> float | None:
    score = run.task.score("steady_decode_tokens_per_s")
    return score.value if score else None


def _mean_output_tokens(run: FinishedTask) -> float | None:
    tokens, n = number(run, "speed", "n_output_tokens"), number(run, "speed", "n_samples")
    return tokens / n if tokens and n else None


MEASURED: dict[str, Callable[[FinishedTask], float | None]] = {
    "observed_num_experts_per_tok": _of("experts", "observed"),
    "wall_s": _of("speed", "wall_s"),
    "output_tokens_per_s": _of("speed", "output_tokens_per_s"),
    "total_tokens_per_s": _of("speed", "total_tokens_per_s"),
    "prefill_tokens_per_s": _of("speed", "prefill_tokens_per_s"),
    "decode_tokens_per_s": _of("speed", "decode_tokens_per_s"),
    "steady_decode_tokens_per_s": _steady_decode,
    "ttft_s": _of("speed", "ttft_s", "median"),
    "ttft_s_p95": _of("speed", "ttft_s", "p95"),
    "e2e_latency_s": _of("speed", "e2e_latency_s", "median"),
    "e2e_latency_s_p95": _of("speed", "e2e_latency_s", "p95"),
    "output_tokens_per_sample": _mean_output_tokens,
    "joules_per_sample": _of("hardware", "joules_per_sample"),
    "peak_memory_bytes": _peak_memory,
    "vision_s": _of("speed", "phases", "vision_s"),
    "prefill_s": _of("speed", "phases", "prefill_s"),
    "decode_s": _of("speed", "phases", "decode_s"),
    "host_gap_s": _of("speed", "phases", "host_gap_s"),
    "n_samples": _of("speed", "n_samples"),
}
