"""Read vLLM's time stamps of each request, and summarise them for a task.

vLLM's engine stamps each request as it is queued, as it is scheduled, and at its first and last
token. The front end's own time of the first token is not used: it ends when the front end has seen
the token, which may be later.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.speed import Distribution
from moe_eval_plugin.measure.timing import BatchTiming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.measure.answer_ends import EndedBy


@dataclass(frozen=True)
class RequestTimes:
    """Tokens and seconds of one request; ``None`` where vLLM took no time."""

    n_input_tokens: int
    """Tokens of the prompt, image tokens included."""
    n_output_tokens: int
    """Generated tokens, the one that ended the answer included."""
    queue_s: float | None = None
    """From its arrival in the queue until it was scheduled."""
    prefill_s: float | None = None
    """From then to the first token."""
    decode_s: float | None = None
    """From the first token to the last."""
    tpot_s: float | None = None
    """``decode_s`` per token after the first; ``None`` below two tokens."""

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
        """Read vLLM's ``RequestStateStats``; without them only the counts are known."""
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


def ended_by(completion: Any) -> EndedBy | None:  # noqa: ANN401  (vLLM's CompletionOutput)
    """Return what ended an answer of vLLM; ``None`` for one that it gave up."""
    if completion.finish_reason == "length":
        return "token_limit"
    if completion.finish_reason != "stop":
        return None
    return "stop_string" if isinstance(completion.stop_reason, str) else "end_token"


def as_batch(
    requests: Sequence[RequestTimes],
    task: str,
    wall_s: float,
    n_samples: int,
    *,
    is_shared: bool = False,
) -> BatchTiming:
    """Return the requests of a question as a batch; ``wall_s`` passed since another one ended."""
    return BatchTiming(
        task,
        n_samples,
        n_input_tokens=sum(one.n_input_tokens for one in requests),
        output_tokens=tuple(one.n_output_tokens for one in requests if one.n_output_tokens),
        wall_s=wall_s,
        is_shared=is_shared,
        ttft_from_queue_s=() if is_shared else _known(requests, "ttft_s"),
        e2e_latency_from_queue_s=() if is_shared else _known(requests, "e2e_latency_s"),
    )


def of_rounds(rounds: Sequence[RequestTimes]) -> RequestTimes:
    """Add up the tokens of requests that followed each other; the times of the sum are unknown."""
    return RequestTimes(
        sum(one.n_input_tokens for one in rounds), sum(one.n_output_tokens for one in rounds)
    )


def request_phases(times: Sequence[RequestTimes]) -> dict[str, Any]:
    """Describe the parts of a request's time in the engine: queue, prefill, decode, per token."""
    found = {
        name: Distribution.of(_known(times, name))
        for name in ("queue_s", "prefill_s", "decode_s", "tpot_s")
    }
    return {name: asdict(one) if one else None for name, one in found.items()}


def _known(times: Sequence[RequestTimes], name: str) -> tuple[float, ...]:
    return tuple(value for one in times if (value := getattr(one, name)) is not None)
