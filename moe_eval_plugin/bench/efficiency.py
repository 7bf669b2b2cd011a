"""Compare measured speed with the hardware's peaks, and speed-ups with their ceilings.

Plain arithmetic over measured times, counted experts and the sizes of a model. S-MBU and S-MFU
are those of MoE-CAP (arXiv 2412.07067), in which only activated experts count:

- S-MBU = (bytes of all weights but those of experts that the batch did not touch, and of the
  cache) / (seconds of a step) / (memory bandwidth). The touched experts are those counted.
- S-MFU = (tokens per second) * (FLOPs of a token at its k experts) / (peak FLOP per second).

Prefill and decode are separate. The output head is counted in both, vision encoding in neither.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import correlation, linear_regression
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost

LEAST_POINTS = 3


@dataclass(frozen=True)
class Hardware:
    """The peak rates of a device at the data type of a model; ``None`` where not known."""

    memory_bandwidth_bytes_per_s: float | None = None
    peak_flops_per_s: float | None = None


@dataclass(frozen=True)
class Step:
    """One forward pass: over all prompts (prefill), or one new token of each sequence (decode)."""

    experts_k: int
    """Experts that each token used."""
    batch_size: int
    """Sequences in the batch."""
    context_length: int
    """Tokens of a prompt, or the mean position of the decoded tokens."""
    seconds: float
    """Measured time of the pass."""
    distinct_experts: tuple[float, ...] = ()
    """Experts that the pass touched in each routed layer; empty where they were not seen."""


@dataclass(frozen=True)
class PhaseEfficiency:
    """The efficiency of one phase in one setting; ``None`` where it is not known."""

    flops: float | None = None
    """FLOPs of one step."""
    bytes_read: float | None = None
    """Bytes of weights and cache that one step reads, without the weights of untouched experts."""
    s_mfu: float | None = None
    """Sparse model FLOPs utilisation: ``flops`` / seconds / peak FLOP/s of the device at this data
    type."""
    s_mbu: float | None = None
    """Sparse model bandwidth utilisation: ``bytes_read`` / seconds / memory bandwidth."""
    speedup_ceiling: float | None = None
    """Amdahl's bound on the speed-up, with the experts that the batch touched at the reference k;
    ``None`` above that k."""
    predicted_speedup: float | None = None
    """Prefill: FLOPs at the reference k divided by FLOPs at this k. Decode: the same ratio of bytes
    read, with the experts counted at each k."""
    gain_efficiency: float | None = None
    """Measured speed-up divided by ``speedup_ceiling``."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LatencyFit:
    """A straight line through measured latencies over the distinct experts of a layer.

    Slope in seconds per expert, intercept in seconds; ``r_squared`` is the explained share of the
    variance.
    """

    slope_s_per_expert: float
    intercept_s: float
    r_squared: float
    n_points: int

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EfficiencyModel:
    """Compares measured steps with the sizes of a model and the peak rates of a device.

    ``bytes_per_number`` is that of weights and cache; ``None`` where it is not known.
    """

    cost: LanguageModelCost
    hardware: Hardware
    bytes_per_number: int | None

    def prefill(self, step: Step, reference: Step | None, speedup: float | None) -> PhaseEfficiency:
        """Return the efficiency of prefill; ``speedup`` is measured against the reference."""
        n = step.context_length
        per_token = self.cost.prefill_flops(step.experts_k, n).total
        gains = PhaseEfficiency()
        if reference is not None:
            base = self.cost.prefill_flops(reference.experts_k, n).total
            ceiling = None
            if step.experts_k <= reference.experts_k:
                ceiling = self.cost.prefill_ceiling(step.experts_k, reference.experts_k, n)
            gains = _gains(speedup, ceiling, base / per_token)
        return self._with_use(gains, step, step.batch_size * n * per_token)

    def decode(self, step: Step, reference: Step | None, speedup: float | None) -> PhaseEfficiency:
        """Return the efficiency of a decode step; ``speedup`` is measured against the reference."""
        n, k = step.context_length, step.experts_k
        gains = PhaseEfficiency()
        if reference is not None:
            own, base = self._numbers_read(step), self._numbers_read(reference)
            ceiling = None
            if k <= reference.experts_k:
                ceiling = self.cost.decode_ceiling(
                    k, reference.experts_k, step.batch_size, n, self._distinct(reference)
                )
            gains = _gains(speedup, ceiling, base / own if own and base else None)
        flops = step.batch_size * self.cost.decode_flops(k, n).total
        return self._with_use(gains, step, flops)

    def _with_use(self, gains: PhaseEfficiency, step: Step, flops: float) -> PhaseEfficiency:
        numbers, width = self._numbers_read(step), self.bytes_per_number
        bytes_read = numbers * width if numbers is not None and width is not None else None
        return replace(
            gains,
            flops=flops,
            bytes_read=bytes_read,
            s_mfu=_share(flops, step.seconds, self.hardware.peak_flops_per_s),
            s_mbu=_share(bytes_read, step.seconds, self.hardware.memory_bandwidth_bytes_per_s),
        )

    def _numbers_read(self, step: Step) -> float | None:
        """Return how many numbers of touched weights and of the cache a pass reads."""
        distinct = self._distinct(step)
        if distinct is None:
            return None
        return self.cost.decode_numbers(step.batch_size, step.context_length, distinct)

    def _distinct(self, step: Step) -> tuple[float, ...] | None:
        """Return the counts if there is one for each routed layer, else ``None``."""
        is_whole = len(step.distinct_experts) == len(self.cost.routed_layers)
        return step.distinct_experts if is_whole else None


def fit_latency(points: Iterable[tuple[float, float]]) -> LatencyFit | None:
    """Fit a line by least squares through (distinct experts, seconds).

    Returns ``None`` for fewer than three points, or where one of the two does not vary.
    """
    found = list(points)
    experts, seconds = [x for x, _ in found], [y for _, y in found]
    if len(found) < LEAST_POINTS or len(set(experts)) == 1 or len(set(seconds)) == 1:
        return None
    slope, intercept = linear_regression(experts, seconds)
    return LatencyFit(slope, intercept, correlation(experts, seconds) ** 2, len(found))


def _gains(
    speedup: float | None, ceiling: float | None, predicted: float | None
) -> PhaseEfficiency:
    return PhaseEfficiency(
        speedup_ceiling=ceiling,
        predicted_speedup=predicted,
        gain_efficiency=speedup / ceiling if speedup is not None and ceiling else None,
    )


def _share(amount: float | None, seconds: float, rate: float | None) -> float | None:
    if amount is None or rate is None or seconds <= 0:
        return None
    return amount / seconds / rate
