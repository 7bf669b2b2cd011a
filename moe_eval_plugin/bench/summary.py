"""Summarise repetitions: median speed of each setting, and its speed-up over the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.results.steady_decode import SpeedSummary
from moe_eval_plugin.stats.speed import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.bench.measurement import Repetition

METRICS: dict[str, Callable[[Repetition], float | None]] = {
    "ttft_s": lambda repetition: repetition.ttft_s,
    "tpot_s": lambda repetition: repetition.tpot_s,
    "e2e_latency_s": lambda repetition: repetition.e2e_latency_s,
    "prefill_tokens_per_s": lambda repetition: repetition.prefill_tokens_per_s,
    "decode_tokens_per_s": lambda repetition: repetition.decode_tokens_per_s,
    "output_tokens_per_s": lambda repetition: repetition.output_tokens_per_s,
    "joules_per_output_token": lambda repetition: repetition.joules_per_output_token,
}


def summarise(repetitions: Sequence[Repetition]) -> SpeedSummary:
    """Return the median and the spread of each quantity over the repetitions of a setting."""
    peaks = [r.peak_memory_bytes for r in repetitions if r.peak_memory_bytes is not None]
    return SpeedSummary(
        n_repetitions=len(repetitions),
        peak_memory_bytes=max(peaks, default=None),
        **{name: Spread.of(map(metric, repetitions)) for name, metric in METRICS.items()},
    )


def speed_up(
    repetitions: Sequence[Repetition],
    reference: Sequence[Repetition],
    seconds: Callable[[Repetition], float],
) -> Spread | None:
    """Return the speed-up over the reference: its seconds by one's own, paired by rounds.

    The two of one round were timed within moments of each other, so whatever slowed the machine
    for longer slowed both. Returns ``None`` without a reference of as many rounds.
    """
    if len(reference) != len(repetitions):
        return None
    pairs = zip(reference, repetitions, strict=True)
    times = [(seconds(base), seconds(own)) for base, own in pairs]
    return Spread.of(base / own if own > 0 else None for base, own in times)
