"""Measurements of one setting of a bench: verified k, counted experts, timed generations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.measure.timing import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.bench.plan import BenchSetting
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.hardware_use import PeakMemory
    from moe_eval_plugin.measure.timing import PhaseTimes


@dataclass(frozen=True)
class Observed:
    """Counts of the pass with hooks in one setting, made before anything is timed."""

    verified: VerifiedOverride
    """The k that tokens used, compared with the k that was requested."""
    decode_distinct_experts: tuple[float, ...] = ()
    """Experts that one decode step touched in each routed layer, on average; empty if unseen."""
    prefill_distinct_experts: tuple[float, ...] = ()
    """Experts that prefill touched in each routed layer, on average; empty if unseen."""
    load_entropy: float | None = None
    """Evenness of the experts' load, averaged over layers: 1 if all get the same."""
    expert_layer_s: float | None = None
    """Seconds of the routed experts of one layer in one decode step, from a pass of its own."""


@dataclass(frozen=True)
class Repetition:
    """One generation of a whole batch, timed; what an engine does not report is ``None``.

    Raises ``MeasurementError`` if the device was busy for longer than the clock ran.
    """

    batch_size: int
    """Sequences in the batch."""
    n_input_tokens: int
    """Tokens of the prompts of all sequences, image tokens included."""
    new_tokens: int
    """Tokens generated for each sequence."""
    ttft_s: float
    """Seconds from the call to the first token of every sequence."""
    e2e_latency_s: float
    """Seconds from the call to the last token."""
    phases: PhaseTimes | None = None
    """Seconds of vision encoding, prefill and decode."""
    joules: float | None = None
    """Energy of the whole generation."""
    peak_memory: PeakMemory | None = None
    """The most memory that was held during the generation."""
    request_times: Mapping[str, Any] | None = None
    """Seconds of single requests by part, each with ``median``, ``p95`` and ``n``."""

    def __post_init__(self) -> None:
        busy_s = self.phases.busy_s if self.phases else self.ttft_s
        if max(busy_s, self.ttft_s) > self.e2e_latency_s * (1 + TOLERANCE):
            message = (
                f"A batch of {self.batch_size} kept the device busy for {busy_s:.6f} s, with its "
                f"first token after {self.ttft_s:.6f} s, within {self.e2e_latency_s:.6f} s of wall "
                "time: the clock was read before the work had finished, so this run has no times. "
                "Report it, with the device and the versions."
            )
            raise MeasurementError(message)

    @property
    def tpot_s(self) -> float:
        """Seconds for each output token after the first, the work of the host included."""
        return (self.e2e_latency_s - self.ttft_s) / (self.new_tokens - 1)

    @property
    def prefill_s(self) -> float:
        """Seconds of the forward pass over the prompts, without encoding images where known."""
        return self.phases.prefill_s if self.phases else self.ttft_s

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Tokens of all prompts per second of prefill."""
        return _rate(self.n_input_tokens, self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens of all sequences after the first, per second of decode."""
        return _rate(self.batch_size, self.tpot_s)

    @property
    def output_tokens_per_s(self) -> float | None:
        """All new tokens per second of the whole generation."""
        return _rate(self.batch_size * self.new_tokens, self.e2e_latency_s)

    @property
    def joules_per_output_token(self) -> float | None:
        """Energy of the whole generation, prefill included, for each new token."""
        return None if self.joules is None else self.joules / (self.batch_size * self.new_tokens)

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most that was allocated on the GPUs, or held in RAM by the process without one."""
        return None if self.peak_memory is None else self.peak_memory.used_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return what was measured as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class MeasuredPoint:
    """What was observed and timed in one setting; repetitions of equal rank are of one round."""

    setting: BenchSetting
    observed: Observed
    repetitions: tuple[Repetition, ...]


@dataclass(frozen=True)
class Measured:
    """All settings that fitted into memory, and notes on series that ended before the plan did."""

    points: tuple[MeasuredPoint, ...]
    notes: tuple[str, ...]


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None
