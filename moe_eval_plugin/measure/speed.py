"""Summarise the batches of all ranks as one record of speed per task.

"Not measured" is ``None``, never 0. Seconds everywhere; rates are counts of all ranks by the
seconds of the slowest one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.json_object import JsonObject
    from moe_eval_plugin.measure.timing import BatchTiming

LatencyStart: TypeAlias = Literal["preprocessing", "queue", "call"]

HOST_BOUND_SHARE = 0.2
PERCENTILE = 95


@dataclass(frozen=True)
class Distribution:
    """Median and 95th percentile of a quantity over the samples of a task."""

    median: float
    p95: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        """Summarise values; ``None`` for none. Percentiles interpolate between two values."""
        if not values:
            return None
        if len(values) == 1:
            return cls(values[0], values[0], 1)
        p95 = quantiles(values, n=100, method="inclusive")[PERCENTILE - 1]
        return cls(median(values), p95, len(values))

    @classmethod
    def from_dict(cls, values: JsonObject) -> Distribution:
        """Build the distribution from its stored fields; ``DataError`` for a wrong type."""
        return cls(
            values.need_number("median"), values.need_number("p95"), values.need_integer("n")
        )


@dataclass(frozen=True)
class PhaseTotals:
    """Seconds of one rank's batches by phase; phases and gap add up to the wall time."""

    vision_s: float | None
    """Time for encoding images; ``None`` without a known image tower: then part of prefill."""
    prefill_s: float
    """Time of the forward passes up to the first token."""
    decode_s: float
    """Time of the forward passes after the first token."""
    host_gap_s: float
    """Time in which the device waited for the host: reading images, preprocessing, Python."""
    wall_s: float
    """Wall time of all batches: the sum of the four phases."""

    @property
    def host_bound(self) -> bool:
        """Whether the device waited for the host in more than a fifth of the time."""
        return self.host_gap_s > HOST_BOUND_SHARE * self.wall_s

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return {**asdict(self), "host_bound": self.host_bound}

    @classmethod
    def from_dict(cls, values: JsonObject) -> PhaseTotals:
        """Build the totals from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        return cls(
            vision_s=values.number("vision_s"),
            prefill_s=values.need_number("prefill_s"),
            decode_s=values.need_number("decode_s"),
            host_gap_s=values.need_number("host_gap_s"),
            wall_s=values.need_number("wall_s"),
        )


@dataclass(frozen=True)
class TaskSpeed:
    """The work and the time that one task took, over all ranks; ``None`` is "not measured"."""

    n_samples: int
    """Questions answered and timed, of all processes; one of several requests counts once."""
    n_input_tokens: int | None
    """Tokens of all prompts, image tokens included."""
    n_output_tokens: int | None
    """Tokens of all answers, the token that ends each answer included."""
    wall_s: float
    """Wall time of the slowest process."""
    phases: PhaseTotals | None = None
    """Time of the slowest process by phase; ``None`` if phases were not measured."""
    ttft_s: Distribution | None = None
    """Distribution of the time to the first token of a question's batch or request."""
    e2e_latency_s: Distribution | None = None
    """Distribution of the time to the end of a question's batch or request."""
    output_tokens_per_sample: Distribution | None = None
    """Distribution of the tokens of an answer."""
    n_decoded_tokens: int | None = None
    """Tokens of all answers, without the first token of each."""
    latency_from: LatencyStart | None = None
    """Where ``ttft_s`` and ``e2e_latency_s`` start: ``preprocessing`` of the question, its arrival
    in vLLM's ``queue``, or the ``call`` of the engine in the bench; ``None`` without latencies."""
    is_shared: bool = False
    """Whether images, or the beginning of prompts, were computed once for several questions or
    settings; stored only if so. Then ``prefill_tokens_per_s`` and the latencies are ``None``."""

    @property
    def latencies(self) -> dict[str, Distribution | None]:
        """Map names that say where a latency starts to the two latencies.

        Preprocessing is the start of the plain names ``ttft_s`` and ``e2e_latency_s``.
        """
        start = self.latency_from
        infix = "" if start in {None, "preprocessing"} else f"_from_{start}"
        return {f"ttft{infix}_s": self.ttft_s, f"e2e_latency{infix}_s": self.e2e_latency_s}

    @property
    def samples_per_s(self) -> float | None:
        """Questions of all processes, divided by wall time."""
        return _rate(self.n_samples, self.wall_s)

    @property
    def output_tokens_per_s(self) -> float | None:
        """Tokens of all answers, divided by wall time."""
        return _rate(self.n_output_tokens, self.wall_s)

    @property
    def total_tokens_per_s(self) -> float | None:
        """Tokens of all prompts and answers, divided by wall time."""
        if self.n_input_tokens is None or self.n_output_tokens is None:
            return None
        return _rate(self.n_input_tokens + self.n_output_tokens, self.wall_s)

    @property
    def mean_output_tokens(self) -> float | None:
        """Tokens of all answers, divided by the number of questions."""
        return _rate(self.n_output_tokens, self.n_samples)

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Tokens of all prompts, image tokens included, divided by the time of prefill alone.

        ``None`` where some of them were shared, since their prefill ran once for several prompts.
        """
        if self.phases is None or self.is_shared:
            return None
        return _rate(self.n_input_tokens, self.phases.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Decoded tokens, divided by the time of decode alone; rough if answers are short."""
        return _rate(self.n_decoded_tokens, self.phases.decode_s) if self.phases else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and rates as plain JSON data."""
        stored = asdict(self)
        if not self.is_shared:  # as older records have it
            del stored["is_shared"]
        return {
            **stored,
            "phases": self.phases.to_dict() if self.phases else None,
            "samples_per_s": self.samples_per_s,
            "output_tokens_per_s": self.output_tokens_per_s,
            "total_tokens_per_s": self.total_tokens_per_s,
            "prefill_tokens_per_s": self.prefill_tokens_per_s,
            "decode_tokens_per_s": self.decode_tokens_per_s,
        }

    @classmethod
    def from_dict(cls, values: JsonObject) -> TaskSpeed:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type.

        Rates are computed from the counts and seconds again.
        """
        phases = values.item("phases")
        return cls(
            n_samples=values.need_integer("n_samples"),
            n_input_tokens=values.integer("n_input_tokens"),
            n_output_tokens=values.integer("n_output_tokens"),
            wall_s=values.need_number("wall_s"),
            phases=PhaseTotals.from_dict(phases) if phases else None,
            ttft_s=_distribution(values, "ttft_s"),
            e2e_latency_s=_distribution(values, "e2e_latency_s"),
            output_tokens_per_sample=_distribution(values, "output_tokens_per_sample"),
            n_decoded_tokens=values.integer("n_decoded_tokens"),
            latency_from=values.choice("latency_from", get_args(LatencyStart)),
            is_shared=values.flag("is_shared"),
        )


def _distribution(values: JsonObject, key: str) -> Distribution | None:
    found = values.item(key)
    return Distribution.from_dict(found) if found else None


def summarise(ranks: Iterable[Sequence[BatchTiming]]) -> dict[str, TaskSpeed]:
    """Add up the batches of each task over ranks; the slowest rank decides the wall time."""
    batches_of_ranks = [list(batches) for batches in ranks]
    tasks = dict.fromkeys(b.task for batches in batches_of_ranks for b in batches)
    return {
        task: _task_speed([[b for b in batches if b.task == task] for batches in batches_of_ranks])
        for task in tasks
    }


def _task_speed(ranks: Sequence[Sequence[BatchTiming]]) -> TaskSpeed:
    batches = [batch for rank in ranks for batch in rank]
    slowest = max(ranks, key=_wall_s)
    is_shared = any(batch.is_shared for batch in batches)
    of_requests = [] if is_shared else batches
    ttft_s, e2e_latency_s, latency_from = _latencies(of_requests)
    return TaskSpeed(
        n_samples=sum(batch.n_samples for batch in batches),
        n_input_tokens=sum(batch.n_input_tokens for batch in batches),
        n_output_tokens=sum(batch.n_output_tokens for batch in batches),
        wall_s=_wall_s(slowest),
        phases=_phase_totals(slowest),
        ttft_s=ttft_s,
        e2e_latency_s=e2e_latency_s,
        output_tokens_per_sample=Distribution.of([n for b in batches for n in b.output_tokens]),
        n_decoded_tokens=sum(max(0, n - 1) for b in batches for n in b.output_tokens),
        latency_from=latency_from,
        is_shared=is_shared,
    )


def _wall_s(batches: Iterable[BatchTiming]) -> float:
    return sum(batch.wall_s for batch in batches)


def _phase_totals(batches: Sequence[BatchTiming]) -> PhaseTotals | None:
    """Add up the phases of one rank; ``None`` unless they are known of every batch."""
    phases = [batch.phases for batch in batches if batch.phases is not None]
    if not batches or len(phases) < len(batches):
        return None
    seen = [part.vision_s for part in phases if part.vision_s is not None]
    vision_s = sum(seen) if seen else None
    prefill_s = sum(part.prefill_s for part in phases)
    decode_s = sum(part.decode_s for part in phases)
    wall_s = _wall_s(batches)
    gap = sum(batch.host_gap_s or 0.0 for batch in batches)
    return PhaseTotals(vision_s, prefill_s, decode_s, gap, wall_s)


def _first_token_times(batches: Iterable[BatchTiming]) -> Iterator[float]:
    for batch in batches:
        first = batch.phases.first_token_s if batch.phases else None
        if first is not None and batch.encode_s is not None:
            yield from [batch.encode_s + first] * batch.n_samples


def _latencies(
    batches: Sequence[BatchTiming],
) -> tuple[Distribution | None, Distribution | None, LatencyStart | None]:
    """Return both latencies of requests and their start: the stamps of vLLM, if it ran them."""
    ended = [value for batch in batches for value in batch.e2e_latency_from_queue_s]
    if ended:
        first = [value for batch in batches for value in batch.ttft_from_queue_s]
        return Distribution.of(first), Distribution.of(ended), "queue"
    latency = Distribution.of(list(_answer_times(batches)))
    first_token = Distribution.of(list(_first_token_times(batches)))
    return first_token, latency, "preprocessing" if latency else None


def _answer_times(batches: Iterable[BatchTiming]) -> Iterator[float]:
    for batch in batches:
        if batch.encode_s is not None and batch.generate_s is not None:
            yield from [batch.encode_s + batch.generate_s] * batch.n_samples


def _rate(count: int | None, seconds: float) -> float | None:
    """Divide, unless nothing was counted or no time passed."""
    return count / seconds if count and seconds > 0 else None
