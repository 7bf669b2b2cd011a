"""The times that vLLM takes of each request, and what they say about a task.

All are vLLM's own: its engine stamps each request as it is queued, scheduled, and gives its first
and last token. What its front end says of the first token is left aside: that ends when the front
end has seen it, which may be later, while the engine is at the next ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.speed import Distribution
from moe_eval_plugin.measure.timing import BatchTiming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.measure.speed import TaskSpeed


@dataclass(frozen=True)
class RequestTimes:
    """Seconds of one request; ``None`` where vLLM took no time, or there was nothing to take.

    ``queue_s``, ``prefill_s`` and ``decode_s`` follow each other in the engine. ``tpot_s`` is
    that of a token behind the first, ``None`` below two tokens.
    """

    n_input_tokens: int
    n_output_tokens: int
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    tpot_s: float | None = None

    @property
    def ttft_s(self) -> float | None:
        """From the queue of the engine to the first token."""
        if self.queue_s is None or self.prefill_s is None:
            return None
        return self.queue_s + self.prefill_s

    @property
    def e2e_latency_s(self) -> float | None:
        """From the queue of the engine to the last token."""
        if self.ttft_s is None or self.decode_s is None:
            return None
        return self.ttft_s + self.decode_s

    @classmethod
    def read(cls, stats: Any, n_input_tokens: int, n_output_tokens: int) -> RequestTimes:  # noqa: ANN401
        """Read vLLM's ``RequestStateStats``; ``None`` gives counts alone."""
        if stats is None or not n_output_tokens:
            return cls(n_input_tokens, n_output_tokens)
        decode_s = stats.last_token_ts - stats.first_token_ts
        return cls(
            n_input_tokens,
            n_output_tokens,
            queue_s=stats.scheduled_ts - stats.queued_ts,
            prefill_s=stats.first_token_ts - stats.scheduled_ts,
            decode_s=decode_s,
            tpot_s=decode_s / (n_output_tokens - 1) if n_output_tokens > 1 else None,
        )

    def as_batch(self, task: str, wall_s: float) -> BatchTiming:
        """See the request as a batch of one; ``wall_s`` passed since another one ended."""
        tokens = (self.n_output_tokens,) if self.n_output_tokens else ()
        return BatchTiming(task, 1, self.n_input_tokens, tokens, wall_s)


def of_rounds(rounds: Sequence[RequestTimes]) -> RequestTimes:
    """Add up the tokens of requests that followed each other; their times are not those of one."""
    return RequestTimes(
        sum(one.n_input_tokens for one in rounds), sum(one.n_output_tokens for one in rounds)
    )


def with_request_times(speed: TaskSpeed, times: Sequence[RequestTimes]) -> TaskSpeed:
    """Return the speed of a task with the latencies of its requests, counted from vLLM's queue."""
    ttft_s = _distribution(times, "ttft_s")
    return replace(
        speed,
        ttft_s=ttft_s,
        e2e_latency_s=_distribution(times, "e2e_latency_s"),
        latency_from="queue" if ttft_s else None,
    )


def request_phases(times: Sequence[RequestTimes]) -> dict[str, Any]:
    """Describe the parts of a request's time in the engine: queue, prefill, decode, per token."""
    found = {
        name: _distribution(times, name) for name in ("queue_s", "prefill_s", "decode_s", "tpot_s")
    }
    return {name: asdict(one) if one else None for name, one in found.items()}


def _distribution(times: Sequence[RequestTimes], name: str) -> Distribution | None:
    return Distribution.of([value for one in times if (value := getattr(one, name)) is not None])
