"""From repetitions to medians: how fast each point was, and how much faster than the reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class SpeedSummary:
    """How fast one point was over its repetitions; ``None`` for what was not measured.

    Times are in seconds and rates are over the whole batch. ``peak_memory_bytes`` is the largest
    peak of any repetition.
    """

    n_repetitions: int
    ttft_s: Spread | None
    tpot_s: Spread | None
    e2e_latency_s: Spread | None
    prefill_tokens_per_s: Spread | None
    decode_tokens_per_s: Spread | None
    output_tokens_per_s: Spread | None
    joules_per_output_token: Spread | None
    peak_memory_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Give the summary as plain data, ready for JSON."""
        return asdict(self)


def summarise(repetitions: Sequence[Repetition]) -> SpeedSummary:
    """Take the median and the spread of each quantity over the repetitions of a point."""
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
    """Compare a point with the reference, round by round: the reference's seconds by its own.

    The two of one round were timed within moments of each other, so whatever slowed the machine
    for longer than that slowed both. ``None`` without a reference of as many rounds.
    """
    if len(reference) != len(repetitions):
        return None
    pairs = zip(reference, repetitions, strict=True)
    times = [(seconds(base), seconds(own)) for base, own in pairs]
    return Spread.of(base / own if own > 0 else None for base, own in times)
